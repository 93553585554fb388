"""The codec of the stream in which a node tells another what it has, as it changes.

ASCII lines, each ended by one LF. The first is always the bitfield (BEP 3 byte order):

    bitfield <lower-case hex>      all that the sender has; replaces what was said before
    have <index>[,<index>...]      it has these pieces too
    promised <index>[,<index>...]  somebody is getting these pieces from it
    lost <index>                   it has it no longer
    alive                          nothing happened, the connection is well
    bye                            the sender is going; nothing follows
"""

import re
from dataclasses import dataclass
from typing import TypeAlias

from p2pd.errors import Invalid
from p2pd.metainfo.bitfield import Bitfield


@dataclass(frozen=True, slots=True)
class Holds:
    """The sender has exactly these pieces."""

    pieces: Bitfield


@dataclass(frozen=True, slots=True)
class Have:
    """The sender has these pieces too; at most `MOST_NAMED` of them."""

    indexes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Promised:
    """Others get these pieces from the sender now; at most `MOST_NAMED` of them."""

    indexes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Lost:
    """The sender has this piece no longer."""

    index: int


@dataclass(frozen=True, slots=True)
class Alive:
    """Nothing happened since the last line."""


@dataclass(frozen=True, slots=True)
class Bye:
    """The sender is going."""


Event: TypeAlias = Holds | Have | Promised | Lost | Alive | Bye

MOST_NAMED = 256
"""The pieces that one line may name."""

_LINE = re.compile(
    rb"(bitfield) ([0-9a-f]*)|(have|promised|lost) (NUMBER(?:,NUMBER)*)|alive|bye".replace(
        b"NUMBER", rb"(?:0|[1-9][0-9]{0,9})"
    )
)


def encode(event: Event) -> bytes:
    """Write one event as its line."""
    match event:
        case Holds(pieces):
            return b"bitfield %s\n" % pieces.to_bytes().hex().encode("ascii")
        case Have(indexes):
            return b"have %s\n" % _numbers(indexes)
        case Promised(indexes):
            return b"promised %s\n" % _numbers(indexes)
        case Lost(index):
            return b"lost %d\n" % index
        case Alive():
            return b"alive\n"
        case Bye():
            return b"bye\n"


def _numbers(indexes: tuple[int, ...]) -> bytes:
    return ",".join(map(str, indexes)).encode("ascii")


class HaveDecoder:
    """Reads the stream of one sender about a torrent of `piece_count` pieces."""

    def __init__(self, piece_count: int) -> None:
        self._piece_count = piece_count
        longest = (Holds(Bitfield(piece_count)), Promised((piece_count,) * MOST_NAMED))
        self._longest = max(len(encode(event)) for event in longest)
        self._rest = b""
        self._started = False
        self._ended = False

    def feed(self, data: bytes) -> list[Event]:
        """Take the next bytes, in chunks of any size, and give the events they complete.

        Raises Invalid for a line that is malformed, too long, about a piece there is not, or
        out of order; the stream is then of no further use. At most one line is kept.
        """
        *lines, self._rest = (self._rest + data).split(b"\n")
        events = [self._event(line) for line in lines]
        if len(self._rest) >= self._longest:
            raise Invalid(f"a have stream has a line longer than {self._longest} bytes")
        if self._ended and self._rest:
            raise Invalid("a have stream goes on after bye")
        return events

    def _event(self, line: bytes) -> Event:
        if len(line) >= self._longest:
            raise Invalid(f"a have stream has a line longer than {self._longest} bytes")
        if self._ended:
            raise Invalid("a have stream goes on after bye")
        match = _LINE.fullmatch(line)
        if match is None:
            raise Invalid(f"a have stream has a line that is none of its own: {line[:40]!r}")
        is_bitfield, bits, word, numbers = match.groups()
        if is_bitfield:
            self._started = True
            return Holds(self._pieces(bits))
        if not self._started:
            raise Invalid("a have stream must begin with a bitfield line")
        if word:
            return self._named(word, tuple(map(self._index, numbers.split(b","))))
        self._ended = line == b"bye"
        return Bye() if self._ended else Alive()

    def _pieces(self, bits: bytes) -> Bitfield:
        if len(bits) % 2:
            raise Invalid("a have stream has a bitfield with half a byte")
        return Bitfield.from_bytes(bytes.fromhex(bits.decode("ascii")), self._piece_count)

    @staticmethod
    def _named(word: bytes, indexes: tuple[int, ...]) -> Event:
        if word == b"have":
            return Have(indexes)
        if word == b"promised":
            return Promised(indexes)
        if len(indexes) > 1:
            raise Invalid("a have stream has a lost line with more than one piece")
        return Lost(indexes[0])

    def _index(self, number: bytes) -> int:
        index = int(number)
        if index >= self._piece_count:
            raise Invalid(f"a have stream names piece {index} of a torrent of {self._piece_count}")
        return index
