"""In-memory twins of the node's store: the same contracts, no disk, no threads."""

import os
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from p2pd.errors import Conflict, Invalid, NotFound, Unavailable
from p2pd.metainfo import create
from p2pd.metainfo.ids import InfoHash
from p2pd.metainfo.paths import parse_relative
from p2pd.metainfo.pieces import piece_length_for
from p2pd.metainfo.torrent import Torrent
from p2pd.node.ports import Buffer, Extent, Record

_ROOT = Path("/memory")


@dataclass
class Disk:
    """What survives a restart of a simulated node: published bytes, partial bytes, capacity."""

    published: dict[Path, bytes] = field(default_factory=dict)
    partial: dict[InfoHash, bytearray] = field(default_factory=dict)
    capacity: int = 1 << 62


class MemoryContent:
    """One torrent's bytes as one stream; implements `p2pd.node.ports.Content`."""

    def __init__(self, torrent: Torrent, path: Path, disk: Disk, *, stamps: bytes = b"") -> None:
        self.torrent = torrent
        self.path = path
        self._disk = disk
        self._stamps = stamps

    def _bytes(self) -> bytes | bytearray:
        if not self._stamps:
            return self._disk.partial.get(self.torrent.infohash, b"")
        data = self._disk.published.get(self.path)
        if data is None or _stamp(data) != self._stamps:
            raise Conflict(f"{self.path} changed on disk after it was shared")
        return data

    def _partial(self) -> bytearray:
        try:
            return self._disk.partial[self.torrent.infohash]
        except KeyError:
            raise Unavailable(f"the partial copy of {self.torrent.name} disappeared") from None

    def _offset(self, index: int) -> int:
        return index * self.torrent.piece_length

    async def allocate(self) -> bool:
        """Make room; see `Content.allocate`."""
        if self.torrent.length > self._disk.capacity:
            raise Unavailable(f"{self.path.parent} has too few bytes free: make room")
        known = self.torrent.infohash in self._disk.partial
        self._disk.partial.setdefault(self.torrent.infohash, bytearray(self.torrent.length))
        return known

    async def write(self, indexes: Iterable[int], data: Buffer) -> bool:
        """Verify and keep a piece; see `Content.write`."""
        places = tuple(indexes)
        if not self.torrent.verify(places[0], data):
            return False
        stream = self._partial()
        for index in places:
            stream[self._offset(index) : self._offset(index) + len(data)] = data
        return True

    async def read(self, index: int, start: int = 0, length: int | None = None) -> bytes:
        """Read a range of a piece; see `Content.read`."""
        if length is None:
            length = self.torrent.piece_size(index) - start
        offset = self._offset(index) + start
        return bytes(self._bytes()[offset : offset + length]).ljust(length, b"\0")

    def locate(self, index: int, start: int, length: int) -> Generator[Extent, None, None]:
        """Open a range of a piece; see `Content.locate`."""
        offset = self._offset(index) + start
        return self._extents(bytes(self._bytes()[offset : offset + length]))

    def _extents(self, data: bytes) -> Generator[Extent, None, None]:
        with os.fdopen(os.memfd_create("p2pd"), "wb", buffering=0) as file:
            file.write(data)
            yield Extent(file.fileno(), 0, len(data))

    async def check(self, indexes: Iterable[int], found: Callable[[int], object]) -> None:
        """Digest what is there; see `Content.check`."""
        for index in indexes:
            try:
                data = await self.read(index)
            except Conflict:
                return
            if self.torrent.verify(index, data):
                found(index)

    async def occupied(self) -> bool:
        """Whether something is at the destination; see `Content.occupied`."""
        return self.path in self._disk.published

    async def inspect(self) -> None:
        """Look whether published bytes are as they were; see `Content.inspect`."""
        self._bytes()

    async def sync(self) -> None:
        """Do nothing: memory has no cache."""

    async def publish(self, *, replace: bool = False) -> None:
        """Give verified content its final name; see `Content.publish`."""
        if self.path in self._disk.published and not replace:
            raise Conflict(f"{self.path} already exists: remove it, or ask to replace it")
        data = bytes(self._partial())
        del self._disk.partial[self.torrent.infohash]
        self._disk.published[self.path] = data
        self._stamps = _stamp(data)

    async def discard(self) -> None:
        """Drop what is partial; see `Content.discard`."""
        self._disk.partial.pop(self.torrent.infohash, None)

    def stamps(self) -> bytes:
        """What published bytes look like; see `Content.stamps`."""
        return self._stamps


class MemoryStore:
    """Implements `p2pd.node.ports.Store` on a `Disk`."""

    def __init__(self, disk: Disk | None = None) -> None:
        self.disk = disk or Disk()

    def begin(self, torrent: Torrent, destination: str) -> MemoryContent:
        """Content to be written; see `Store.begin`."""
        text = destination.removeprefix(f"{_ROOT}/")
        if text.startswith("/"):
            raise Invalid(f"destination {destination} is outside the download directory {_ROOT}")
        path = _ROOT.joinpath(*parse_relative(text)) if text else _ROOT / torrent.name
        return MemoryContent(torrent, path, self.disk)

    def resume(self, torrent: Torrent, path: str, stamps: bytes) -> MemoryContent:
        """Content of an earlier run; see `Store.resume`."""
        return MemoryContent(torrent, Path(path), self.disk, stamps=stamps)

    async def adopt(self, torrent: Torrent, path: Path) -> MemoryContent:
        """Published content as it is now; see `Store.adopt`."""
        if path not in self.disk.published:
            raise Conflict(f"{path} is gone from disk")
        return MemoryContent(torrent, path, self.disk, stamps=_stamp(self._published(path)))

    async def describe(self, path: Path, name: str | None) -> tuple[Torrent, MemoryContent]:
        """Make a single-file torrent of published bytes; see `Store.describe`."""
        data = self._published(path)
        stream = create.describe_stream(name or path.name, len(data), piece_length_for(len(data)))
        stream.feed(data)
        torrent = stream.finish()
        return torrent, MemoryContent(torrent, path, self.disk, stamps=_stamp(data))

    def rest(self) -> None:
        """Do nothing: memory has no files."""

    def _published(self, path: Path) -> bytes:
        try:
            return self.disk.published[path]
        except KeyError:
            raise NotFound(f"there is nothing to share at {path}") from None


def _stamp(data: bytes) -> bytes:
    return b"%d" % hash(data)


class MemoryResumeTable:
    """Implements `p2pd.node.ports.ResumeTable` in a dict."""

    def __init__(self) -> None:
        self.records: dict[InfoHash, Record] = {}

    async def load(self) -> list[Record]:
        """All records; see `ResumeTable.load`."""
        return list(self.records.values())

    async def save(self, record: Record) -> None:
        """Keep a record; see `ResumeTable.save`."""
        self.records[record.infohash] = record

    async def forget(self, infohash: InfoHash) -> None:
        """Drop a record; see `ResumeTable.forget`."""
        self.records.pop(infohash, None)
