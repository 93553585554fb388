"""How fast bytes go: limits on them, measures of them, and what is left of the wait."""

from collections import deque

_BUCKETS = 10


class TokenBucket:
    """A rate limit that tells each sender how long to wait, first come first served.

    `rate` is in bytes per second, 0 for no limit. Up to `burst` bytes may go at once after a
    quiet time. The bytes that go within any t seconds are at most rate * t + burst, if no
    single reservation is larger than `burst`; a larger one waits until all of it is paid.
    """

    def __init__(self, rate: float, burst: float) -> None:
        if rate < 0 or burst < 0:
            raise ValueError("a rate and a burst cannot be negative")
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._settled: float | None = None

    @property
    def rate(self) -> float:
        """The limit in bytes per second; 0 is none."""
        return self._rate

    def reserve(self, count: int, now: float) -> float:
        """Book `count` bytes and give the seconds until they may go.

        The tokens go into debt, so that whoever reserves next waits behind this one.
        """
        self._accrue(now)
        if not self._rate:
            return 0.0
        self._tokens -= count
        return max(0.0, -self._tokens / self._rate)

    def set_rate(self, rate: float, now: float) -> None:
        """Change the limit; waits already given stand, and what they owe is paid at the new rate.

        Raises ValueError if the rate is negative.
        """
        if rate < 0:
            raise ValueError("a rate cannot be negative")
        self._accrue(now)
        self._rate = rate
        if not rate:
            self._tokens = self._burst

    def _accrue(self, now: float) -> None:
        if self._settled is None:
            self._settled = now
        if now > self._settled:
            earned = (now - self._settled) * self._rate
            self._tokens = min(self._burst, self._tokens + earned)
            self._settled = now


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
