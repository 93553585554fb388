"""Writing one torrent's partial files.

A file of a tree is made by the first write to it, at its full length; what is missing or has
another length when all is to be published was not ours to lose, and nothing is published then.
"""

import os
from collections.abc import Collection, Iterable
from functools import partial

from p2pd.metainfo.files import FileEntry, Span
from p2pd.node.ports import Buffer
from p2pd.store import disk
from p2pd.store.disk import disk_errors
from p2pd.store.layout import Layout, Whereabouts
from p2pd.store.open_files import OpenFile, OpenFiles


class Writer:
    """Writes the partial files of one content, for any number of threads.

    What is published is not ours to change any more: parts of pieces that go there are left out,
    for they are there already.
    """

    def __init__(self, where: Whereabouts, files: OpenFiles) -> None:
        self._where = where
        self._torrent = where.now.torrent
        self._files = files
        self._made: set[tuple[str, ...]] = set()

    def allocate(self, wanted: Collection[int] | None, least_free: int) -> bool:
        """Make room; see `Content.allocate`."""
        layout = self._where.now
        with disk_errors("write to"):
            known = os.path.lexists(layout.partial)
            layout.path.parent.mkdir(parents=True, exist_ok=True)
            there = _found(layout) if known else []
            disk.require_room(
                layout.path.parent,
                _missing(layout, wanted, dict(there)),
                least_free=least_free,
                what=self._torrent.name,
            )
            for file, status in there:
                if status.st_size != file.length:
                    disk.make(layout.place(file), file.length)
                self._made.add(file.path)
            if self._torrent.single_file:
                self._make(layout.payload[0], layout)
            for directory in layout.directories(layout.partial, layout.payload):
                os.makedirs(directory, exist_ok=True)  # noqa: PTH103 - as in disk.py
            return known

    def write(self, indexes: Iterable[int], data: Buffer) -> None:
        """Put a verified piece in its places."""
        view = memoryview(data)
        zeros = disk.all_zeros(view)
        published = self._where.now.stamps
        with disk_errors("write"):
            for index in indexes:
                for span in self._torrent.spans(index):
                    if not span.file.padding and span.file.path not in published:
                        part = view[span.start : span.start + span.length]
                        self._write_span(span, part, zeros=zeros)

    def _write_span(self, span: Span, part: memoryview, *, zeros: bool) -> None:
        layout = self._where.now
        partly = span.length < span.file.length
        if partly and span.file.path not in self._made:
            self._make(span.file, layout)
        with self._use(span.file, layout) as opened:
            # An image of a disk is mostly zeros: its copies take as little room as it does.
            if not (zeros and partly and disk.clear(opened.fileno, span.offset, span.length)):
                disk.write_all(opened.fileno, part, span.offset)

    def _make(self, file: FileEntry, layout: Layout) -> None:
        disk.make(layout.place(file), file.length)
        self._made.add(file.path)

    def _use(self, file: FileEntry, layout: Layout) -> OpenFile:
        if file.length > self._torrent.piece_length:
            return self._files.take(layout, (Writer, file.path), partial(self._open, file, layout))
        return OpenFile(self._open(file, layout))

    def _open(self, file: FileEntry, layout: Layout) -> int:
        # A file that was there and is not any more is missed: nothing would fill its holes.
        fileno = disk.open_to_write(layout.place(file), create=file.path not in self._made)
        self._made.add(file.path)
        return fileno


def sync(layout: Layout, files: Iterable[FileEntry]) -> None:
    """Make what was written of partial files survive a power loss."""
    listed = [file for file in files if file.path not in layout.stamps]
    places = [layout.place(file) for file in listed]
    disk.sync_all(layout.partial, places, layout.directories(layout.partial, listed))


def _found(layout: Layout) -> list[tuple[FileEntry, os.stat_result]]:
    found = []
    for file in layout.payload:
        if file.path not in layout.stamps:
            status = disk.status_unless_absent(layout.place(file))
            if status is not None:
                found.append((file, status))
    return found


def _missing(
    layout: Layout,
    wanted: Collection[int] | None,
    there: dict[FileEntry, os.stat_result],
) -> int:
    """How many bytes of the wanted files are yet to be written."""
    return sum(
        file.length - (there[file].st_blocks * 512 if file in there else 0)
        for number, file in enumerate(layout.payload)
        if (wanted is None or number in wanted) and file.path not in layout.stamps
    )
