"""Bytes as a fluid: flows share pipes nearly as TCP would, and say when so much has passed.

A pipe is one direction of a link, with a rate. A flow passes through several at once (its
sender's uplink, its receiver's downlink, the boundaries of zones) and has one rate, in bytes per
second. Max-min fairness is what many TCP connections come to; reckoning it out for all flows at
each change would cost the square of their number, so changes stay local:

- A flow that starts takes what is free in each of its pipes, or else its fair share, for which
  the fastest flows there are cut.
- What a cut frees in other pipes, and what a flow frees that ends, goes to the slowest flows
  there whose other pipes have room.

So no pipe ever carries more than its rate, none with work is left idle, and shares are fair but
for what the next change puts right.
"""

from collections.abc import Callable, Sequence
from itertools import islice

from p2pd.sim.clock import HeapClock

# A pipe with more flows than this is levelled now and then, with some of its rate to spare.
_FEW = 32
_SPARE = 0.04
# Changes by less than this part are not worth making.
_TRIFLE = 0.01
# A byte this near is there.
_NEAR = 0.5
_EVERY = 0.5  # seconds: a flow says at least as often how far it is


class Pipe:
    """One direction of a link."""

    __slots__ = ("carried", "flows", "load", "peak", "rate")

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self.flows: dict[Flow, None] = {}
        self.load = 0.0
        self.peak = 0.0
        """The most that was carried at once, to check the model by."""
        self.carried = 0.0
        """Bytes of the flows that have ended."""

    def passed(self, now: float) -> float:
        """Give the bytes that have gone through so far."""
        return self.carried + sum(
            flow.sent + flow.rate * (now - flow.since) for flow in self.flows
        )

    @property
    def free(self) -> float:
        """The rate that no flow uses."""
        return self.rate - self.load

    def fair_share(self) -> float:
        """Give the rate that one more flow should have."""
        if len(self.flows) > _FEW:
            return max(self.free, self.rate / (len(self.flows) + 1))
        left, count = self.rate, len(self.flows) + 1
        for rate in sorted([flow.rate for flow in self.flows]):
            if rate * count >= left:
                break
            left -= rate
            count -= 1
        return left / count


class Flow:
    """Bytes on their way; `moved` hears how many have passed, at each of the `marks` at least."""

    __slots__ = ("cap", "marks", "moved", "next", "pipes", "rate", "sent", "since", "told", "wake")

    def __init__(
        self,
        pipes: Sequence[Pipe],
        marks: Sequence[int],
        cap: float,
        moved: Callable[[int], None],
        now: float,
    ) -> None:
        self.pipes = pipes
        self.marks = marks
        self.cap = cap
        self.moved = moved
        self.next = 0
        self.rate = 0.0
        self.sent = 0.0
        self.since = self.told = now
        self.wake = -1.0

    @property
    def over(self) -> bool:
        """Whether it has ended, one way or the other."""
        return self.next >= len(self.marks)


class Fluid:
    """All flows of a network."""

    def __init__(self, clock: HeapClock) -> None:
        self._clock = clock
        self._loose: dict[Pipe, None] = {}

    def start(
        self,
        pipes: Sequence[Pipe],
        marks: Sequence[int],
        cap: float,
        moved: Callable[[int], None],
    ) -> Flow:
        """Let bytes flow, no faster than `cap`, up to the last of the ascending marks."""
        flow = Flow(pipes, marks, cap, moved, self._clock.seconds())
        rate = min([cap, *[pipe.fair_share() for pipe in pipes]])
        for pipe in pipes:
            if pipe.load + rate > pipe.rate:
                self._cut(pipe, pipe.rate - rate)
            pipe.flows[flow] = None
        self._set(flow, rate)
        if self._loose:
            loose, self._loose = self._loose, {}
            for pipe in loose:
                self._fill(pipe)
        return flow

    def stop(self, flow: Flow) -> int:
        """End a flow before its time, if it has not ended; give the bytes that passed."""
        if not flow.over:
            self._settle(flow)
            self._end(flow)
        return int(flow.sent)

    # -- shares

    def _cut(self, pipe: Pipe, budget: float) -> None:
        """Slow the fastest flows of a pipe until all of them keep to a budget."""
        many = len(pipe.flows) > _FEW
        left, count = budget * (1 - _SPARE if many else 1), len(pipe.flows)
        flows = sorted(pipe.flows, key=_rate)
        for place, flow in enumerate(flows):
            if flow.rate * count >= left:
                for fast in islice(flows, place, None):
                    self._set(fast, left / count, here=pipe)
                break
            left -= flow.rate
            count -= 1

    def _fill(self, pipe: Pipe) -> None:
        """Give what is free in a pipe to its flows, the slowest first."""
        flows = pipe.flows
        pipe.load = load = sum([flow.rate for flow in flows])
        free = pipe.rate - load
        enough = pipe.rate * (2 * _SPARE if len(flows) > _FEW else _TRIFLE)
        if free < enough or not flows:
            return
        left = len(flows)
        for flow in sorted(flows, key=_rate) if left > 1 else list(flows):
            rate = flow.rate
            more = min(free, (free + load) / left - rate, flow.cap - rate)
            for other in flow.pipes:
                if other is not pipe and other.rate - other.load < more:
                    more = other.rate - other.load
            if more > rate * _TRIFLE:
                self._set(flow, rate + more)
                free -= more
            load -= rate
            left -= 1

    def _set(self, flow: Flow, rate: float, here: Pipe | None = None) -> None:
        """Change a flow's rate; note the pipes other than `here` in which that frees some."""
        change = rate - flow.rate
        self._settle(flow)
        flow.rate = rate
        for pipe in flow.pipes:
            pipe.load += change
            pipe.peak = max(pipe.peak, pipe.load)
            if change < 0 and pipe is not here:
                self._loose[pipe] = None
        if change > 0:
            self._arm(flow)

    def _end(self, flow: Flow) -> None:
        flow.next = len(flow.marks)
        for pipe in flow.pipes:
            del pipe.flows[flow]
            pipe.load -= flow.rate
            pipe.carried += flow.sent
        for pipe in flow.pipes:
            self._fill(pipe)

    # -- time

    def _settle(self, flow: Flow) -> None:
        now = self._clock.seconds()
        flow.sent += flow.rate * (now - flow.since)
        flow.since = now

    def _arm(self, flow: Flow) -> None:
        """Wake up at the next mark, or to tell of progress; a flow that is cut wakes too early."""
        now = self._clock.seconds()
        delay = max(0.0, min((flow.marks[flow.next] - flow.sent) / flow.rate, _EVERY))
        if flow.wake < now or now + delay < flow.wake:
            flow.wake = now + delay
            self._clock.soon(delay, self._woken, flow, flow.wake)

    def _woken(self, flow: Flow, wake: float) -> None:
        if flow.wake != wake or flow.over:
            return  # it was made faster meanwhile, and woke up before
        flow.wake = -1.0
        self._settle(flow)
        now = self._clock.seconds()
        mark = flow.marks[flow.next]
        if flow.sent + _NEAR >= mark:
            flow.sent = mark
            flow.next += 1
            flow.told = now
            if flow.over:
                self._end(flow)
            else:
                self._arm(flow)
            flow.moved(mark)
            return
        self._arm(flow)
        if now - flow.told >= _EVERY:
            flow.told = now
            flow.moved(int(flow.sent))


def _rate(flow: Flow) -> float:
    return flow.rate
