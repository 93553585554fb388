"""Raw bytes from a node: pieces, files by Range, metainfo, and the who-has-what stream.

These are what nodes, web-seed clients and plain HTTP clients fetch in bulk, so they do not pass
through klein.
"""

import re
from urllib.parse import quote

from twisted.web.server import Request

from p2pd.errors import Invalid, NotFound
from p2pd.frontends import fleet, ranges
from p2pd.frontends.authorisation import Policy
from p2pd.frontends.content import ContentSender
from p2pd.frontends.have_stream import Boards, HaveStream
from p2pd.frontends.kit import query
from p2pd.frontends.raw import Raw
from p2pd.frontends.sending import Uplink
from p2pd.metainfo.files import FileEntry
from p2pd.metainfo.ids import parse_address, parse_infohash, parse_piece_id, parse_zone
from p2pd.metainfo.torrent import Torrent
from p2pd.node.entry import Entry
from p2pd.node.node import Node

_BYTES = b"application/octet-stream"
_TORRENT = b"application/x-bittorrent"
_MOST_PIECES = 256
_NUMBERS = re.compile(r"[0-9]{1,9}(,[0-9]{1,9})*")


class _Raw(Raw):
    """A raw resource in the fleet dialect."""

    policy = Policy.SWARM

    def __init__(self, node: Node, uplink: Uplink) -> None:
        super().__init__(fleet.error)
        self._node = node
        self._uplink = uplink
        self._sender = ContentSender(node, uplink)


class Pieces(_Raw):
    """`/pieces/{piece_id}`: a piece by its digest, whichever torrent it is from."""

    async def _answer(self, request: Request, path: list[str]) -> None:
        if len(path) != 1:
            raise NotFound("ask for /pieces/{piece_id}")
        piece_id = parse_piece_id(path[0])
        entry, index = self._node.find_piece(piece_id)
        length = entry.torrent.piece_size(index)
        wanted = ranges.begin(request, length, piece_id.hex().encode(), _BYTES)
        if wanted is not None:
            extents = self._sender.open(entry, [index], wanted)
            await self._uplink.send(request, entry, extents, len(wanted), pieces=[index])
        request.finish()


class Files(_Raw):
    """`/files/{infohash}/{path}`: a file, in order, even while it is still being fetched."""

    async def _answer(self, request: Request, path: list[str]) -> None:
        if len(path) < 2:
            raise NotFound("ask for /files/{infohash}/{path}")
        entry = self._node.library.get(parse_infohash(path[0]))
        file = _find_file(entry.torrent, tuple(path[1:]))
        etag = f"{entry.torrent.infohash.hex()}-{file.offset}".encode()
        request.setHeader(
            b"Content-Disposition",
            f"attachment; filename*=UTF-8''{quote(path[-1], safe='')}".encode(),
        )
        wanted = ranges.begin(request, file.length, etag, _BYTES)
        if wanted:
            await self._sender.send_file(request, entry, file, wanted)
        request.finish()


def _find_file(torrent: Torrent, path: tuple[str, ...]) -> FileEntry:
    if path[0] == torrent.name and len(path) > 1 and not torrent.single_file:
        path = path[1:]
    # Padding too (BEP 47): clients that do not know of it ask for it as for any other file.
    for file in torrent.files:
        if file.path == path:
            return file
    raise NotFound(f"{torrent.name} has no file {'/'.join(path)}")


class Metainfo(_Raw):
    """`/metainfo/{infohash}`: the torrent as a .torrent file."""

    async def _answer(self, request: Request, path: list[str]) -> None:
        if len(path) != 1:
            raise NotFound("ask for /metainfo/{infohash}")
        torrent = self._node.library.get(parse_infohash(path[0])).published
        data = torrent.to_bytes()
        request.setHeader(
            b"Content-Disposition",
            f"attachment; filename*=UTF-8''{quote(torrent.name, safe='')}.torrent".encode(),
        )
        wanted = ranges.begin(request, len(data), torrent.infohash.hex().encode(), _TORRENT)
        if wanted is not None:
            request.write(data[wanted.start : wanted.stop])
        request.finish()


class Swarms(_Raw):
    """`/swarms/{infohash}/have` and `/swarms/{infohash}/pieces/{index},...`: for other nodes.

    The first tells what this node holds, as it changes; see `protocol.have`.  A peer that says
    where it is reached (`?from=`) is met in return, if it says so from there.  The second gives
    pieces one after the other, those that `Entry.offer` chooses: `Content-Length` tells.
    """

    def __init__(self, node: Node, uplink: Uplink) -> None:
        super().__init__(node, uplink)
        self._boards = Boards(uplink.clock)

    async def _answer(self, request: Request, path: list[str]) -> None:
        match path:
            case [infohash, "have"]:
                await self._have(request, self._node.library.get(parse_infohash(infohash)))
            case [infohash, "pieces", numbers]:
                entry = self._node.library.get(parse_infohash(infohash))
                await self._pieces(request, entry, _indexes(numbers))
            case _:
                raise NotFound(
                    "ask for /swarms/{infohash}/have or /swarms/{infohash}/pieces/{i},{j}"
                )
        request.finish()

    async def _have(self, request: Request, entry: Entry) -> None:
        if request.method == b"HEAD":
            return
        address = query(request, "from")
        if address is not None and _host(address) == request.getClientAddress().host:
            zone = parse_zone(query(request, "zone") or "")
            self._node.introduce(entry, parse_address(address), zone)
        await HaveStream(request, self._boards.of(entry)).ended

    async def _pieces(self, request: Request, entry: Entry, indexes: list[int]) -> None:
        count = entry.torrent.piece_count
        if any(index >= count for index in indexes):
            raise Invalid(f"{entry.torrent.name} has pieces 0 to {count - 1}")
        offer = entry.offer(indexes)
        if not offer.pieces:
            raise NotFound(f"piece {indexes[0]} of {entry.torrent.name} is not on this node")
        size = sum(map(entry.torrent.piece_size, offer.pieces))
        request.setHeader(b"Content-Type", _BYTES)
        request.setHeader(b"Content-Length", b"%d" % size)
        if request.method == b"GET":
            extents = self._sender.open(entry, offer.pieces)
            await self._uplink.send(
                request, entry, extents, size, pieces=offer.pieces, behind=offer.behind
            )


def _indexes(numbers: str) -> list[int]:
    if not _NUMBERS.fullmatch(numbers) or numbers.count(",") >= _MOST_PIECES:
        raise Invalid(f"name 1 to {_MOST_PIECES} pieces, like 0,5,17")
    return [*map(int, numbers.split(","))]


def _host(address: str) -> str:
    return parse_address(address).rpartition(":")[0].strip("[]")
