"""The queue of a node's downloads: which of them may be active, given how many may."""

from collections.abc import Iterable
from typing import TypeVar

T = TypeVar("T")


def active(candidates: Iterable[tuple[T, bool]], *, downloads: int, seeds: int) -> list[T]:
    """Choose who may be active of those who want to be, the first in the queue first.

    Each candidate comes with whether it is a seed; at most `downloads` that are none and `seeds`
    that are may be active, and 0 is no bound.
    """
    left = {False: downloads or -1, True: seeds or -1}
    chosen = []
    for candidate, is_seed in candidates:
        if left[is_seed]:
            left[is_seed] -= 1
            chosen.append(candidate)
    return chosen
