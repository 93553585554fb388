"""A torrent: named files cut into pieces whose digests are known.

The model is one for all kinds of metainfo. A torrent is a range of `length` bytes; its files lie
in it one after the other, and piece i begins at byte i * piece_length.

- v1 (BEP 3), p2pd's own included: no gaps; padding (BEP 47) is a FileEntry of zeros, and its
  bytes are part of the pieces.
- v2 (BEP 52) and hybrids: a file of one byte or more begins at a piece boundary. The gap after a
  file is no entry and belongs to no piece, so the piece at the end of a file is short. A
  hybrid's v1 padding is exactly its gaps. So a piece id always names the same bytes.
"""

import hashlib
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from dataclasses import field as attribute
from functools import cached_property
from typing import TypeAlias

from p2pd.errors import Invalid
from p2pd.metainfo import bencode
from p2pd.metainfo.bencode import Value
from p2pd.metainfo.files import (
    Dict,
    FileEntry,
    Listed,
    Span,
    field,
    read_v1,
    read_v2,
    text,
)
from p2pd.metainfo.ids import InfoHash, PieceId
from p2pd.metainfo.paths import safe_name
from p2pd.metainfo.pieces import BLOCK, Data, DigestKind, digest, merkle_root, power_of_two

MAX_METAINFO = 32 * 1024 * 1024
"""Bytes in one metainfo."""
MAX_PIECES = 2**20
PIECE_LENGTHS = range(1024, 64 * 1024 * 1024 + 1)
BLAKE3_KEY = b"pieces blake3"
"""The key of the info dict that holds the 32-byte BLAKE3 digest of each piece."""

_MAX_URLS = 1000
_MAX_URL = 2048
_MAX_COMMENT = 4096
_MAX_DEPTH = 80

Tiers: TypeAlias = tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Torrent:
    """What is shared: a name, files, and the digests to check them by. See the module's text.

    `length` counts padding and gaps, `size` does not. `kind` is the strongest kind of digest that
    the metainfo holds for every piece, and a piece id is that digest. `info` is the info dict as
    it came, `piece_layers` likewise (BEP 52; empty otherwise). `trackers` are tiers of announce
    URLs (BEP 12), `web_seeds` URLs of the content (BEP 19); both are unchecked text, as is
    `comment`.  `private` torrents have no peers but those that their trackers name (BEP 27).
    `v2_infohash` is the SHA-256 of the info dict, empty if that is not of BEP 52.
    """

    name: str
    files: tuple[FileEntry, ...] = attribute(repr=False)
    piece_length: int
    length: int
    kind: DigestKind
    piece_ids: tuple[PieceId, ...] = attribute(repr=False)
    infohash: InfoHash
    info: bytes = attribute(repr=False)
    single_file: bool
    trackers: Tiers = ()
    web_seeds: tuple[str, ...] = ()
    piece_layers: bytes = attribute(default=b"", repr=False)
    comment: str = ""
    private: bool = False
    v2_infohash: bytes = b""

    @classmethod
    def from_bytes(cls, data: bytes) -> "Torrent":
        """Read metainfo of any kind; raise Invalid if it is malformed, unsafe or too large.

        Takes a few seconds for the largest: call it in a thread if the data is long.
        """
        if len(data) > MAX_METAINFO:
            raise Invalid(f"the metainfo is larger than {MAX_METAINFO} bytes")
        outer, raw = bencode.decode_raw(data, _MAX_DEPTH)
        return replace(
            _read(raw.get(b"info", b""), outer),
            trackers=_trackers(outer),
            web_seeds=_web_seeds(outer),
            piece_layers=raw.get(b"piece layers", b""),
            comment=_comment(outer),
        )

    def to_bytes(
        self,
        *,
        trackers: Sequence[Sequence[str]] | None = None,
        web_seeds: Sequence[str] | None = None,
    ) -> bytes:
        """Write the metainfo, with other trackers and web seeds than its own if they are given."""
        tiers = [list(tier) for tier in (self.trackers if trackers is None else trackers) if tier]
        seeds = list(self.web_seeds if web_seeds is None else web_seeds)
        items = {b"info": self.info}
        if self.piece_layers:
            items[b"piece layers"] = self.piece_layers
        if tiers:
            items[b"announce"] = bencode.encode(tiers[0][0])
        if sum(map(len, tiers)) > 1:
            items[b"announce-list"] = bencode.encode(tiers)
        if seeds:
            items[b"url-list"] = bencode.encode(seeds)
        if self.comment:
            items[b"comment"] = bencode.encode(self.comment)
        return b"d%be" % b"".join(bencode.encode(key) + items[key] for key in sorted(items))

    @cached_property
    def size(self) -> int:
        """Bytes in the files, without padding."""
        return sum(file.length for file in self.files if not file.padding)

    @property
    def piece_count(self) -> int:
        """How many pieces there are."""
        return len(self.piece_ids)

    def piece_size(self, index: int) -> int:
        """Give the number of bytes in a piece, as peers send it: v1 padding counts, gaps do not.

        Raises IndexError, as all that take a piece's index do.
        """
        start = self._start(index)
        if self.kind is DigestKind.SHA256_TREE:
            return min(self.piece_length, self._solid[self._first(start)].end - start)
        return min(self.piece_length, self.length - start)

    def spans(self, index: int) -> list[Span]:
        """Give the parts of a piece in their order, padding included; together they fill it."""
        start = self._start(index)
        end = start + self.piece_size(index)
        found = []
        at, place = start, self._first(start)
        while at < end:
            file = self._solid[place]
            stop = min(end, file.end)
            found.append(Span(file, at - file.offset, stop - at, at - start))
            at, place = stop, place + 1
        return found

    def pieces_of(self, file: FileEntry) -> range:
        """Give the indexes of the pieces in which a file lies; none for an empty file."""
        first = file.offset // self.piece_length
        return range(first, -(-file.end // self.piece_length) if file.length else first)

    def indexes_of(self, piece_id: PieceId) -> tuple[int, ...]:
        """Give the indexes of all pieces with this content, ascending; none if it has none."""
        return self._indexes.get(piece_id, ())

    def common_with(self, other: "Torrent") -> set[PieceId]:
        """Give the ids of the pieces that both torrents have."""
        return self._indexes.keys() & other._indexes.keys()  # noqa: SLF001 - one class

    def verify(self, index: int, data: Data) -> bool:
        """Tell whether `data` is the piece, by the strongest digest there is."""
        if len(data) != self.piece_size(index):
            return False
        # Only a file of more than one piece has a tree with room for a whole piece (BEP 52).
        start = index * self.piece_length
        long = self._solid[self._first(start)].length > self.piece_length
        blocks = self.piece_length // BLOCK if long else 1
        if digest(self.kind, data, blocks=blocks) != self.piece_ids[index]:
            return False
        # Padding is not kept, so a piece with anything else in it could not be served again.
        view = memoryview(data)
        return not self._padded or all(
            bytes(view[span.start : span.start + span.length]) == bytes(span.length)
            for span in self.spans(index)
            if span.file.padding
        )

    def __hash__(self) -> int:
        return hash(self.infohash)

    def _start(self, index: int) -> int:
        if not 0 <= index < len(self.piece_ids):
            raise IndexError(f"piece {index} of {len(self.piece_ids)}")
        return index * self.piece_length

    def _first(self, at: int) -> int:
        return bisect_right(self._offsets, at) - 1

    @cached_property
    def _solid(self) -> list[FileEntry]:
        return [file for file in self.files if file.length]

    @cached_property
    def _offsets(self) -> list[int]:
        return [file.offset for file in self._solid]

    @cached_property
    def _padded(self) -> bool:
        return any(file.padding for file in self.files)

    @cached_property
    def _indexes(self) -> dict[PieceId, tuple[int, ...]]:
        found: dict[PieceId, list[int]] = defaultdict(list)
        for index, piece_id in enumerate(self.piece_ids):
            found[piece_id].append(index)
        return {piece_id: tuple(indexes) for piece_id, indexes in found.items()}


def _read(raw: bytes, outer: Dict) -> Torrent:
    info = field(outer, b"info", dict)
    name = safe_name(text(info.get(b"name.utf-8", info.get(b"name"))))
    piece_length = field(info, b"piece length", int)
    if piece_length not in PIECE_LENGTHS:
        raise Invalid(f"the metainfo's piece length of {piece_length} is not 1 KiB to 64 MiB")
    v1 = b"pieces" in info
    v2 = info.get(b"meta version") == 2
    if not v1 and not v2:
        raise Invalid("the metainfo has no piece digests that p2pd knows (BEP 3 or 52)")
    files = read_v1(info, name) if v1 else ()
    kind, ids = _v1_digests(info, files, piece_length) if v1 else (DigestKind.SHA256_TREE, [])
    length = files[-1].end if v1 else 0
    single = b"files" not in info
    if v2:
        listed = read_v2(info, piece_length)
        tree = tuple(file for file, _ in listed)
        roots = _v2_digests(listed, outer, piece_length)
        if v1 and (len(roots) != len(ids) or _payload(files) != _payload(tree)):
            raise Invalid("the metainfo's v1 and v2 file lists contradict each other")
        if not v1:
            length, single = tree[-1].end, [file.path for file in tree] == [(name,)]
        if kind is not DigestKind.BLAKE3:
            kind, ids, files = DigestKind.SHA256_TREE, roots, tree
    sha = hashlib.sha1(raw, usedforsecurity=False) if v1 else hashlib.sha256(raw)
    return Torrent(
        name=name,
        files=files,
        piece_length=piece_length,
        length=length,
        kind=kind,
        piece_ids=tuple(PieceId(piece_id) for piece_id in ids),
        infohash=InfoHash(sha.digest()[:20]),
        info=raw,
        single_file=single,
        private=info.get(b"private") == 1,
        v2_infohash=hashlib.sha256(raw).digest() if v2 else b"",
    )


def _v1_digests(
    info: Dict, files: Sequence[FileEntry], piece_length: int
) -> tuple[DigestKind, list[bytes]]:
    count = -(-files[-1].end // piece_length)
    ids = _cut(info.get(b"pieces"), DigestKind.SHA1.size, count)
    if BLAKE3_KEY not in info:
        return DigestKind.SHA1, ids
    return DigestKind.BLAKE3, _cut(info[BLAKE3_KEY], DigestKind.BLAKE3.size, count)


def _cut(digests: Value | None, size: int, count: int) -> list[bytes]:
    if count > MAX_PIECES:
        raise Invalid(f"the metainfo describes more than {MAX_PIECES} pieces")
    if not isinstance(digests, bytes) or len(digests) != size * count:
        raise Invalid(f"the metainfo does not hold {count} digests of {size} bytes for its pieces")
    return [digests[at : at + size] for at in range(0, len(digests), size)]


def _v2_digests(listed: Listed, outer: Dict, piece_length: int) -> list[bytes]:
    if piece_length < BLOCK or piece_length & (piece_length - 1):
        raise Invalid(f"the metainfo's piece length of {piece_length} is not allowed in BEP 52")
    if sum(-(-file.length // piece_length) for file, _ in listed) > MAX_PIECES:
        raise Invalid(f"the metainfo describes more than {MAX_PIECES} pieces")
    layers = field(outer, b"piece layers", dict) if b"piece layers" in outer else {}
    pad = merkle_root([], piece_length // BLOCK)
    ids: list[bytes] = []
    for file, root in listed:
        if file.length <= piece_length:
            ids += [root] if file.length else []
            continue
        layer = _cut(layers.get(root), 32, -(-file.length // piece_length))
        if merkle_root(layer, power_of_two(len(layer)), pad) != root:
            raise Invalid("a piece layer in the metainfo does not match its pieces root")
        ids += layer
    return ids


def _payload(files: Iterable[FileEntry]) -> list[tuple[tuple[str, ...], int, int]]:
    return [
        (file.path, file.length, file.offset if file.length else 0)
        for file in files
        if not file.padding
    ]


def _trackers(outer: Dict) -> Tiers:
    if b"announce-list" not in outer:
        one = _urls([outer.get(b"announce", b"")])
        return (one,) if one else ()
    tiers = []
    for tier in field(outer, b"announce-list", list):
        if not isinstance(tier, list):
            raise Invalid("the metainfo's 'announce-list' is not a list of lists")
        tiers.append(_urls(tier))
    if sum(map(len, tiers)) > _MAX_URLS:
        raise Invalid(f"the metainfo names more than {_MAX_URLS} trackers")
    return tuple(tier for tier in tiers if tier)


def _comment(outer: Dict) -> str:
    said = outer.get(b"comment")
    return said.decode(errors="replace")[:_MAX_COMMENT] if isinstance(said, bytes) else ""


def _web_seeds(outer: Dict) -> tuple[str, ...]:
    value = outer.get(b"url-list", [])
    return _urls(value if isinstance(value, list) else [value])


def _urls(values: list[Value]) -> tuple[str, ...]:
    urls = tuple(url for url in (text(value).strip() for value in values) if url)
    if len(urls) > _MAX_URLS or any(len(url) > _MAX_URL for url in urls):
        raise Invalid(f"the metainfo has more than {_MAX_URLS} URLs, or one over {_MAX_URL} long")
    return urls
