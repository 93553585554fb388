"""One torrent's files on disk: written beside the destination, checked, synced, renamed.

A partial torrent lies in `.p2pd-<infohash>.part` (a file, or a directory with the torrent's
tree) next to its destination, so that the rename at the end stays within one file system.
"""

from collections.abc import Callable, Collection, Generator, Iterable
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from p2pd.background import Threads
from p2pd.metainfo.torrent import Torrent
from p2pd.node.ports import Buffer, Extent
from p2pd.store import moving, publishing, removal, writing
from p2pd.store.disk import disk_errors
from p2pd.store.layout import Layout, Whereabouts
from p2pd.store.open_files import OpenFiles
from p2pd.store.reading import Reader
from p2pd.store.writing import Writer

# What one call in a thread digests, at least.
_CHECK_AT_ONCE = 4 * 1024 * 1024


@dataclass
class Common:
    """What all contents of a store share; `least_free` bytes of a disk are left free."""

    threads: Threads
    clock: Callable[[], float]
    least_free: int = 0
    files: OpenFiles = field(default_factory=OpenFiles)


class FileContent:
    """One torrent's files; implements `p2pd.node.ports.Content`."""

    def __init__(self, layout: Layout, common: Common) -> None:
        self.torrent: Torrent = layout.torrent
        self._where = Whereabouts(layout)
        self._common = common
        self._threads = common.threads
        self._reader = Reader(self._where, common.files, common.clock)
        self._writer = Writer(self._where, common.files)
        self._stamped: tuple[Layout, bytes] | None = None

    @property
    def path(self) -> Path:
        """Where the files are, or will be; see `Content.path`."""
        return self._where.now.path

    def covers(self, wanted: Collection[int] | None = None) -> bool:
        """Whether files have their final names; see `Content.covers`."""
        return self._where.now.covers(wanted)

    def stamps(self) -> bytes:
        """What published files look like; see `Content.stamps`."""
        layout = self._where.now
        if self._stamped is None or self._stamped[0] is not layout:
            self._stamped = layout, layout.to_bytes()
        return self._stamped[1]

    async def inspect(self) -> None:
        """Look whether published files are as they were; see `Content.inspect`."""
        await self._threads(self._inspect)

    def _inspect(self) -> None:
        with disk_errors("read"):
            self._where.find(Layout.look_at_all)

    async def occupied(self) -> bool:
        """Whether something is in the way; see `Content.occupied`."""
        return await self._threads(self._occupied)

    def _occupied(self) -> bool:
        layout = self._recovered()
        return publishing.occupied(layout)

    def _recovered(self) -> Layout:
        """Find out what an earlier process published without telling; only it can have."""
        with disk_errors("read"):
            layout = publishing.recovered(self._where.now)
        if layout is not self._where.now:
            self._where.settle(layout)
        return layout

    # -- reading

    def locate(self, index: int, start: int, length: int) -> Generator[Extent, None, None]:
        """Open a range of a piece; see `Content.locate`."""
        return self._reader.locate(index, start, length)

    async def read(self, index: int, start: int = 0, length: int | None = None) -> bytes:
        """Read a range of a piece; see `Content.read`."""
        if length is None:
            length = self.torrent.piece_size(index) - start
        return await self._threads(self._reader.read, index, start, length)

    async def check(self, indexes: Iterable[int], found: Callable[[int], object]) -> None:
        """Digest pieces on disk; see `Content.check`."""
        unchecked = iter(indexes)
        several = max(_CHECK_AT_ONCE // self.torrent.piece_length, 1)
        while batch := list(islice(unchecked, several)):
            for index in await self._threads(self._reader.matching, batch):
                found(index)

    # -- writing

    async def allocate(self, wanted: Collection[int] | None = None) -> bool:
        """Make room beside the destination; see `Content.allocate`."""
        return await self._threads(self._allocate, wanted)

    def _allocate(self, wanted: Collection[int] | None) -> bool:
        self._recovered()
        return self._writer.allocate(wanted, self._common.least_free)

    async def write(self, indexes: Iterable[int], data: Buffer) -> bool:
        """Verify a piece and write it; see `Content.write`."""
        return await self._threads(self._write, tuple(indexes), data)

    def _write(self, indexes: tuple[int, ...], data: Buffer) -> bool:
        if not self.torrent.verify(indexes[0], data):
            return False
        self._writer.write(indexes, data)
        return True

    async def sync(self) -> None:
        """Make what was written survive a power loss; see `Content.sync`."""
        await self._threads(self._sync)

    def _sync(self) -> None:
        with disk_errors("sync"):
            layout = self._where.now
            writing.sync(layout, layout.payload)

    # -- names

    async def publish(
        self, *, replace: bool = False, wanted: Collection[int] | None = None
    ) -> None:
        """Give verified files their final names; see `Content.publish`."""
        await self._threads(self._publish, replace, wanted)

    def _publish(self, replace: bool, wanted: Collection[int] | None) -> None:
        before = self._recovered()
        self._common.files.close(before)
        with disk_errors("publish"):
            after = publishing.finished(before, wanted)
            self._where.then = after
            try:
                publishing.publish(before, after, replace=replace)
                self._where.settle(after)
            finally:
                self._where.then = None
        self._common.files.close(before)

    async def move(self, path: Path, *, replace: bool = False) -> None:
        """Take all there is to another path; see `Content.move`."""
        await self._threads(self._move, path, replace)

    def _move(self, path: Path, replace: bool) -> None:
        before = self._recovered()
        if path == before.path:
            return
        self._common.files.close(before)
        with disk_errors("move"):
            moving.move(self._where, path, replace=replace, least_free=self._common.least_free)
        self._common.files.close(before)

    async def delete(self) -> None:
        """Delete published and partial files; see `Content.delete`."""
        await self._threads(self._delete)

    def _delete(self) -> None:
        layout = self._recovered()
        self._where.settle(layout.with_stamps({}))
        self._common.files.close(layout)
        with disk_errors("delete"):
            removal.delete_published(layout, changed=True)
            publishing.discard(layout)

    async def discard(self) -> None:
        """Delete what is partial; see `Content.discard`."""
        await self._threads(self._discard)

    def _discard(self) -> None:
        layout = self._where.now
        self._common.files.close(layout)
        with disk_errors("delete"):
            publishing.discard(layout)
