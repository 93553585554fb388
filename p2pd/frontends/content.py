"""Sends what torrents hold as bodies of replies, also while it is still arriving."""

from collections.abc import Generator, Iterable

from twisted.web.server import Request

from p2pd.errors import NotFound
from p2pd.frontends.sending import Uplink
from p2pd.metainfo.files import FileEntry
from p2pd.node.entry import Entry
from p2pd.node.node import Node
from p2pd.node.ports import Extent

# Pieces to be fetched in order for a reader of a file that is still arriving.
_READ_AHEAD = 16


class ContentSender:
    """Sends pieces and files of a node's torrents by its uplink."""

    def __init__(self, node: Node, uplink: Uplink) -> None:
        self._node = node
        self.uplink = uplink

    def open(
        self, entry: Entry, indexes: Iterable[int], part: range | None = None
    ) -> Generator[Extent, None, None]:
        """Open pieces, or `part` of each, when their turn has come."""
        for index in indexes:
            wanted = part or range(entry.torrent.piece_size(index))
            yield from self._node.open(entry, index, wanted.start, len(wanted))

    async def send_file(
        self, request: Request, entry: Entry, file: FileEntry, wanted: range
    ) -> None:
        """Send some bytes of a file in their order, fetching first what is not here yet.

        Raises `NotFound` if some cannot be had.
        """
        entry.playing += 1
        try:
            await self._send(request, entry, file, wanted)
        finally:
            entry.playing -= 1

    async def _send(self, request: Request, entry: Entry, file: FileEntry, wanted: range) -> None:
        length = entry.torrent.piece_length
        start, stop = file.offset + wanted.start, file.offset + wanted.stop
        while start < stop:
            index, skip = divmod(start, length)
            if index not in entry.held:
                last = (stop - 1) // length
                self._node.urge(entry, range(index, min(index + _READ_AHEAD, last + 1)))
                await entry.when_held(index)
            if index not in entry.held:
                raise NotFound(f"{entry.filename} cannot be had: {entry.error}")
            count = min(stop - start, length - skip)
            extents = self.open(entry, [index], range(skip, skip + count))
            await self.uplink.send(request, entry, extents, count)
            start += count
