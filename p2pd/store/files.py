"""Content as files on disk, below a download directory or shared in place."""

import os
import time
from collections.abc import Callable
from pathlib import Path

from p2pd.background import Threads
from p2pd.errors import Conflict, Invalid, NotFound
from p2pd.metainfo import create
from p2pd.metainfo.paths import parse_relative
from p2pd.metainfo.torrent import Torrent
from p2pd.store.content import FileContent
from p2pd.store.disk import Stamp, disk_errors
from p2pd.store.open_files import OpenFiles


class FileStore:
    """Contents below a download directory, or in place; implements `p2pd.node.ports.Store`."""

    def __init__(
        self, download_dir: Path, threads: Threads, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._download_dir = download_dir.absolute()
        self._threads = threads
        self._clock = clock
        self._files = OpenFiles()

    def _content(self, torrent: Torrent, path: Path, stamps: bytes = b"") -> FileContent:
        return FileContent(
            torrent, path, self._threads, files=self._files, clock=self._clock, stamps=stamps
        )

    def begin(self, torrent: Torrent, destination: str) -> FileContent:
        """Content to be written; see `Store.begin`."""
        return self._content(torrent, self._destination(torrent, destination))

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
        return self._content(torrent, Path(path), stamps)

    async def adopt(self, torrent: Torrent, path: Path) -> FileContent:
        """Published content as it is now; see `Store.adopt`."""
        content = self._content(torrent, path)
        content.accept(await self._threads(content.look))
        return content

    async def describe(self, path: Path, name: str | None) -> tuple[Torrent, FileContent]:
        """Digest local files into a torrent; see `Store.describe`."""
        return await self._threads(self._describe, path, name)

    def _describe(self, path: Path, name: str | None) -> tuple[Torrent, FileContent]:
        path = Path(os.path.realpath(path))
        if not path.exists():
            raise NotFound(f"there is nothing to share at {path}")
        stamps: list[Stamp] = []
        with disk_errors("share"):
            began = _newest_change(path)
            torrent = create.describe(
                path, name=name, seen=lambda status: stamps.append(Stamp.of(status))
            )
            content = self._content(torrent, path)
            if content.look() != stamps or _newest_change(path) != began:
                raise Conflict(f"{path} changed while it was being digested: share it again")
        content.accept(stamps)
        return torrent, content

    def rest(self) -> None:
        """Close what is kept open; see `Store.rest`."""
        self._files.close()


def _newest_change(path: Path) -> int:
    """When a file last came to or left a directory at or below `path`, in ns."""
    return max((Path(here).stat().st_mtime_ns for here, _, _ in os.walk(path)), default=0)
