"""Which piece to ask for next: urgent ones in order, then the rarest, ties at random.

A set of pieces is a Python integer here, bit i for piece i, since an AND or OR of two sets of
100,000 pieces takes less than a microsecond. Availability is kept in bit-sliced counters: bit i
of plane k is bit k of the number of peers that hold piece i. So a peer's whole bitfield is
counted by a ripple-carry addition over a few planes, and the rarest pieces of any set are found
in one pass from the highest plane down.
"""

import random
from collections import deque
from collections.abc import Iterable
from typing import TypeAlias

from p2pd.metainfo.bitfield import Bitfield

PieceSet: TypeAlias = int

# Above so many, a long integer had better be made at once than bit by bit.
_FEW = 64
_MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def piece_set(bitfield: Bitfield) -> PieceSet:
    """Turn a bitfield, whose first piece is its highest bit, into a set."""
    return int.from_bytes(bitfield.to_bytes().translate(_MIRRORED), "little")


def set_of(indexes: Iterable[int], count: int) -> PieceSet:
    """Make a set of some of `count` pieces; raises IndexError for one that there is not."""
    chosen = list(indexes)
    if len(chosen) < _FEW:
        pieces = 0
        for index in chosen:
            if not 0 <= index < count:
                raise IndexError(f"piece {index} of {count}")
            pieces |= 1 << index
        return pieces
    many = Bitfield(count)
    for index in chosen:
        many.add(index)
    return piece_set(many)


def without(pieces: PieceSet, others: PieceSet) -> PieceSet:
    """Give the pieces that are not among the others."""
    return pieces ^ (pieces & others)  # `& ~others` is ten times slower on long integers


class Picker:
    """The pieces not yet asked for, and how many peers hold each piece."""

    def __init__(self, unasked: PieceSet, rng: random.Random) -> None:
        self._unasked = unasked
        self._rng = rng
        self._planes: list[PieceSet] = []
        self._held: PieceSet | None = 0
        self.urgent: PieceSet = 0
        """Pieces to be picked before all others."""
        self._order: deque[int] = deque()
        self.promised: PieceSet = 0
        """Pieces that somebody is getting from a seed: others are the scarcer ones."""

    @property
    def unasked(self) -> PieceSet:
        """The pieces that are wanted and not here, and that nobody was asked for."""
        return self._unasked

    @property
    def held(self) -> PieceSet:
        """The pieces that at least one peer holds."""
        if self._held is None:
            self._held = 0
            for plane in self._planes:
                self._held |= plane
        return self._held

    def availability(self, index: int) -> int:
        """Count the peers that hold a piece."""
        return sum((plane >> index & 1) << k for k, plane in enumerate(self._planes))

    def copies(self, own: PieceSet, count: int) -> float:
        """Count the whole copies of `count` pieces that all hold together, `own` ones included.

        The fraction is the part of the pieces of which there is one copy more.
        """
        together = Picker(0, self._rng)
        together._planes = list(self._planes)
        together.add(own)
        fewest, whole = (1 << count) - 1, 0
        for k, plane in reversed(list(enumerate(together._planes))):
            if fewer := without(fewest, plane):
                fewest = fewer
            else:
                whole += 1 << k
        return whole + 1 - fewest.bit_count() / count if count else 0.0

    def add(self, pieces: PieceSet) -> None:
        """Count one more holder of each of these pieces."""
        if self._held is not None:
            self._held |= pieces
        for k, plane in enumerate(self._planes):
            if not pieces:
                return
            self._planes[k] = plane ^ pieces
            pieces &= plane  # the carry
        if pieces:
            self._planes.append(pieces)

    def remove(self, pieces: PieceSet) -> None:
        """Count one holder fewer of each of these pieces, all of which were added before."""
        self._held = None
        for k, plane in enumerate(self._planes):
            if not pieces:
                break
            self._planes[k] = plane ^ pieces
            pieces &= self._planes[k]  # the borrow
        while self._planes and not self._planes[-1]:
            self._planes.pop()

    def take(self, index: int) -> None:
        """Note that someone was asked for a piece."""
        self._unasked = without(self._unasked, 1 << index)

    def free(self, index: int) -> None:
        """Note that a piece is to be asked for again."""
        self._unasked |= 1 << index

    def close(self, index: int) -> None:
        """Note that a piece is here and never to be picked again."""
        self.take(index)
        self.urgent = without(self.urgent, 1 << index)

    def urge(self, indexes: Iterable[int]) -> None:
        """Pick these pieces before all others, in this order, instead of those urged before."""
        self._order = deque(dict.fromkeys(indexes))
        self.urgent = set_of(self._order, max(self._order, default=0) + 1)

    def pick(self, reach: PieceSet) -> int | None:
        """Choose among the unasked pieces within `reach`; None if there are none."""
        candidates = self._unasked & reach
        if not candidates:
            return None
        if urgent := candidates & self.urgent:
            return self._first_urgent(urgent)
        return self._any_of(self._rarest(without(candidates, self.promised) or candidates))

    def _first_urgent(self, urgent: PieceSet) -> int:
        while not self.urgent & 1 << self._order[0]:
            self._order.popleft()
        return next(index for index in self._order if urgent & 1 << index)

    def _rarest(self, pieces: PieceSet) -> PieceSet:
        for plane in reversed(self._planes):
            commoner = pieces & plane
            if commoner != pieces:
                pieces ^= commoner
        return pieces

    def _any_of(self, pieces: PieceSet) -> int:
        """Choose one member, each with equal chance, by halving the range it lies in."""
        nth = self._rng.randrange(pieces.bit_count())
        start = 0
        while pieces != 1:
            half = pieces.bit_length() + 1 >> 1
            lower = pieces & (1 << half) - 1
            count = lower.bit_count()
            if nth < count:
                pieces = lower
            else:
                nth -= count
                pieces >>= half
                start += half
        return start
