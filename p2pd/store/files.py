"""Content as files on disk, below a download directory or shared in place."""

import os
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path

from p2pd.background import Threads
from p2pd.errors import Conflict, NotFound
from p2pd.metainfo import create
from p2pd.metainfo.torrent import Torrent
from p2pd.node.ports import DiskSpace
from p2pd.store.content import Common, FileContent
from p2pd.store.disk import Stamp, disk_errors
from p2pd.store.incoming import FileIncoming
from p2pd.store.layout import Layout
from p2pd.store.roots import Roots


class FileStore:
    """Contents below a download directory and other roots; implements `p2pd.node.ports.Store`."""

    def __init__(
        self,
        download_dir: Path,
        threads: Threads,
        roots: Sequence[Path] = (),
        *,
        least_free: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        absolute = [root.absolute() for root in (download_dir, *roots)]
        self._roots = Roots(*absolute, resolve=_resolved)
        self._threads = threads
        self._common = Common(threads, clock, least_free)

    @property
    def least_free(self) -> int:
        """How many bytes downloads leave free; see `Store`."""
        return self._common.least_free

    @least_free.setter
    def least_free(self, least_free: int) -> None:
        self._common.least_free = least_free

    @property
    def root(self) -> Path:
        """The download directory; see `Store`."""
        return self._roots.first

    def _content(self, layout: Layout) -> FileContent:
        return FileContent(layout, self._common)

    # -- what is allowed

    def place(self, torrent: Torrent, destination: str) -> Path:
        """Where content goes; see `Store.place`."""
        return self._roots.place(torrent, destination, Path.is_dir)

    async def allowed(self, path: str) -> Path:
        """What lies at an absolute path; see `Store.allowed`."""
        return await self._threads(self._allowed, path)

    def _allowed(self, path: str) -> Path:
        real = self._roots.allowed(path)
        if not real.exists():
            raise NotFound(f"there is nothing at {path}")
        return real

    async def space(self, path: str = "") -> DiskSpace:
        """Room on a disk; see `Store.space`."""
        return await self._threads(self._space, path)

    def _space(self, path: str) -> DiskSpace:
        place = self._allowed(path) if path else self.root
        with disk_errors("look at"):
            there = next(one for one in (place, *place.parents) if one.exists())
            status = os.statvfs(there)
        size = status.f_frsize
        return DiskSpace(status.f_blocks * size, status.f_bfree * size, status.f_bavail * size)

    # -- contents

    def begin(self, torrent: Torrent, destination: str) -> FileContent:
        """Content to be written; see `Store.begin`."""
        return self._content(Layout(torrent, self.place(torrent, destination)))

    def resume(self, torrent: Torrent, path: str, stamps: bytes) -> FileContent:
        """Content of an earlier run; see `Store.resume`."""
        layout = Layout(torrent, Path(path))
        return self._content(layout.with_stamps(layout.read(stamps)))

    async def adopt(
        self, torrent: Torrent, path: Path, wanted: Collection[int] | None = None
    ) -> FileContent:
        """Published content as it is now; see `Store.adopt`."""
        with disk_errors("read"):
            return self._content(await self._threads(Layout(torrent, path).as_it_is, wanted))

    async def describe(
        self, path: Path, name: str | None, *, only: Collection[str] | None = None
    ) -> tuple[Torrent, FileContent]:
        """Digest local files into a torrent; see `Store.describe`."""
        return await self._threads(self._describe, path, name, only)

    def _describe(
        self, path: Path, name: str | None, only: Collection[str] | None
    ) -> tuple[Torrent, FileContent]:
        path = _resolved(path)
        if not path.exists():
            raise NotFound(f"there is nothing to share at {path}")
        stamps: list[Stamp] = []
        with disk_errors("share"):
            places = [path] if only is None else [path / one for one in sorted(only)]
            began = _newest_change(places)
            torrent = create.describe(
                path, name=name, only=only, seen=lambda status: stamps.append(Stamp.of(status))
            )
            layout = Layout(torrent, path).as_it_is()
            if list(layout.stamps.values()) != stamps or _newest_change(places) != began:
                raise Conflict(f"{path} changed while it was being digested: share it again")
        return torrent, self._content(layout)

    def receive(
        self, name: str, destination: str, key: str, *, replace: bool = False
    ) -> FileIncoming:
        """A file that comes from elsewhere; see `Store.receive`."""
        return FileIncoming(
            name, destination, key, replace=replace, store=self, threads=self._threads
        )

    def rest(self) -> None:
        """Close what is kept open; see `Store.rest`."""
        self._common.files.close()


def _resolved(path: Path) -> Path:
    # Unlike Path.resolve it takes a loop of links for the end of the path.
    return Path(os.path.realpath(path))


def _newest_change(places: Iterable[Path]) -> int:
    """When a file last came to or left a directory at or below one of the places, in ns."""
    below = (Path(here) for place in places for here, _, _ in os.walk(place))
    return max((here.stat().st_mtime_ns for here in below), default=0)
