"""How fast bytes go: limits on them, measures of them, and what is left of the wait."""

import math
from collections import deque

_BUCKETS = 10
# In seconds of the rate.  5 % of 2 s is 0.1; what is not a chunk is for timers that fire late.
_BURST = 0.09
_CHUNK = 0.01


class TokenBucket:
    """A rate limit: bytes may go as fast as `rate` earns tokens, 0 for no limit.

    What quiet time earns is bounded so that bytes taken in chunks of at most `chunk`, when they
    are there, stay within 5 % of the rate over any 2 s.  `wait` tells, `take` does; who comes
    first where many want to take is said in `p2pd.swarm.turns`.
    """

    def __init__(self, rate: float = 0.0) -> None:
        self._rate = _checked(rate)
        self._tokens = 0.0
        self._settled = -math.inf

    @property
    def rate(self) -> float:
        """The limit in bytes per second; 0 is none."""
        return self._rate

    def set_rate(self, rate: float, now: float) -> None:
        """Change the limit from now on; raises ValueError if the rate is negative."""
        self._accrue(now)
        self._rate = _checked(rate)
        self._tokens = min(self._tokens, self._burst) if rate else 0.0

    def chunk(self, most: int) -> int:
        """Give how many of `most` bytes to take at once: all, if there is no limit."""
        return min(most, max(1, int(self._rate * _CHUNK))) if self._rate else most

    def wait(self, count: int, now: float) -> float:
        """Give the seconds until `count` bytes may go, if nobody else takes any."""
        if not self._rate:
            return 0.0
        self._accrue(now)
        return max(0.0, count - self._tokens) / self._rate

    def take(self, count: int, now: float) -> None:
        """Book bytes that go now; too early, they put the tokens into debt."""
        if self._rate:
            self._accrue(now)
            self._tokens -= count

    def give_back(self, count: int) -> None:
        """Book that bytes that were taken did not go."""
        if self._rate:
            self._tokens = min(self._tokens + count, self._burst)

    @property
    def _burst(self) -> float:
        return max(1.0, self._rate * _BURST)

    def _accrue(self, now: float) -> None:
        if now > self._settled:
            if self._settled > -math.inf:
                earned = (now - self._settled) * self._rate
                self._tokens = min(self._burst, self._tokens + earned)
            self._settled = now


def _checked(rate: float) -> float:
    if rate < 0:
        raise ValueError("a rate cannot be negative")
    return rate


def least(*rates: float) -> float:
    """Give the smallest of some limits, of which 0 is none."""
    return min(filter(None, rates), default=0.0)


class Speedometer:
    """Bytes per second over the last `window` seconds, in a handful of sums."""

    def __init__(self, window: float) -> None:
        if window <= 0:
            raise ValueError("a window must be longer than nothing")
        self._width = window / _BUCKETS
        self._sums: deque[tuple[int, int]] = deque()
        self._total = 0
        self._since: float | None = None

    def add(self, count: int, now: float) -> None:
        """Count bytes that have just passed."""
        if self._since is None:
            self._since = now
        slot = int(now // self._width)
        self._forget(slot)
        if self._sums and self._sums[-1][0] >= slot:
            last, sum_ = self._sums.pop()
            self._sums.append((last, sum_ + count))
        else:
            self._sums.append((slot, count))
        self._total += count

    def rate(self, now: float) -> float:
        """Give the mean speed over the window, or since the first byte if that is less."""
        if self._since is None:
            return 0.0
        slot = int(now // self._width)
        self._forget(slot)
        # The oldest sum that counts began at a slot's edge, not a whole window ago.
        covered = now - (slot - _BUCKETS + 1) * self._width
        return self._total / max(min(covered, now - self._since), self._width)

    def _forget(self, slot: int) -> None:
        while self._sums and self._sums[0][0] <= slot - _BUCKETS:
            self._total -= self._sums.popleft()[1]


class Pace:
    """How fast a source gives while it has something to give; idle time does not count."""

    __slots__ = ("_bytes", "_marked", "_seconds", "rate")

    _KNOWN_AFTER = 0.1
    _HALVED_AFTER = 10.0

    def __init__(self) -> None:
        self.rate = 0.0  # bytes per second; 0 is unknown
        self._bytes = 0.0
        self._seconds = 0.0
        self._marked = 0.0

    def begin(self, now: float) -> None:
        """Note that the source, idle so far, was given work."""
        self._marked = now

    def add(self, count: int, now: float) -> None:
        """Count bytes that came in the time since the last call."""
        self._bytes += count
        self._seconds += max(0.0, now - self._marked)
        self._marked = now
        if self._seconds >= self._KNOWN_AFTER:
            self.rate = self._bytes / self._seconds
        # Halving both sums keeps the mean and lets the past fade.
        if self._seconds > self._HALVED_AFTER:
            self._bytes /= 2
            self._seconds /= 2


def eta(bytes_left: int, rate: float) -> float | None:
    """Give the seconds until `bytes_left` have come at `rate`; None if nothing moves."""
    if bytes_left <= 0:
        return 0.0
    return bytes_left / rate if rate > 0 else None
