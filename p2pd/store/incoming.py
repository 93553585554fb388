"""A file that comes from elsewhere before anybody knows its digests.

It lies in `.p2pd-<key>.incoming` beside its destination.  A note beside it tells of which version
of the file how many bytes have safely reached the disk: these are believed after a restart, and
digested again.  In the end it becomes content as what came piece by piece does.  The note stays
until `discard`: a process killed after the last rename must find what it has done.
"""

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TypeVar

from twisted.internet.defer import Deferred

from p2pd import background
from p2pd.background import Threads
from p2pd.errors import Refusal, Unavailable
from p2pd.metainfo import create
from p2pd.metainfo.create import StreamDescription
from p2pd.metainfo.paths import PARTIAL_PREFIX
from p2pd.metainfo.torrent import Torrent
from p2pd.node.ports import Content, Store
from p2pd.store import disk
from p2pd.store.disk import Stamp, disk_errors
from p2pd.store.layout import Layout

_SYNC_AFTER = 64 * 1024 * 1024
_CHUNK = 1024 * 1024
_OPEN = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Note:
    """What is known of an incoming file; `stamp` is empty until it is about to be published."""

    validator: str = ""
    length: int | None = None
    safe: int = 0
    path: str = ""
    stamp: tuple[int, ...] = ()


class _Draft:
    """The files of an incoming file, and its digests as far as it is there; all of it blocks."""

    def __init__(self, name: str, path: Path, key: str, *, least_free: int) -> None:
        self._name = name
        self.path = path
        self._data = path.parent / f"{PARTIAL_PREFIX}{key}.incoming"
        self._note_path = self._data.with_suffix(".note")
        self._note = _Note()
        self._least_free = least_free
        self._file: int | None = None
        self._stream: StreamDescription | None = None
        self.there = 0
        self.digested = 0
        self.is_published = False

    @property
    def _fileno(self) -> int:
        if self._file is None:
            raise Unavailable(f"{self._data} is closed")
        return self._file

    def open(self, validator: str, length: int | None, *, keep: bool, replace: bool) -> None:
        """Open what is there of this version of the file, or nothing."""
        self.close()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        kept = self._read_note()
        if not (keep and validator and (kept.validator, kept.length) == (validator, length)):
            kept = _Note(validator, length)
        was_published = bool(kept.stamp) and kept.path == str(self.path)
        self.is_published = was_published and _stamp_of(self.path) == kept.stamp
        if self.is_published:
            self._file = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        else:
            disk.refuse_taken(self.path, replace=replace)
            self._file = os.open(self._data, _OPEN, 0o666)
            os.ftruncate(self._file, min(kept.safe, os.fstat(self._file).st_size))
        self._note = kept
        self.there = os.fstat(self._file).st_size
        self._require_room((length or 0) - self.there)
        self.digested = 0
        self._stream = None if length is None else create.describe_stream(self._name, length)

    def _require_room(self, missing: int) -> None:
        disk.require_room(
            self.path.parent, max(missing, 0), least_free=self._least_free, what=self._name
        )

    def digest(self) -> None:
        """Digest some more of what is there already."""
        data = os.pread(self._fileno, min(_CHUNK, self.there - self.digested), self.digested)
        if not data or self._stream is None:
            raise Unavailable(f"{self._data} became shorter")
        self._stream.feed(data)
        self.digested += len(data)

    def write(self, data: bytes) -> None:
        """Write and digest what comes next."""
        if self._stream is not None:
            self._stream.feed(data)
            self.digested += len(data)
        disk.write_all(self._fileno, memoryview(data), self.there)
        self.there += len(data)
        if self.there - self._note.safe >= _SYNC_AFTER:
            self._require_room(0)
            self.sync()

    def sync(self) -> None:
        """Note what has come, once it is safe on the disk."""
        if not self.is_published:
            os.fdatasync(self._fileno)
            self._write_note(replace(self._note, safe=self.there))

    def end(self) -> None:
        """Begin to digest a whole file whose length was not known before."""
        if self._stream is None:
            self._stream = create.describe_stream(self._name, self.there)

    def finish(self) -> Torrent:
        """Give the torrent that the whole file is."""
        assert self._stream is not None
        return self._stream.finish()

    def hand_over(self, partial: Path, path: Path) -> None:
        """Let content publish the file at `path`, that looks for it at `partial`."""
        self.sync()
        stamp = tuple(Stamp.of(os.fstat(self._fileno)))
        self._write_note(replace(self._note, path=str(path), stamp=stamp))
        self._data.replace(partial)

    def take_back(self, partial: Path) -> None:
        """Undo `hand_over`."""
        partial.replace(self._data)

    def leave(self) -> None:
        """Close the file after noting what there is of it."""
        if self._file is not None and self._data.exists():
            self.sync()
        self.close()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def delete(self) -> None:
        """Delete all but what is published."""
        self.close()
        disk.delete(self._data)
        disk.delete(self._note_path)

    def _read_note(self) -> _Note:
        try:
            fields = json.loads(self._note_path.read_bytes())
            return _Note(**{**fields, "stamp": tuple(fields["stamp"])})
        except FileNotFoundError:
            return _Note()
        except (ValueError, TypeError, KeyError):  # another version's, perhaps
            return _Note()

    def _write_note(self, note: _Note) -> None:
        self._note = note
        written = self._note_path.with_suffix(".new")
        with written.open("w", encoding="ascii") as file:
            json.dump(asdict(note), file)
            file.flush()
            os.fsync(file.fileno())
        written.replace(self._note_path)
        disk.sync(self._note_path.parent)


def _stamp_of(path: Path) -> tuple[int, ...]:
    status = disk.status_unless_absent(str(path))
    return tuple(Stamp.of(status)) if status else ()


class FileIncoming:
    """A file that is coming; implements `p2pd.node.ports.Incoming`."""

    def __init__(
        self,
        name: str,
        destination: str,
        key: str,
        *,
        replace: bool,
        store: Store,
        threads: Threads,
    ) -> None:
        self._destination = destination
        self._replace = replace
        self._store = store
        self._threads = threads
        empty = create.describe_stream(name, 0).finish()
        path = store.place(empty, destination)
        self._draft = _Draft(name, path, key, least_free=store.least_free)
        self._working: Deferred[None] | None = None

    async def _run(self, call: Callable[[], T]) -> T:
        """Do something in a thread, to its end even if nobody waits for that any more."""
        await self._idle()

        async def work() -> T:
            with disk_errors("write to"):
                return await self._threads(call)

        working = Deferred.fromCoroutine(work())
        result = background.joined(working)
        self._working = working.addBoth(lambda _: None)
        return await result

    async def _idle(self) -> None:
        if self._working is not None:
            await background.joined(self._working)

    async def begin(self, validator: str, length: int | None, *, keep: bool = True) -> int:
        """Make ready for the rest of a file; see `Incoming.begin`."""
        draft = self._draft
        await self._run(lambda: draft.open(validator, length, keep=keep, replace=self._replace))
        if length is not None:
            await self._digest()
        return draft.there

    async def _digest(self) -> None:
        while self._draft.digested < self._draft.there:
            await self._run(self._draft.digest)

    async def write(self, data: bytes) -> None:
        """Take what comes next; see `Incoming.write`."""
        await self._run(lambda: self._draft.write(data))

    async def publish(self) -> Content:
        """Make it content; see `Incoming.publish`."""
        draft = self._draft
        draft.end()
        await self._digest()
        torrent = await self._run(draft.finish)
        if draft.is_published:
            return await self._store.adopt(torrent, draft.path)
        content = self._store.begin(torrent, self._destination)
        partial = Layout(torrent, content.path).partial
        await self._run(lambda: draft.hand_over(partial, content.path))
        try:
            await content.publish(replace=self._replace)
        except Refusal:
            await self._run(lambda: draft.take_back(partial))
            raise
        return content

    async def close(self) -> None:
        """Keep what is there for another time; see `Incoming.close`."""
        await self._run(self._draft.leave)

    async def discard(self) -> None:
        """Delete what is there; see `Incoming.discard`."""
        await self._run(self._draft.delete)
