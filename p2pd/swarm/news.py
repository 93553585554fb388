"""What those who follow a torrent's holder are told together, and how long each thing may wait.

Each packet costs both sides more than all that it says, so news is gathered. What few hold, and
what a seed was asked for, decides what others ask for next: that hurries.
"""

from math import inf

_HURRIED = 0.02
_GATHERED = 1.0


class News:
    """Pieces that came and pieces that were promised since the followers were last told."""

    def __init__(self) -> None:
        self._had: list[int] = []
        self._promised: list[int] = []
        self._told = -inf
        self.due = inf
        """When to tell what there is; infinity if there is nothing."""

    def had(self, index: int, now: float, *, rare: bool) -> None:
        """Note that a piece came, which few others have if it is `rare`."""
        self._had.append(index)
        self._wait(_HURRIED if rare else _GATHERED, now)

    def promised(self, index: int, now: float) -> None:
        """Note that somebody is getting a piece."""
        self._promised.append(index)
        self._wait(_HURRIED, now)

    def _wait(self, most: float, now: float) -> None:
        self.due = min(self.due, max(now, self._told + most))

    def take(self, now: float) -> tuple[list[int], list[int]]:
        """Give the pieces that came and those that were promised, which are told now."""
        news = self._had, self._promised
        self._had, self._promised = [], []
        self._told = now
        self.due = inf
        return news
