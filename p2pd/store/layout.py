"""Where one torrent's files lie, and what those that are published looked like when they were."""

import json
import os
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TypeAlias, TypeVar

from p2pd.errors import Conflict, Refusal
from p2pd.metainfo.files import FileEntry
from p2pd.metainfo.paths import PARTIAL_PREFIX
from p2pd.metainfo.torrent import Torrent
from p2pd.store import disk
from p2pd.store.disk import Stamp

Stamps: TypeAlias = Mapping[tuple[str, ...], Stamp]
T = TypeVar("T")


class Layout:
    """The places of a torrent's files: those with a stamp are published, the others partial.

    `path` is that of the published file or directory, `partial` that of the unfinished one
    beside it.
    """

    def __init__(self, torrent: Torrent, path: Path, stamps: Stamps | None = None) -> None:
        self.torrent = torrent
        self.path = path
        self.partial = path.parent / f"{PARTIAL_PREFIX}{torrent.infohash.hex()}.part"
        self.stamps: Stamps = stamps or {}

    @cached_property
    def payload(self) -> list[FileEntry]:
        """The files that are written to disk."""
        return [file for file in self.torrent.files if not file.padding]

    def covers(self, wanted: Collection[int] | None = None) -> bool:
        """Whether these files, or all, are published."""
        if wanted is None:
            return len(self.stamps) == len(self.payload)
        return all(self.payload[index].path in self.stamps for index in wanted)

    @property
    def journal(self) -> Path:
        """Where it is noted, before some of the files get their names, which ones will."""
        return self.partial.with_name(f"{self.partial.name}.published")

    # -- places

    def at(self, root: Path, file: FileEntry) -> str:
        """Where a file lies in a tree."""
        return str(root) if self.torrent.single_file else "/".join((str(root), *file.path))

    def place(self, file: FileEntry) -> str:
        """Where a file lies."""
        return self.at(self.path if file.path in self.stamps else self.partial, file)

    def directories(self, root: Path, files: Iterable[FileEntry]) -> list[str]:
        """All directories in a tree that lead to the files, the upper ones first."""
        if self.torrent.single_file:
            return []
        holding = {file.path[:-1] for file in files} | {()}
        inside = {names[:depth] for names in holding for depth in range(len(names) + 1)}
        return ["/".join((str(root), *names)) for names in sorted(inside, key=len)]

    # -- stamps

    def with_stamps(self, stamps: Stamps) -> "Layout":
        """The same with other files published."""
        return Layout(self.torrent, self.path, stamps)

    def to_bytes(self) -> bytes:
        """Write the stamps, null for a file without; nothing if there are none."""
        if not self.stamps:
            return b""
        return json.dumps([self.stamps.get(file.path) for file in self.payload]).encode()

    def read(self, written: bytes) -> Stamps:
        """Read stamps that `to_bytes` wrote."""
        stamps = json.loads(written) if written else []
        files = zip(self.payload, stamps, strict=False)
        return {file.path: Stamp(*stamp) for file, stamp in files if stamp is not None}

    def expect(self, file: FileEntry, status: os.stat_result) -> None:
        """Raise `Conflict` if a published file does not look as it did."""
        stamp = self.stamps.get(file.path)
        if stamp is not None and stamp != (status.st_size, status.st_mtime_ns, status.st_ino):
            raise Conflict(f"{self.place(file)} changed on disk after it was shared")

    def look(self, file: FileEntry) -> None:
        """Raise `Conflict` if a published file is gone, or does not look as it did."""
        if file.path in self.stamps:
            self.expect(file, disk.status_of(self.place(file)))

    def look_at_all(self) -> None:
        """Raise `Conflict` if any published file changed."""
        for file in self.payload:
            self.look(file)

    def as_it_is(self, wanted: Collection[int] | None = None) -> "Layout":
        """What is at the path of the wanted files, or of all, published, as it looks now.

        Raises `Conflict` if none of them is there.
        """
        there = {}
        for index, file in enumerate(self.payload):
            if wanted is None or index in wanted:
                with suppress(Conflict):
                    there[file.path] = Stamp.of(disk.status_of(self.at(self.path, file)))
        if not there:
            raise Conflict(f"{self.path} is gone from disk")
        return self.with_stamps(there)


class Whereabouts:
    """The layout of a content that others read while its files are renamed or copied.

    Whoever takes the files elsewhere sets `then` before, and `now` when they are there.
    """

    def __init__(self, layout: Layout) -> None:
        self.now = layout
        self.then: Layout | None = None

    def settle(self, layout: Layout) -> None:
        """Say that this is how the files lie now."""
        self.now = layout
        self.then = None

    def find(self, use: Callable[[Layout], T]) -> T:
        """Do something with a file where it is, or else where it was just taken to."""
        layout = self.now
        try:
            return use(layout)
        except Refusal:
            after = self.then or self.now
            if after is layout:
                raise
            return use(after)
