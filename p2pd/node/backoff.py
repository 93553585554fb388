"""Asking again and again, ever more seldom."""

from random import Random

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater


class Backoff:
    """Pauses of about `first` seconds, then twice as long each time, but never over `most`."""

    def __init__(self, clock: IReactorTime, rng: Random, *, first: float, most: float) -> None:
        self._clock = clock
        self._rng = rng
        self._first = self._next = first
        self._most = most

    async def pause(self) -> None:
        """Let some time pass: not the same for all who wait for the same."""
        wait, self._next = self._next, min(2 * self._next, self._most)
        await deferLater(self._clock, wait * self._rng.uniform(0.75, 1.25))

    def reset(self) -> None:
        """Begin with a short pause again."""
        self._next = self._first
