"""In-memory twins of the node's store: the same contracts, no disk, no threads."""

import itertools
import json
import os
from collections.abc import Callable, Collection, Generator, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from p2pd.errors import Conflict, Invalid, NotFound, Unavailable
from p2pd.metainfo import create
from p2pd.metainfo.files import FileEntry
from p2pd.metainfo.ids import InfoHash
from p2pd.metainfo.torrent import Torrent
from p2pd.node.ports import Buffer, DiskSpace, Extent
from p2pd.node.records import PendingRecord, Record
from p2pd.store.memory_incoming import Draft, MemoryIncoming
from p2pd.store.roots import Roots

_ROOT = Path("/memory")


@dataclass
class Disk:
    """What survives a restart of a node in memory: files, partial bytes, room for more."""

    published: dict[Path, bytes] = field(default_factory=dict)
    partial: dict[InfoHash, bytearray] = field(default_factory=dict)
    incoming: dict[str, Draft] = field(default_factory=dict)
    capacity: int = 1 << 62

    def below(self, path: Path) -> list[Path]:
        """All files at a path, or in it if it is a directory."""
        return [place for place in self.published if path == place or path in place.parents]

    def is_directory(self, path: Path) -> bool:
        """Whether there are files in it."""
        return path not in self.published and bool(self.below(path))

    def clear(self, paths: Iterable[Path], *, replace: bool) -> None:
        """Delete what is at these paths; `Conflict` if there is something not to be replaced."""
        taken = [(path, self.below(path)) for path in paths]
        for path, files in taken:
            if files and not replace:
                raise Conflict(f"{path} already exists: remove it, or ask to replace it")
        for _, files in taken:
            for file in files:
                del self.published[file]


class MemoryContent:
    """One torrent's bytes, partial ones as one stream; implements `p2pd.node.ports.Content`."""

    def __init__(
        self, torrent: Torrent, path: Path, store: "MemoryStore", *, stamps: bytes = b""
    ) -> None:
        self.torrent = torrent
        self.path = path
        self._store = store
        self._disk = store.disk
        self._payload = [file for file in torrent.files if not file.padding]
        listed = zip(self._payload, json.loads(stamps or b"[]"), strict=False)
        self._stamps = {file.path: stamp for file, stamp in listed if stamp is not None}

    def covers(self, wanted: Collection[int] | None = None) -> bool:
        """Whether files have their final names; see `Content.covers`."""
        return not self._chosen(wanted)

    def stamps(self) -> bytes:
        """What published bytes look like; see `Content.stamps`."""
        if not self._stamps:
            return b""
        return json.dumps([self._stamps.get(file.path) for file in self._payload]).encode()

    # -- places

    def _place(self, file: FileEntry) -> Path:
        return self.path if self.torrent.single_file else self.path.joinpath(*file.path)

    def _chosen(self, wanted: Collection[int] | None) -> list[FileEntry]:
        """The wanted files that are not published."""
        return [
            file
            for number, file in enumerate(self._payload)
            if (wanted is None or number in wanted) and file.path not in self._stamps
        ]

    def _published(self, file: FileEntry) -> bytes:
        place = self._place(file)
        data = self._disk.published.get(place)
        if data is None or hash(data) != self._stamps[file.path]:
            raise Conflict(f"{place} changed on disk after it was shared")
        return data

    def _partial(self) -> bytearray:
        try:
            return self._disk.partial[self.torrent.infohash]
        except KeyError:
            raise Unavailable(f"the partial copy of {self.torrent.name} disappeared") from None

    def accept(self, wanted: Collection[int] | None = None) -> "MemoryContent":
        """Take what is at the path of these files for published; `Conflict` if none is."""
        for file in self._chosen(wanted):
            if (data := self._disk.published.get(self._place(file))) is not None:
                self._stamps[file.path] = hash(data)
        if not self._stamps:
            raise Conflict(f"{self.path} is gone from disk")
        return self

    # -- bytes

    async def allocate(self, wanted: Collection[int] | None = None) -> bool:
        """Make room; see `Content.allocate`."""
        missing = sum(file.length for file in self._chosen(wanted))
        if missing > max(self._disk.capacity - self._store.least_free, 0):
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
            start = index * self.torrent.piece_length
            stream[start : start + len(data)] = data
        return True

    async def read(self, index: int, start: int = 0, length: int | None = None) -> bytes:
        """Read a range of a piece; see `Content.read`."""
        if length is None:
            length = self.torrent.piece_size(index) - start
        return self._piece(index)[start : start + length].ljust(length, b"\0")

    def _piece(self, index: int) -> bytes:
        size = self.torrent.piece_size(index)
        start = index * self.torrent.piece_length
        partial = self._disk.partial.get(self.torrent.infohash, b"")
        data = bytearray(partial[start : start + size].ljust(size, b"\0"))
        for span in self.torrent.spans(index) if self._stamps else ():
            if span.file.path in self._stamps:
                part = self._published(span.file)[span.offset : span.offset + span.length]
                data[span.start : span.start + span.length] = part
        return bytes(data)

    def locate(self, index: int, start: int, length: int) -> Generator[Extent, None, None]:
        """Open a range of a piece; see `Content.locate`."""
        return self._extents(self._piece(index)[start : start + length])

    def _extents(self, data: bytes) -> Generator[Extent, None, None]:
        with os.fdopen(os.memfd_create("p2pd"), "wb", buffering=0) as file:
            file.write(data)
            yield Extent(file.fileno(), 0, len(data))

    async def check(self, indexes: Iterable[int], found: Callable[[int], object]) -> None:
        """Digest what is there; see `Content.check`."""
        for index in indexes:
            with suppress(Conflict):
                if self.torrent.verify(index, self._piece(index)):
                    found(index)

    async def inspect(self) -> None:
        """Look whether published bytes are as they were; see `Content.inspect`."""
        for file in self._payload:
            if file.path in self._stamps:
                self._published(file)

    async def sync(self) -> None:
        """Do nothing: memory has no cache."""

    # -- names

    async def occupied(self) -> bool:
        """Whether something is in the way; see `Content.occupied`."""
        if not self._stamps:
            return bool(self._disk.below(self.path))
        left = self._chosen(None)
        return bool(left) and all(self._disk.below(self._place(file)) for file in left)

    async def publish(
        self, *, replace: bool = False, wanted: Collection[int] | None = None
    ) -> None:
        """Give verified files their final names; see `Content.publish`."""
        chosen = self._chosen(wanted)
        if not chosen:
            return
        stream = self._partial()
        whole = len(chosen) == len(self._payload)
        self._disk.clear(
            [self.path] if whole else [self._place(file) for file in chosen], replace=replace
        )
        for file in chosen:
            data = bytes(stream[file.offset : file.end])
            self._disk.published[self._place(file)] = data
            self._stamps[file.path] = hash(data)
        if self.covers():
            await self.discard()

    async def move(self, path: Path, *, replace: bool = False) -> None:
        """Take all there is to another path; see `Content.move`."""
        if path == self.path:
            return
        if self.path in path.parents or path in self.path.parents:
            raise Invalid(f"{self.path} cannot be moved to {path}: one would be inside the other")
        await self.inspect()
        if self._stamps or not replace:
            if replace:
                self._refuse_others(path)
            self._disk.clear([path], replace=replace)
        places = [self._place(file) for file in self._payload if file.path in self._stamps]
        for place in places:
            to = path / place.relative_to(self.path)
            self._disk.published[to] = self._disk.published.pop(place)
        self.path = path

    def _refuse_others(self, path: Path) -> None:
        ours = {path / self._place(file).relative_to(self.path) for file in self._payload}
        if others := set(self._disk.below(path)) - ours:
            raise Conflict(f"{min(others)} is not of {self.torrent.name}: remove it first")

    async def delete(self) -> None:
        """Drop published and partial bytes; see `Content.delete`."""
        for file in self._payload:
            if file.path in self._stamps:
                self._disk.published.pop(self._place(file), None)
        self._stamps = {}
        await self.discard()

    async def discard(self) -> None:
        """Drop what is partial; see `Content.discard`."""
        self._disk.partial.pop(self.torrent.infohash, None)


class MemoryStore:
    """Implements `p2pd.node.ports.Store` on a `Disk`."""

    def __init__(
        self, disk: Disk | None = None, roots: Sequence[Path] = (), *, root: Path = _ROOT
    ) -> None:
        self.disk = disk or Disk()
        self.least_free = 0
        self.root = root
        self._roots = Roots(root, *roots, resolve=_normal)

    def place(self, torrent: Torrent, destination: str) -> Path:
        """Where content goes; see `Store.place`."""
        return self._roots.place(torrent, destination, self.disk.is_directory)

    def begin(self, torrent: Torrent, destination: str) -> MemoryContent:
        """Content to be written; see `Store.begin`."""
        return MemoryContent(torrent, self.place(torrent, destination), self)

    def resume(self, torrent: Torrent, path: str, stamps: bytes) -> MemoryContent:
        """Content of an earlier run; see `Store.resume`."""
        return MemoryContent(torrent, Path(path), self, stamps=stamps)

    async def adopt(
        self, torrent: Torrent, path: Path, wanted: Collection[int] | None = None
    ) -> MemoryContent:
        """Published content as it is now; see `Store.adopt`."""
        return MemoryContent(torrent, path, self).accept(wanted)

    async def describe(
        self, path: Path, name: str | None, *, only: Collection[str] | None = None
    ) -> tuple[Torrent, MemoryContent]:
        """Make a torrent of published bytes; see `Store.describe`."""
        name = name or path.name
        if path in self.disk.published:
            data = self.disk.published[path]
            stream = create.describe_stream(name, len(data))
            stream.feed(data)
            torrent = stream.finish()
        else:
            below = {each.relative_to(path).parts: each for each in self.disk.below(path)}
            chosen = {
                parts: self.disk.published[each]
                for parts, each in below.items()
                if only is None or parts[0] in only
            }
            if not chosen:
                raise NotFound(f"there is nothing to share at {path}")
            torrent = create.describe_bytes(name, chosen)
        return torrent, MemoryContent(torrent, path, self).accept()

    async def allowed(self, path: str) -> Path:
        """What lies at an absolute path; see `Store.allowed`."""
        real = self._roots.allowed(path)
        if real != self.root and not self.disk.below(real):
            raise NotFound(f"there is nothing at {path}")
        return real

    async def space(self, path: str = "") -> DiskSpace:
        """Room on the disk; see `Store.space`."""
        if path:
            await self.allowed(path)
        free = self.disk.capacity
        used = sum(map(len, (*self.disk.published.values(), *self.disk.partial.values())))
        return DiskSpace(free + used, free, free)

    def receive(
        self, name: str, destination: str, key: str, *, replace: bool = False
    ) -> MemoryIncoming:
        """A file that comes from elsewhere; see `Store.receive`."""
        return MemoryIncoming(
            name,
            destination,
            key,
            replace=replace,
            store=self,
            drafts=self.disk.incoming,
            published=self.disk.published,
        )

    def rest(self) -> None:
        """Do nothing: memory has no files."""


def _normal(path: Path) -> Path:
    if "\0" in str(path):
        raise ValueError("a zero in a path")
    return Path(os.path.normpath(path))


def _placed(job: str, position: int) -> str:
    return json.dumps(json.loads(job) | {"position": position})


class MemoryResumeTable:
    """Implements `p2pd.node.records.ResumeTable` in dicts."""

    def __init__(self) -> None:
        self.records: dict[InfoHash, Record] = {}
        self.pending: dict[int, PendingRecord] = {}
        self.settings: dict[str, Any] = {}
        self._numbers = itertools.count(1)

    async def load(self) -> list[Record]:
        """All records; see `ResumeTable.load`."""
        return list(self.records.values())

    async def save(self, record: Record, *, settles: int | None = None) -> None:
        """Keep a record; see `ResumeTable.save`."""
        self.records[record.infohash] = record
        if settles is not None:
            self.pending.pop(settles, None)

    async def forget(self, infohash: InfoHash) -> None:
        """Drop a record; see `ResumeTable.forget`."""
        self.records.pop(infohash, None)

    async def load_pending(self) -> list[PendingRecord]:
        """All pending records; see `ResumeTable.load_pending`."""
        return list(self.pending.values())

    async def save_pending(self, record: PendingRecord) -> int:
        """Keep a pending record; see `ResumeTable.save_pending`."""
        number = record.number or next(self._numbers)
        if number in self.pending or not record.number:
            self.pending[number] = replace(record, number=number)
        return number

    async def forget_pending(self, number: int) -> None:
        """Drop a pending record; see `ResumeTable.forget_pending`."""
        self.pending.pop(number, None)

    async def place(self, torrents: Mapping[InfoHash, int], pending: Mapping[int, int]) -> None:
        """Write positions; see `ResumeTable.place`."""
        for infohash in self.records.keys() & torrents.keys():
            record = self.records[infohash]
            self.records[infohash] = replace(record, job=_placed(record.job, torrents[infohash]))
        for number in self.pending.keys() & pending.keys():
            kept = self.pending[number]
            self.pending[number] = replace(kept, job=_placed(kept.job, pending[number]))

    async def size(self) -> int:
        """How many bytes all of this takes; see `ResumeTable.size`."""
        return len(repr((self.records, self.pending, self.settings)))

    async def load_settings(self) -> dict[str, Any]:
        """The settings; see `ResumeTable.load_settings`."""
        return dict(self.settings)

    async def save_settings(self, settings: Mapping[str, Any]) -> None:
        """Keep settings; see `ResumeTable.save_settings`."""
        self.settings.update(json.loads(json.dumps(dict(settings))))
