"""One torrent's files on disk: written beside the destination, checked, synced, renamed.

A partial torrent lies in `.p2pd-<infohash>.part` (a file, or a directory with the torrent's
tree) next to its destination, so that the rename at the end stays within one file system.  A file
of a tree is made by the first write to it, at its full length; what is missing or has another
length when all is to be published was not ours to lose, and nothing is published then.

Files longer than a piece are kept open from one piece to the next.  An open file tells by itself
if it was written to, and by its time of change if it was moved or deleted; its path is looked at
again then, and once a second, for what happens to a directory above it shows nowhere else.
"""

import json
import os
import stat
from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from functools import partial
from itertools import islice
from pathlib import Path

from p2pd.background import Threads
from p2pd.errors import Conflict, Unavailable
from p2pd.metainfo.files import FileEntry, Span
from p2pd.metainfo.torrent import Torrent
from p2pd.node.ports import Buffer, Extent
from p2pd.store import disk
from p2pd.store.disk import Stamp, disk_errors
from p2pd.store.open_files import OpenFile, OpenFiles
from p2pd.store.runs import is_small, runs_of

_LOOK_AGAIN = 1.0
# What one call in a thread digests, at least.
_CHECK_AT_ONCE = 4 * 1024 * 1024
_READ = os.O_RDONLY | os.O_CLOEXEC
# In the partial file or not at all: what is at the destination is not ours to change.
_WRITE = os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC


class FileContent:
    """One torrent's files; implements `p2pd.node.ports.Content`."""

    def __init__(
        self,
        torrent: Torrent,
        path: Path,
        threads: Threads,
        *,
        files: OpenFiles,
        clock: Callable[[], float],
        stamps: bytes = b"",
    ) -> None:
        self.torrent = torrent
        self.path = path
        self._threads = threads
        self._files = files
        self._clock = clock
        self._partial = path.parent / f".p2pd-{torrent.infohash.hex()}.part"
        self._payload = [file for file in torrent.files if not file.padding]
        self._made: set[tuple[str, ...]] = set()
        self._publishing = False
        self._root = self._partial
        self._stamps: dict[tuple[str, ...], Stamp] = {}
        self._stamped = stamps
        if stamps:
            self.accept([Stamp(*stamp) for stamp in json.loads(stamps)])

    # -- where things are

    def _place(self, root: Path, file: FileEntry) -> str:
        return str(root) if self.torrent.single_file else "/".join((str(root), *file.path))

    def _use(self, file: FileEntry, opening: Callable[[FileEntry], int]) -> OpenFile:
        if file.length > self.torrent.piece_length:
            return self._files.take(self, (opening, file.path), partial(opening, file))
        return OpenFile(opening(file))

    def accept(self, stamps: Iterable[Stamp]) -> None:
        """Take what lies at the path for published content whose files looked like this."""
        self._root = self.path
        self._stamps = dict(zip((file.path for file in self._payload), stamps, strict=False))

    # -- whether files are as they were

    def _expect(self, file: FileEntry, status: os.stat_result) -> None:
        stamp = self._stamps.get(file.path)
        if stamp is not None and stamp != (status.st_size, status.st_mtime_ns, status.st_ino):
            raise Conflict(f"{self._place(self.path, file)} changed on disk after it was shared")

    def _look(self, file: FileEntry) -> Stamp:
        status = disk.status_of(self._place(self.path, file))
        self._expect(file, status)
        return Stamp.of(status)

    def _look_at(self, file: FileEntry, opened: OpenFile) -> None:
        status = os.fstat(opened.fileno)
        self._expect(file, status)
        now, changed = self._clock(), status.st_ctime_ns
        if changed == opened.changed and now < opened.looked + _LOOK_AGAIN:
            return
        if opened.changed is not None:  # otherwise its path was used just now, to open it
            self._look(file)
        opened.changed, opened.looked = changed, now

    async def inspect(self) -> None:
        """Look whether published files are as they were; see `Content.inspect`."""
        await self._threads(self.look)

    def look(self) -> list[Stamp]:
        """The stamps of published files as they are now (blocking); `Conflict` if they changed."""
        with disk_errors("read"):
            return [self._look(file) for file in self._payload]

    # -- reading

    def locate(self, index: int, start: int, length: int) -> Generator[Extent, None, None]:
        """Open a range of a piece; see `Content.locate`."""
        runs = list(runs_of(self.torrent.spans(index), start, start + length))
        extents = self._extents(runs)
        first = list(islice(extents, 1))
        if self._stamps:
            self._look_before(span.file for run in runs[1:] for span in run)
        return _all_of(first, extents)

    def _look_before(self, files: Iterable[FileEntry]) -> None:
        with disk_errors("read"):
            for file in files:
                if file.length > self.torrent.piece_length:
                    with self._use(file, self._open) as opened:
                        self._look_at(file, opened)
                elif not file.padding:
                    self._look(file)

    def _extents(self, runs: list[list[Span]]) -> Generator[Extent, None, None]:
        for run in runs:
            if is_small(run[0]):
                yield Extent(None, 0, sum(span.length for span in run), self._gather(run))
                continue
            [span] = run
            with self._use(span.file, self._open) as opened:
                if self._stamps:
                    self._look_at(span.file, opened)
                yield Extent(opened.fileno, span.offset, span.length)

    def _gather(self, run: list[Span]) -> bytearray:
        """Read small files into memory, to be sent for the price of one."""
        data = bytearray(sum(span.length for span in run))
        view = memoryview(data)
        at = 0
        for span in run:
            end = at + span.length
            if not span.file.padding:
                self._read_into(view[at:end], span)
            at = end
        return data

    def _read_into(self, room: memoryview, span: Span) -> None:
        fileno = self._open(span.file)
        try:
            count = os.preadv(fileno, [room], span.offset)
            if self._stamps:
                self._expect(span.file, os.fstat(fileno))
        except OSError as error:
            raise disk.refusal("read", error) from error
        finally:
            os.close(fileno)
        if count < span.length:
            raise Unavailable(f"{self._place(self._root, span.file)} became shorter")

    def _open(self, file: FileEntry) -> int:
        place = self._place(self._root, file)
        try:
            return os.open(place, _READ)
        except OSError as error:
            gone = isinstance(error, FileNotFoundError)
            # Another thread may just have renamed it.
            if gone and (self._publishing or place != self._place(self._root, file)):
                with disk_errors("read"):
                    return os.open(self._place(self.path, file), _READ)
            if gone and self._stamps:
                raise Conflict(f"{place} is gone from disk") from None
            raise disk.refusal("read", error) from error

    async def read(self, index: int, start: int = 0, length: int | None = None) -> bytes:
        """Read a range of a piece; see `Content.read`."""
        if length is None:
            length = self.torrent.piece_size(index) - start
        return await self._threads(self._read, index, start, length)

    def _read(self, index: int, start: int, length: int) -> bytes:
        parts: list[Buffer] = []
        with disk_errors("read"):
            for extent in self.locate(index, start, length):
                if extent.fileno is None:
                    parts.append(extent.memory)
                    continue
                data = os.pread(extent.fileno, extent.length, extent.offset)
                # Short: a hole at the end of a partial file, never equal to what was verified.
                parts.append(data.ljust(extent.length, b"\0"))
        return b"".join(parts)

    async def check(self, indexes: Iterable[int], found: Callable[[int], object]) -> None:
        """Digest pieces on disk; see `Content.check`."""
        unchecked = iter(indexes)
        several = max(_CHECK_AT_ONCE // self.torrent.piece_length, 1)
        while batch := list(islice(unchecked, several)):
            for index in await self._threads(self._matching, batch):
                found(index)

    def _matching(self, indexes: list[int]) -> list[int]:
        return [index for index in indexes if self._matches(index)]

    def _matches(self, index: int) -> bool:
        try:
            return self.torrent.verify(index, self._read(index, 0, self.torrent.piece_size(index)))
        except (Conflict, Unavailable):
            return False

    # -- writing

    async def occupied(self) -> bool:
        """Whether something is at the destination; see `Content.occupied`."""
        return await self._threads(os.path.lexists, self.path)

    async def allocate(self) -> bool:
        """Make room beside the destination; see `Content.allocate`."""
        return await self._threads(self._allocate)

    def _allocate(self) -> bool:
        with disk_errors("write to"):
            known = os.path.lexists(self._partial)
            self.path.parent.mkdir(parents=True, exist_ok=True)
            there = self._found_partial() if known else []
            self._require_room(sum(status.st_blocks for _, status in there) * 512)
            for file, status in there:
                if status.st_size != file.length:
                    self._make(file)
                self._made.add(file.path)
            if self.torrent.single_file:
                self._make(self._payload[0])
            for directory in self._directories():
                os.makedirs(directory, exist_ok=True)  # noqa: PTH103 - as in disk.py
            return known

    def _found_partial(self) -> list[tuple[FileEntry, os.stat_result]]:
        found = []
        for file in self._payload:
            status = disk.status_unless_absent(self._place(self._partial, file))
            if status is not None:
                found.append((file, status))
        return found

    def _require_room(self, occupied: int) -> None:
        status = os.statvfs(self.path.parent)
        free = status.f_bavail * status.f_frsize
        missing = self.torrent.size - occupied
        if missing > free:
            raise Unavailable(
                f"{self.path.parent} has {free} bytes free, {self.torrent.name} needs "
                f"{missing}: make room or choose another destination"
            )

    def _directories(self) -> list[str]:
        if self.torrent.single_file:
            return []
        inside = {file.path[:-1] for file in self._payload} | {()}
        return ["/".join((str(self._partial), *names)) for names in inside]

    def _make(self, file: FileEntry) -> None:
        """Make a partial file, or give one that is there its length."""
        fileno = os.open(self._place(self._partial, file), _WRITE | os.O_CREAT, 0o666)
        try:
            os.ftruncate(fileno, file.length)
        finally:
            os.close(fileno)
        self._made.add(file.path)

    async def write(self, indexes: Iterable[int], data: Buffer) -> bool:
        """Verify a piece and write it; see `Content.write`."""
        return await self._threads(self._write, tuple(indexes), data)

    def _write(self, indexes: tuple[int, ...], data: Buffer) -> bool:
        if not self.torrent.verify(indexes[0], data):
            return False
        view = memoryview(data)
        zeros = disk.all_zeros(view)
        with disk_errors("write"):
            for index in indexes:
                for span in self.torrent.spans(index):
                    if not span.file.padding:
                        part = view[span.start : span.start + span.length]
                        self._write_span(span, part, zeros=zeros)
        return True

    def _write_span(self, span: Span, part: memoryview, *, zeros: bool) -> None:
        partly = span.length < span.file.length
        if partly and span.file.path not in self._made:
            self._make(span.file)
        with self._use(span.file, self._open_partial) as opened:
            # An image of a disk is mostly zeros: its copies take as little room as it does.
            if not (zeros and partly and disk.clear(opened.fileno, span.offset, span.length)):
                disk.write_all(opened.fileno, part, span.offset)

    def _open_partial(self, file: FileEntry) -> int:
        # A file that was there and is not any more is missed: nothing would fill its holes.
        create = 0 if file.path in self._made else os.O_CREAT
        fileno = os.open(self._place(self._partial, file), _WRITE | create, 0o666)
        self._made.add(file.path)
        return fileno

    async def sync(self) -> None:
        """Make what was written survive a power loss; see `Content.sync`."""
        await self._threads(self._sync)

    def _sync(self) -> None:
        with disk_errors("sync"):
            files = [self._place(self._partial, file) for file in self._payload]
            disk.sync_all(self._partial, files, self._directories())

    # -- publishing

    async def publish(self, *, replace: bool = False) -> None:
        """Give verified content its final name; see `Content.publish`."""
        self._publishing = True
        try:
            self.accept(await self._threads(self._publish, replace))
        finally:
            self._publishing = False
            self._files.close(self)

    def _publish(self, replace: bool) -> list[Stamp]:
        self._files.close(self)
        with disk_errors("publish"):
            for file in self._payload:
                if not file.length:
                    self._make(file)
            stamps = [self._finished(file) for file in self._payload]
            self._sync()
            disk.rename(self._partial, self.path, replace=replace)
            disk.sync(self.path.parent)
            return stamps

    def _finished(self, file: FileEntry) -> Stamp:
        place = self._place(self._partial, file)
        status = disk.status_unless_absent(place)
        if status is None or status.st_size != file.length or not stat.S_ISREG(status.st_mode):
            what = "disappeared" if status is None else "changed"
            raise Unavailable(
                f"{place} {what} while {self.torrent.name} was being downloaded: "
                "download it again, and let no other program change it meanwhile"
            )
        if file.executable:
            Path(place).chmod(stat.S_IMODE(status.st_mode) | 0o111)
        return Stamp.of(status)

    def stamps(self) -> bytes:
        """What published files look like; see `Content.stamps`."""
        if self._stamps and not self._stamped:
            self._stamped = json.dumps(list(self._stamps.values())).encode()
        return self._stamped

    async def discard(self) -> None:
        """Delete what is partial; see `Content.discard`."""
        self._files.close(self)
        await self._threads(disk.delete, self._partial)
        await self._threads(disk.delete, disk.aside(self._partial))


def _all_of(
    first: Iterable[Extent], rest: Generator[Extent, None, None]
) -> Generator[Extent, None, None]:
    with closing(rest):
        yield from first
        yield from rest
