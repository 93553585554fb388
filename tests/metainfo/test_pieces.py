import hashlib

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pd.metainfo.pieces import (
    BLOCK,
    MAX_PIECE_LENGTH,
    MIN_PIECE_LENGTH,
    Cutter,
    DigestKind,
    digest,
    merkle_root,
    piece_length_for,
    power_of_two,
)

KIB, GIB = 1024, 1024**3


@pytest.mark.parametrize(
    ("total", "length"),
    [
        (0, 256 * KIB),
        (GIB // 16, 256 * KIB),
        (GIB // 16 + 1, 512 * KIB),
        (GIB // 8 + 1, 1024 * KIB),
        (GIB // 2, 2048 * KIB),
        (GIB, 4096 * KIB),
        (4 * GIB, 4096 * KIB),
        (256 * GIB, 4096 * KIB),
        (256 * GIB + 1, 8192 * KIB),
        (512 * GIB + 1, 16384 * KIB),
        (9000 * GIB, 16384 * KIB),
    ],
)
def test_the_piece_length_follows_the_size(total, length):
    assert piece_length_for(total) == length
    assert MIN_PIECE_LENGTH <= length <= MAX_PIECE_LENGTH


@settings(deadline=None)
@given(st.lists(st.binary(max_size=50)), st.integers(1, 40))
def test_a_stream_is_cut_alike_however_it_is_fed(parts, piece_length):
    cutter = Cutter(piece_length)
    for part in parts:
        cutter.feed(memoryview(part))
    stream = b"".join(parts)
    pieces = [stream[at : at + piece_length] for at in range(0, len(stream), piece_length)]
    assert cutter.finish() == (
        [digest(DigestKind.BLAKE3, piece) for piece in pieces],
        [digest(DigestKind.SHA1, piece) for piece in pieces],
    )


@pytest.mark.parametrize("form", [bytes, bytearray, memoryview])
def test_digests_are_the_well_known_ones(form):
    data = form(b"some content")
    assert digest(DigestKind.BLAKE3, data) == blake3(b"some content").digest()
    assert digest(DigestKind.SHA1, data) == hashlib.sha1(b"some content").digest()
    assert digest(DigestKind.SHA256_TREE, data) == hashlib.sha256(b"some content").digest()
    assert all(len(digest(kind, data)) == kind.size for kind in DigestKind)


def test_a_tree_is_padded_with_zeros_to_its_width():
    leaf = hashlib.sha256(bytes(BLOCK)).digest()
    last = hashlib.sha256(b"x").digest()
    pair = hashlib.sha256(leaf + last).digest()
    assert digest(DigestKind.SHA256_TREE, bytes(BLOCK) + b"x") == pair
    empty = hashlib.sha256(bytes(64)).digest()
    assert digest(DigestKind.SHA256_TREE, bytes(BLOCK) + b"x", blocks=4) == (
        hashlib.sha256(pair + empty).digest()
    )
    assert merkle_root([], 2) == empty
    assert merkle_root([pair], 4, empty) == merkle_root([pair, empty, empty, empty], 4)


def test_powers_of_two():
    assert [power_of_two(count) for count in (0, 1, 2, 3, 4, 5, 1025)] == [1, 1, 2, 4, 4, 8, 2048]
