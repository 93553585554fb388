"""Upload slots: who may send now, so that few transfers go fast instead of all of them slowly.

A piece helps the swarm only once somebody has all of it, so a node whose uplink is the bottleneck
sends a few at a time; the others wait. Peers take turns, however many requests each has waiting.
A transfer that takes far longer than others lately has a slow peer at its other end: it goes on,
but leaves its slot to the next.

A node that begins to send has few slots, and one more with each transfer that ends: at first each
piece it sends makes one more sender, and who gets it has nothing else to receive.
"""

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from statistics import median

_FIRST_SLOTS = 2
_IDLE = 1.0  # seconds, after which it begins anew
_REMEMBERED = 16
_OVERDUE = 2.0  # times the median
_LEAST_OVERDUE = 0.1
_FIRST_OVERDUE = 2.0  # while none has ended yet
_MOST_AT_ONCE = 64


@dataclass(slots=True, eq=False)
class Upload:
    """One transfer that waits for its turn, or has it; `size` in bytes."""

    peer: str
    size: int
    begin: Callable[[], None]
    began: float | None = None
    slow: bool = False


class Uploads:
    """Hands out up to `slots`; at most `waiting` transfers wait, at most `a_peer` of any one peer.

    Times are in seconds, on any clock that does not go back. Whoever calls must call `overdue`
    at `next_deadline`.
    """

    def __init__(self, slots: int = 7, *, waiting: int = 2048, a_peer: int = 64) -> None:
        self._most_slots = slots
        self._slots = min(_FIRST_SLOTS, slots)
        self._idle_since = -inf
        self._most_waiting = waiting
        self._most_a_peer = a_peer
        self._queues: OrderedDict[str, deque[Upload]] = OrderedDict()
        self._waiting = 0
        self._sending: dict[Upload, None] = {}
        self._slow = 0
        self._paces: deque[float] = deque(maxlen=_REMEMBERED)

    @property
    def slots(self) -> int:
        """How many slots there are at present."""
        return self._slots

    @property
    def waiting(self) -> int:
        """How many transfers wait for a slot."""
        return self._waiting

    @property
    def sending(self) -> int:
        """How many transfers are under way."""
        return len(self._sending)

    def ask(
        self,
        peer: str,
        size: int,
        begin: Callable[[], None],
        now: float,
        *,
        behind: float = inf,
    ) -> Upload | None:
        """Call `begin` when it is this transfer's turn, which may be at once.

        Gives what `done` must be called with; None if too many wait already, or more than it
        would wait `behind`.
        """
        queue = self._queues.get(peer)
        if self._waiting >= self._most_waiting or (queue and len(queue) >= self._most_a_peer):
            return None
        if self._waiting > behind:
            return None
        if not self._sending and now > self._idle_since + _IDLE:
            self._slots = min(_FIRST_SLOTS, self._most_slots)
        upload = Upload(peer, size, begin)
        self._queues.setdefault(peer, deque()).append(upload)
        self._waiting += 1
        self._fill(now)
        return upload

    def done(self, upload: Upload, now: float) -> None:
        """Note that a transfer has ended, well or not, or is no longer wanted."""
        if upload.began is None:
            self._withdraw(upload)
            return
        if upload in self._sending:
            del self._sending[upload]
            self._slow -= upload.slow
            self._slots = min(self._slots + 1, self._most_slots)
            self._idle_since = now
            if upload.size:
                self._paces.append((now - upload.began) / upload.size)
            self._fill(now)

    def overdue(self, now: float) -> None:
        """Take the slots of transfers that have had them for too long."""
        for upload in self._sending:
            due = self._due(upload)
            if not upload.slow and due is not None and due <= now:
                upload.slow = True
                self._slow += 1
        self._fill(now)

    def next_deadline(self) -> float | None:
        """Give the time at which `overdue` has something to do; None while nobody waits."""
        if not self._waiting or len(self._sending) >= _MOST_AT_ONCE:
            return None
        dues = (self._due(upload) for upload in self._sending if not upload.slow)
        return min((due for due in dues if due is not None), default=None)

    def _due(self, upload: Upload) -> float | None:
        if upload.began is None:
            return None
        if not self._paces:
            return upload.began + _FIRST_OVERDUE
        expected = median(self._paces) * upload.size
        return upload.began + max(_LEAST_OVERDUE, _OVERDUE * expected)

    def _withdraw(self, upload: Upload) -> None:
        queue = self._queues.get(upload.peer)
        if queue and upload in queue:
            queue.remove(upload)
            self._waiting -= 1
            if not queue:
                del self._queues[upload.peer]

    def _fill(self, now: float) -> None:
        while (
            self._queues
            and len(self._sending) - self._slow < self._slots
            and len(self._sending) < _MOST_AT_ONCE
        ):
            peer, queue = self._queues.popitem(last=False)
            upload = queue.popleft()
            if queue:
                self._queues[peer] = queue  # to the end: its next one is after everybody else's
            self._waiting -= 1
            upload.began = now
            self._sending[upload] = None
            upload.begin()
