"""Cutting content into pieces and digesting them."""

import hashlib
from collections.abc import Sequence
from enum import StrEnum
from typing import TypeAlias

from blake3 import blake3

Data: TypeAlias = bytes | bytearray | memoryview

BLOCK = 16 * 1024
MIN_PIECE_LENGTH = 256 * 1024
MAX_PIECE_LENGTH = 16 * 1024 * 1024
# Up to so long a piece, how many there may be before the next length is better.
_MOST_PIECES = ((4 * 1024 * 1024, 256), (MAX_PIECE_LENGTH, 65_536))
_NO_BLOCK = bytes(32)


class DigestKind(StrEnum):
    """How a torrent's pieces are digested."""

    BLAKE3 = "blake3"
    SHA1 = "sha1"
    SHA256_TREE = "sha256-tree"

    @property
    def size(self) -> int:
        """Bytes in one digest."""
        return 20 if self is DigestKind.SHA1 else 32


def piece_length_for(total: int) -> int:
    """Choose the piece length for `total` bytes: a power of two, 256 KiB to 16 MiB.

    It doubles while there would be more than 256 pieces, and from 4 MiB on more than 65,536: few
    enough to cost little in all, many enough to be spread.
    """
    length = MIN_PIECE_LENGTH
    for largest, pieces in _MOST_PIECES:
        while length < largest and length * pieces < total:
            length *= 2
    return length


def digest(kind: DigestKind, data: Data, *, blocks: int = 1) -> bytes:
    """Digest a whole piece in one call.

    SHA256_TREE is BEP 52's Merkle root over 16 KiB blocks; its tree has room for `blocks`
    blocks (a power of two), or for as many as the data needs if that is more. The other kinds
    ignore `blocks`.
    """
    if kind is DigestKind.BLAKE3:
        return blake3(data).digest()
    if kind is DigestKind.SHA1:
        return hashlib.sha1(data, usedforsecurity=False).digest()
    view = memoryview(data)
    leaves = [hashlib.sha256(view[at : at + BLOCK]).digest() for at in range(0, len(view), BLOCK)]
    return merkle_root(leaves, max(blocks, power_of_two(len(leaves))))


def merkle_root(layer: Sequence[bytes], width: int, pad: bytes = _NO_BLOCK) -> bytes:
    """Compute BEP 52's SHA-256 root over a layer of at most `width` digests, a power of two.

    `pad` stands for each absent digest.
    """
    nodes = list(layer)
    while width > 1:
        if len(nodes) % 2:
            nodes.append(pad)
        pairs = zip(nodes[::2], nodes[1::2], strict=True)
        nodes = [hashlib.sha256(left + right).digest() for left, right in pairs]
        pad = hashlib.sha256(pad + pad).digest()
        width //= 2
    return nodes[0] if nodes else pad


def power_of_two(count: int) -> int:
    """Give the smallest power of two that is at least `count` (and at least 1)."""
    return 1 << max(count - 1, 0).bit_length()


class Cutter:
    """Cuts a stream, fed in parts of any size, into pieces and digests each both ways."""

    def __init__(self, piece_length: int) -> None:
        self._piece_length = piece_length
        self._blake3: list[bytes] = []
        self._sha1: list[bytes] = []
        self._begin()

    def feed(self, data: Data) -> None:
        """Take the next bytes of the stream."""
        view = memoryview(data)
        while view:
            part = view[: self._room]
            self._piece_blake3.update(part)
            self._piece_sha1.update(part)
            self._room -= len(part)
            if not self._room:
                self._end()
            view = view[len(part) :]

    def finish(self) -> tuple[list[bytes], list[bytes]]:
        """End the stream and give the BLAKE3 and the SHA-1 digests of its pieces."""
        if self._room < self._piece_length:
            self._end()
        return self._blake3, self._sha1

    def _begin(self) -> None:
        self._room = self._piece_length
        self._piece_blake3 = blake3()
        self._piece_sha1 = hashlib.sha1(usedforsecurity=False)

    def _end(self) -> None:
        self._blake3.append(self._piece_blake3.digest())
        self._sha1.append(self._piece_sha1.digest())
        self._begin()
