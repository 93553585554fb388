"""A clock that jumps from event to event, for many timers: a heap, where `task.Clock` sorts."""

import heapq
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from zope.interface import implementer

# Below this many, dead entries of the heap are not worth a clearance.
_FEW = 1000


@implementer(IDelayedCall)
class HeapCall:
    """A call that `HeapClock.callLater` has promised.

    Its entry in the heap may be for an earlier time than `time`: then it is put back when that
    comes up.
    """

    __slots__ = ("args", "clock", "function", "keywords", "queued", "state", "time")

    def __init__(
        self,
        clock: "HeapClock",
        time: float,
        function: Callable[..., object],
        args: tuple[Any, ...],
        keywords: dict[str, Any],
    ) -> None:
        self.clock = clock
        self.time = time
        self.queued = time
        self.function = function
        self.args = args
        self.keywords = keywords
        self.state: type[Exception] | None = None

    def getTime(self) -> float:
        """Give the time at which it will be called."""
        return self.time

    def active(self) -> bool:
        """Tell whether it is still to be called."""
        return self.state is None

    def cancel(self) -> None:
        """Do not call it."""
        self._require_active()
        self.state = AlreadyCancelled
        self._let_go()
        self.clock.died()

    def reset(self, secondsFromNow: float) -> None:
        """Call it so many seconds from now."""
        self._require_active()
        self._move(self.clock.seconds() + secondsFromNow)

    def delay(self, secondsLater: float) -> None:
        """Call it so much later than planned."""
        self._require_active()
        self._move(self.time + secondsLater)

    def _move(self, time: float) -> None:
        self.time = time
        if time < self.queued:
            self.queued = time
            self.clock.queue(self)
            self.clock.died()  # the entry at the later time

    def _require_active(self) -> None:
        if self.state is not None:
            raise self.state

    def came_up(self, queued: float) -> None:
        """Run, if this is its moment; its clock's to call."""
        if self.state is not None or queued != self.queued:
            self.clock.buried()
        elif self.time > queued:
            self.queued = self.time
            self.clock.queue(self)
        else:
            self.state = AlreadyCalled
            function, args, keywords = self.function, self.args, self.keywords
            self._let_go()
            function(*args, **keywords)

    def _let_go(self) -> None:
        self.function, self.args, self.keywords = _nothing, (), {}


def _nothing() -> None:
    """Take the place of a call that is over."""


@implementer(IReactorTime)
class HeapClock:
    """Time for a simulation: calls run in the order of their times, then of their making."""

    def __init__(self, now: float = 0.0) -> None:
        self._now = now
        self._serial = 0
        self._dead = 0
        self._stopped = False
        self._heap: list[tuple[float, int, Callable[..., object], tuple[Any, ...]]] = []
        self.events = 0
        """How many entries have come up so far."""

    def seconds(self) -> float:
        """Give the time."""
        return self._now

    def callLater(
        self,
        delay: float,
        callable: Callable[..., object],  # noqa: A002 - as IReactorTime has it
        *args: object,
        **kw: object,
    ) -> HeapCall:
        """Call something `delay` seconds from now."""
        if not delay >= 0:
            raise ValueError(f"{delay} seconds from now is in the past")
        call = HeapCall(self, self._now + delay, callable, args, kw)
        self.queue(call)
        return call

    def getDelayedCalls(self) -> list[HeapCall]:
        """Give the calls that `callLater` promised and that are still to come."""
        # The function of their entries is `came_up` of the call itself.
        calls = (getattr(entry[2], "__self__", None) for entry in self._heap)
        found = {id(call): call for call in calls if isinstance(call, HeapCall)}
        return [call for call in found.values() if call.active()]

    def soon(self, delay: float, function: Callable[..., object], *args: object) -> None:
        """Call something `delay` seconds from now, without means to cancel it: that costs less."""
        self._serial = serial = self._serial + 1
        heapq.heappush(self._heap, (self._now + delay, serial, function, args))

    def pause(self, delay: float) -> Deferred[None]:
        """Give what fires `delay` seconds from now."""
        over: Deferred[None] = Deferred()
        self.soon(delay, over.callback, None)
        return over

    def queue(self, call: HeapCall) -> None:
        """Put a call into the heap, for the time it is to come up."""
        self._serial = serial = self._serial + 1
        heapq.heappush(self._heap, (call.queued, serial, call.came_up, (call.queued,)))

    def died(self) -> None:
        """Note that an entry of the heap is of no more use; most of them gone, clear it."""
        self._dead += 1
        if self._dead > _FEW and self._dead * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if _alive(entry)]
            heapq.heapify(self._heap)
            self._dead = 0

    def buried(self) -> None:
        """Note that a dead entry has come up."""
        self._dead -= 1

    def stop(self) -> None:
        """Let `run` return before the next event."""
        self._stopped = True

    def run(self, most: int, until: float) -> None:
        """Let up to `most` events happen, none later than `until`, or all of them before that.

        If there are no more before `until`, it is that time then.
        """
        pop = heapq.heappop
        self._stopped = False
        for done in range(most):
            # Looked up anew each time: a clearance puts another heap in its place.
            heap = self._heap
            if self._stopped or not heap or heap[0][0] > until:
                self.events += done
                break
            self._now, _, function, args = pop(heap)
            function(*args)
        else:
            self.events += most
            return
        if not self._stopped:
            self._now = max(self._now, until)


def _alive(entry: tuple[float, int, Callable[..., object], tuple[Any, ...]]) -> bool:
    call = getattr(entry[2], "__self__", None)
    if not isinstance(call, HeapCall):
        return True
    return call.state is None and entry[3] == (call.queued,)
