"""Content as files on disk: written beside the destination, checked, synced, renamed.

A partial torrent lies in `.p2pd-<infohash>.part` (a file, or a directory with the torrent's
tree) next to its destination, so that the rename at the end stays within one file system.
"""

import json
import os
import shutil
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from p2pd.background import Threads
from p2pd.errors import Conflict, Invalid, NotFound, Unavailable
from p2pd.metainfo import create
from p2pd.metainfo.files import FileEntry
from p2pd.metainfo.paths import parse_relative
from p2pd.metainfo.torrent import Torrent
from p2pd.node.ports import Buffer, Extent

# Past this many files one sync of the whole system is cheaper than one per file.
_SYNC_EACH = 64


class Stamp(NamedTuple):
    """What a file looked like when its content was verified."""

    size: int
    mtime_ns: int
    inode: int

    @classmethod
    def of(cls, status: os.stat_result) -> "Stamp":
        """The stamp of a file's status."""
        return cls(status.st_size, status.st_mtime_ns, status.st_ino)


@contextmanager
def _disk_errors(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        where = f" {error.filename}" if error.filename else ""
        raise Unavailable(f"cannot {what}{where}: {error.strerror or error}") from error


class FileContent:
    """One torrent's files; implements `p2pd.node.ports.Content`."""

    def __init__(
        self, torrent: Torrent, path: Path, threads: Threads, *, stamps: bytes = b""
    ) -> None:
        self.torrent = torrent
        self.path = path
        self._threads = threads
        self._partial = path.parent / f".p2pd-{torrent.infohash.hex()}.part"
        self._root = path if stamps else self._partial
        self._publishing = False
        self._payload = [file for file in torrent.files if not file.padding]
        listed = [Stamp(*stamp) for stamp in json.loads(stamps)] if stamps else []
        self._stamps = dict(zip((file.path for file in self._payload), listed, strict=False))

    # -- where things are

    def _place(self, root: Path, file: FileEntry) -> Path:
        return root if self.torrent.single_file else root.joinpath(*file.path)

    def _open(self, file: FileEntry) -> int:
        flags = os.O_RDONLY | os.O_CLOEXEC
        try:
            return os.open(self._place(self._root, file), flags)
        except FileNotFoundError:
            if not self._publishing:
                raise
            # Another thread has just renamed it.
            return os.open(self._place(self.path, file), flags)

    def _expect(self, file: FileEntry, status: os.stat_result) -> None:
        stamp = self._stamps.get(file.path)
        if stamp is not None and stamp != Stamp.of(status):
            raise Conflict(f"{self._place(self.path, file)} changed on disk after it was shared")

    # -- reading

    def locate(self, index: int, start: int, length: int) -> Generator[Extent, None, None]:
        """Open a range of a piece; see `Content.locate`."""
        wanted = []
        for span in self.torrent.spans(index):
            skip = max(start - span.start, 0)
            count = min(span.length, start + length - span.start) - skip
            if count > 0:
                wanted.append((span.file, span.offset + skip, count))
        with _disk_errors("read"):
            for file, _, _ in wanted:
                if file.path in self._stamps:
                    self._expect(file, self._status(file))
        return self._extents(wanted)

    def _status(self, file: FileEntry) -> os.stat_result:
        try:
            return self._place(self.path, file).stat()
        except FileNotFoundError:
            raise Conflict(f"{self._place(self.path, file)} is gone from disk") from None

    def _extents(self, wanted: list[tuple[FileEntry, int, int]]) -> Generator[Extent, None, None]:
        for file, offset, length in wanted:
            if file.padding:
                yield Extent(None, 0, length)
                continue
            with _disk_errors("read"):
                fileno = self._open(file)
            try:
                self._expect(file, os.fstat(fileno))
                yield Extent(fileno, offset, length)
            finally:
                os.close(fileno)

    async def read(self, index: int, start: int = 0, length: int | None = None) -> bytes:
        """Read a range of a piece; see `Content.read`."""
        if length is None:
            length = self.torrent.piece_size(index) - start
        return await self._threads(self._read, index, start, length)

    def _read(self, index: int, start: int, length: int) -> bytes:
        parts = []
        with _disk_errors("read"):
            for extent in self.locate(index, start, length):
                if extent.fileno is None:
                    parts.append(bytes(extent.length))
                    continue
                data = os.pread(extent.fileno, extent.length, extent.offset)
                # Short: a hole at the end of a partial file, never equal to what was verified.
                parts.append(data.ljust(extent.length, b"\0"))
        return b"".join(parts)

    async def check(self, indexes: Iterable[int], found: Callable[[int], object]) -> None:
        """Digest pieces on disk; see `Content.check`."""
        for index in indexes:
            if await self._threads(self._matches, index):
                found(index)

    def _matches(self, index: int) -> bool:
        try:
            return self.torrent.verify(index, self._read(index, 0, self.torrent.piece_size(index)))
        except (Conflict, Unavailable):
            return False

    async def inspect(self) -> None:
        """Look whether published files are as they were; see `Content.inspect`."""
        await self._threads(self._inspect)

    def _inspect(self) -> None:
        with _disk_errors("read"):
            for file in self._payload:
                self._expect(file, self._status(file))

    # -- writing

    async def occupied(self) -> bool:
        """Whether something is at the destination; see `Content.occupied`."""
        return await self._threads(os.path.lexists, self.path)

    async def allocate(self) -> bool:
        """Make room beside the destination; see `Content.allocate`."""
        return await self._threads(self._allocate)

    def _allocate(self) -> bool:
        with _disk_errors("write to"):
            known = os.path.lexists(self._root)
            self.path.parent.mkdir(parents=True, exist_ok=True)
            status = os.statvfs(self.path.parent)
            free = status.f_bavail * status.f_frsize
            missing = self.torrent.size - _occupied(self._root)
            if missing > free:
                raise Unavailable(
                    f"{self.path.parent} has {free} bytes free, {self.torrent.name} needs "
                    f"{missing}: make room or choose another destination"
                )
            made: set[Path] = set()
            for file in self._payload:
                place = self._place(self._root, file)
                if place.parent not in made:
                    place.parent.mkdir(parents=True, exist_ok=True)
                    made.add(place.parent)
                fileno = os.open(
                    place, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666
                )
                try:
                    os.ftruncate(fileno, file.length)
                finally:
                    os.close(fileno)
            return known

    async def write(self, indexes: Iterable[int], data: Buffer) -> bool:
        """Verify a piece and write it; see `Content.write`."""
        return await self._threads(self._write, tuple(indexes), data)

    def _write(self, indexes: tuple[int, ...], data: Buffer) -> bool:
        if not self.torrent.verify(indexes[0], data):
            return False
        view = memoryview(data)
        with _disk_errors("write"):
            for index in indexes:
                for span in self.torrent.spans(index):
                    if not span.file.padding:
                        part = view[span.start : span.start + span.length]
                        self._write_span(span.file, span.offset, part)
        return True

    def _write_span(self, file: FileEntry, offset: int, part: memoryview) -> None:
        # In the partial file or not at all: what is at the destination is not ours to change.
        flags = os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        fileno = os.open(self._place(self._partial, file), flags)
        try:
            while part:
                written = os.pwrite(fileno, part, offset)
                part, offset = part[written:], offset + written
        finally:
            os.close(fileno)

    async def sync(self) -> None:
        """Make what was written survive a power loss; see `Content.sync`."""
        await self._threads(self._sync)

    def _sync(self) -> None:
        with _disk_errors("sync"):
            if len(self._payload) > _SYNC_EACH:
                os.sync()
                return
            for file in self._payload:
                fileno = self._open(file)
                try:
                    os.fsync(fileno)
                finally:
                    os.close(fileno)

    # -- publishing

    async def publish(self, *, replace: bool = False) -> None:
        """Give verified content its final name; see `Content.publish`."""
        self._publishing = True
        try:
            self._stamps = await self._threads(self._publish, replace)
            self._root = self.path
        finally:
            self._publishing = False

    def _publish(self, replace: bool) -> dict[tuple[str, ...], Stamp]:
        with _disk_errors("publish"):
            for file in self._payload:
                if file.executable:
                    place = self._place(self._partial, file)
                    place.chmod(place.stat().st_mode | 0o111)
            self._sync()
            _rename(self._partial, self.path, replace=replace)
            _sync_directory(self.path.parent)
            return self._look()

    def _look(self) -> dict[tuple[str, ...], Stamp]:
        return {file.path: Stamp.of(self._status(file)) for file in self._payload}

    def stamps(self) -> bytes:
        """What published files look like; see `Content.stamps`."""
        return json.dumps(list(self._stamps.values())).encode() if self._stamps else b""

    async def discard(self) -> None:
        """Delete what is partial; see `Content.discard`."""
        await self._threads(_delete, self._partial)
        await self._threads(_delete, _aside(self._partial))

    def look(self) -> None:
        """Take the stamps of published files as they are now (blocking)."""
        with _disk_errors("read"):
            self._stamps = self._look()
        self._root = self.path


class FileStore:
    """Contents below a download directory, or in place; implements `p2pd.node.ports.Store`."""

    def __init__(self, download_dir: Path, threads: Threads) -> None:
        self._download_dir = download_dir.absolute()
        self._threads = threads

    def begin(self, torrent: Torrent, destination: str) -> FileContent:
        """Content to be written; see `Store.begin`."""
        return FileContent(torrent, self._destination(torrent, destination), self._threads)

    def _destination(self, torrent: Torrent, destination: str) -> Path:
        root = self._download_dir
        if not destination:
            return root / torrent.name
        text = destination.rstrip("/")
        if destination.startswith("/"):
            if not Path(text).is_relative_to(root):
                raise Invalid(
                    f"destination {destination} is outside the download directory {root}: "
                    "choose a path inside it, or start the node with another --download-dir"
                )
            text = str(Path(text).relative_to(root))
        path = root if text in (".", "") else root.joinpath(*parse_relative(text))
        if destination.endswith("/") or (path.is_dir() and torrent.single_file) or path == root:
            path /= torrent.name
        if not Path(os.path.realpath(path.parent)).is_relative_to(os.path.realpath(root)):
            raise Invalid(f"destination {destination} leaves the download directory by a link")
        return path

    def resume(self, torrent: Torrent, path: str, stamps: bytes) -> FileContent:
        """Content of an earlier run; see `Store.resume`."""
        return FileContent(torrent, Path(path), self._threads, stamps=stamps)

    async def adopt(self, torrent: Torrent, path: Path) -> FileContent:
        """Published content as it is now; see `Store.adopt`."""
        content = FileContent(torrent, path, self._threads)
        await self._threads(content.look)
        return content

    async def describe(self, path: Path, name: str | None) -> tuple[Torrent, FileContent]:
        """Digest local files into a torrent; see `Store.describe`."""
        return await self._threads(self._describe, path, name)

    def _describe(self, path: Path, name: str | None) -> tuple[Torrent, FileContent]:
        path = Path(os.path.realpath(path))
        if not path.exists():
            raise NotFound(f"there is nothing to share at {path}")
        with _disk_errors("share"):
            began = _newest_change(path)
            torrent = create.describe(path, name=name)
        content = FileContent(torrent, path, self._threads)
        content.look()
        if _newest_change(path) != began:
            raise Conflict(f"{path} changed while it was being digested: share it again")
        return torrent, content


def _newest_change(path: Path) -> int:
    """The latest modification time below `path`, in ns."""
    newest = path.stat().st_mtime_ns
    for directory, _, names in os.walk(path):
        for name in names:
            newest = max(newest, Path(directory, name).lstat().st_mtime_ns)
    return newest


def _occupied(root: Path) -> int:
    """Bytes on disk at or below `root`."""
    if not root.is_dir():
        return root.stat().st_blocks * 512 if root.exists() else 0
    return sum(
        Path(directory, name).lstat().st_blocks * 512
        for directory, _, names in os.walk(root)
        for name in names
    )


def _rename(source: Path, target: Path, *, replace: bool) -> None:
    aside = _aside(source)
    if not os.path.lexists(target):
        source.rename(target)
        _delete(aside)  # of a replacement that was cut short
        return
    if not replace:
        raise Conflict(f"{target} already exists: remove it, or ask to replace it")
    if target.is_dir() or source.is_dir():
        _delete(aside)
        target.rename(aside)
        source.rename(target)
        _delete(aside)
    else:
        source.replace(target)


def _aside(partial: Path) -> Path:
    """Where a directory is kept while the partial one takes its place."""
    return partial.with_name(f"{partial.name}.old")


def _sync_directory(path: Path) -> None:
    fileno = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fileno)
    finally:
        os.close(fileno)


def _delete(path: Path) -> None:
    with _disk_errors("delete"):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
