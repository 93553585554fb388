"""Reading one torrent's files, and noticing when published ones are not as they were.

Files longer than a piece are kept open from one piece to the next.  An open file tells by itself
if it was written to, and by its time of change if it was moved or deleted; its path is looked at
again then, and once a second, for what happens to a directory above it shows nowhere else.
"""

import os
from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from functools import partial
from itertools import islice

from p2pd.errors import Conflict, Refusal, Unavailable
from p2pd.metainfo.files import FileEntry, Span
from p2pd.node.ports import Buffer, Extent
from p2pd.store import disk
from p2pd.store.disk import disk_errors
from p2pd.store.layout import Layout, Whereabouts
from p2pd.store.open_files import OpenFile, OpenFiles
from p2pd.store.runs import is_small, runs_of

_LOOK_AGAIN = 1.0
_READ = os.O_RDONLY | os.O_CLOEXEC


class Reader:
    """Reads the files of one content, for any number of threads."""

    def __init__(self, where: Whereabouts, files: OpenFiles, clock: Callable[[], float]) -> None:
        self._where = where
        self._torrent = where.now.torrent
        self._files = files
        self._clock = clock

    def locate(self, index: int, start: int, length: int) -> Generator[Extent, None, None]:
        """Open a range of a piece; see `Content.locate`."""
        runs = list(runs_of(self._torrent.spans(index), start, start + length))
        extents = self._extents(runs)
        first = list(islice(extents, 1))
        if self._where.now.stamps:
            self._look_before(span.file for run in runs[1:] for span in run)
        return _all_of(first, extents)

    def read(self, index: int, start: int, length: int) -> bytes:
        """Read a range of a piece; see `Content.read`."""
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

    def matching(self, indexes: Iterable[int]) -> list[int]:
        """Read pieces, and give those that match their digests."""
        return [index for index in indexes if self._matches(index)]

    def _matches(self, index: int) -> bool:
        try:
            data = self.read(index, 0, self._torrent.piece_size(index))
        except (Conflict, Unavailable):
            return False
        return self._torrent.verify(index, data)

    # -- opening

    def _extents(self, runs: list[list[Span]]) -> Generator[Extent, None, None]:
        for run in runs:
            if is_small(run[0]):
                yield Extent(None, 0, sum(span.length for span in run), self._gather(run))
                continue
            [span] = run
            with self._where.find(partial(self._use, span.file)) as opened:
                yield Extent(opened.fileno, span.offset, span.length)

    def _use(self, file: FileEntry, layout: Layout) -> OpenFile:
        """Open a long file, and see that it is as it was."""
        if file.length > self._torrent.piece_length:
            opened = self._files.take(layout, (_open, file.path), partial(_open, file, layout))
        else:
            opened = OpenFile(_open(file, layout))
        if layout.stamps:
            try:
                self._look_at(file, opened, layout)
            except BaseException:
                with opened:
                    raise
        return opened

    def _look_at(self, file: FileEntry, opened: OpenFile, layout: Layout) -> None:
        status = os.fstat(opened.fileno)
        layout.expect(file, status)
        now, changed = self._clock(), status.st_ctime_ns
        if changed == opened.changed and now < opened.looked + _LOOK_AGAIN:
            return
        if opened.changed is not None:  # otherwise its path was used just now, to open it
            layout.look(file)
        opened.changed, opened.looked = changed, now

    def _look_before(self, files: Iterable[FileEntry]) -> None:
        with disk_errors("read"):
            for file in files:
                if file.length > self._torrent.piece_length:
                    with self._where.find(partial(self._use, file)):
                        pass
                elif not file.padding:
                    self._where.find(partial(Layout.look, file=file))

    def _gather(self, run: list[Span]) -> bytearray:
        """Read small files into memory, to be sent for the price of one."""
        data = bytearray(sum(span.length for span in run))
        view = memoryview(data)
        layout = self._where.now
        at = 0
        for span in run:
            end = at + span.length
            if not span.file.padding:
                try:
                    _read_into(view[at:end], span, layout)
                except Refusal:
                    self._where.find(partial(_read_into, view[at:end], span))
            at = end
        return data


def _read_into(room: memoryview, span: Span, layout: Layout) -> None:
    fileno = _open(span.file, layout)
    try:
        count = os.preadv(fileno, [room], span.offset)
        if layout.stamps:
            layout.expect(span.file, os.fstat(fileno))
    except OSError as error:
        raise disk.refusal("read", error) from error
    finally:
        os.close(fileno)
    if count < span.length:
        raise Unavailable(f"{layout.place(span.file)} became shorter")


def _open(file: FileEntry, layout: Layout) -> int:
    place = layout.place(file)
    try:
        return os.open(place, _READ)
    except OSError as error:
        if isinstance(error, FileNotFoundError) and file.path in layout.stamps:
            raise Conflict(f"{place} is gone from disk") from None
        raise disk.refusal("read", error) from error


def _all_of(
    first: Iterable[Extent], rest: Generator[Extent, None, None]
) -> Generator[Extent, None, None]:
    with closing(rest):
        yield from first
        yield from rest
