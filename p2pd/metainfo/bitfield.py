"""A set of piece indexes, one bit each, in the byte order peers send it (BEP 3)."""

from collections.abc import Iterator

from p2pd.errors import Invalid

_SET_BITS = tuple(tuple(bit for bit in range(8) if value & (0x80 >> bit)) for value in range(256))


class Bitfield:
    """Which of `size` pieces there are; all absent at first.

    Indexes run from 0 to size - 1; others raise IndexError. The first index is the most
    significant bit of the first byte.
    """

    __slots__ = ("_bits", "_count", "_size")
    __hash__ = None  # type: ignore[assignment]  # mutable

    def __init__(self, size: int) -> None:
        if size < 0:
            raise ValueError("a bitfield's size cannot be negative")
        self._size = size
        self._bits = bytearray((size + 7) // 8)
        self._count = 0

    @classmethod
    def full(cls, size: int) -> "Bitfield":
        """Make the bitfield of one who has every piece."""
        made = cls(size)
        made._bits[:] = b"\xff" * len(made._bits)
        if size % 8:
            made._bits[-1] = 0xFF00 >> size % 8 & 0xFF
        made._count = size
        return made

    @classmethod
    def from_bytes(cls, data: bytes, size: int) -> "Bitfield":
        """Read what to_bytes wrote; raise Invalid if the length is wrong or spare bits are set."""
        made = cls(size)
        if len(data) != len(made._bits):
            raise Invalid(
                f"a bitfield of {size} pieces has {len(made._bits)} bytes, not {len(data)}"
            )
        if size % 8 and data[-1] & (0xFF >> size % 8):
            raise Invalid(f"a bitfield has bits set beyond its {size} pieces")
        made._bits[:] = data
        made._count = int.from_bytes(data, "big").bit_count()
        return made

    def to_bytes(self) -> bytes:
        """Write the bitfield as BEP 3 has it: most significant bit first, spare bits zero."""
        return bytes(self._bits)

    def add(self, index: int) -> bool:
        """Set the bit of a piece and tell whether it was clear."""
        byte, mask = self._place(index)
        if self._bits[byte] & mask:
            return False
        self._bits[byte] |= mask
        self._count += 1
        return True

    def discard(self, index: int) -> bool:
        """Clear the bit of a piece and tell whether it was set."""
        byte, mask = self._place(index)
        if not self._bits[byte] & mask:
            return False
        self._bits[byte] ^= mask
        self._count -= 1
        return True

    @property
    def count(self) -> int:
        """How many pieces are present."""
        return self._count

    @property
    def complete(self) -> bool:
        """Whether every piece is present."""
        return self._count == self._size

    def missing(self) -> Iterator[int]:
        """Give the absent indexes, ascending."""
        for byte, bits in enumerate(self._bits):
            if bits != 0xFF:
                for bit in _SET_BITS[bits ^ 0xFF]:
                    if byte * 8 + bit < self._size:
                        yield byte * 8 + bit

    def copy(self) -> "Bitfield":
        """Make an equal bitfield that changes by itself."""
        made = Bitfield(self._size)
        made._bits[:] = self._bits
        made._count = self._count
        return made

    def __contains__(self, index: int) -> bool:
        return 0 <= index < self._size and bool(self._bits[index >> 3] & (0x80 >> (index & 7)))

    def __iter__(self) -> Iterator[int]:
        for byte, bits in enumerate(self._bits):
            if bits:
                for bit in _SET_BITS[bits]:
                    yield byte * 8 + bit

    def __len__(self) -> int:
        return self._size

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Bitfield):
            return NotImplemented
        return self._size == other._size and self._bits == other._bits

    def __repr__(self) -> str:
        return f"<Bitfield {self._count} of {self._size}>"

    def _place(self, index: int) -> tuple[int, int]:
        if not 0 <= index < self._size:
            raise IndexError(f"piece {index} of {self._size}")
        return index >> 3, 0x80 >> (index & 7)
