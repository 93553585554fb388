"""Raw bytes from a node: pieces, files by Range, metainfo, and the who-has-what stream.

These are what nodes, web-seed clients and plain HTTP clients fetch in bulk, so they do not pass
through klein.
"""

import re
from collections.abc import Coroutine, Generator, Iterable
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from twisted.internet.defer import CancelledError
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.web.http_headers import Headers
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from p2pd import background
from p2pd.errors import Invalid, NotFound, Refusal
from p2pd.frontends import fleet, ranges
from p2pd.frontends.authorisation import Policy
from p2pd.frontends.have_stream import Boards, HaveStream
from p2pd.frontends.kit import Reply, query, refusal_reply
from p2pd.frontends.sending import Uplink
from p2pd.metainfo.files import FileEntry
from p2pd.metainfo.ids import parse_address, parse_infohash, parse_piece_id, parse_zone
from p2pd.metainfo.torrent import Torrent
from p2pd.node.entry import Entry
from p2pd.node.node import Node
from p2pd.node.ports import Extent

_BYTES = b"application/octet-stream"
_TORRENT = b"application/x-bittorrent"
# Pieces to be fetched in order for a reader of a file that is still arriving.
_READ_AHEAD = 16
_MOST_PIECES = 256
_NUMBERS = re.compile(r"[0-9]{1,9}(,[0-9]{1,9})*")


class _Raw(Resource):
    """A leaf whose GET is a coroutine; refusals are answered in the fleet dialect."""

    isLeaf = True
    policy = Policy.SWARM

    def __init__(self, node: Node, uplink: Uplink) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._node = node
        self._uplink = uplink

    def _open(
        self, entry: Entry, indexes: Iterable[int], part: range | None = None
    ) -> Generator[Extent, None, None]:
        """Open pieces, or `part` of each, when their turn has come."""
        for index in indexes:
            wanted = part or range(entry.torrent.piece_size(index))
            yield from self._node.open(entry, index, wanted.start, len(wanted))

    def _answer(self, request: Request, path: list[str]) -> Coroutine[Any, Any, None]:
        """Answer a GET or HEAD for the path below this resource, and finish the request."""
        raise NotImplementedError

    def render(self, request: Request) -> int | bytes:
        """Start to answer; what the client's hanging up leaves undone is dropped."""
        if request.method not in (b"GET", b"HEAD"):
            request.setHeader(b"Allow", b"GET, HEAD")
            return fleet.error(HTTPStatus.METHOD_NOT_ALLOWED, "use GET or HEAD").put_on(request)
        answering = background.start(
            self._guarded(request), "a reply", ConnectionLost, ConnectionDone
        )
        request.notifyFinish().addErrback(lambda _: answering.cancel())
        return NOT_DONE_YET

    async def _guarded(self, request: Request) -> None:
        try:
            path = _decode(request)
            await self._answer(request, path)
        except Refusal as refusal:
            _break_off(request, refusal_reply(refusal, fleet.error))
        except (CancelledError, ConnectionLost, ConnectionDone):
            raise
        except Exception:
            failed = "p2pd failed; its log tells why"
            _break_off(request, fleet.error(HTTPStatus.INTERNAL_SERVER_ERROR, failed))
            raise


def _break_off(request: Request, reply: Reply) -> None:
    """Answer with `reply` instead; once the head is out, hanging up is the only way to say it."""
    if request.startedWriting:
        request.loseConnection()
        return
    request.responseHeaders = Headers()
    request.write(reply.put_on(request))
    request.finish()


def _decode(request: Request) -> list[str]:
    try:
        return [segment.decode() for segment in request.postpath or []]
    except UnicodeDecodeError:
        raise Invalid("the path must be UTF-8") from None


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
            extents = self._open(entry, [index], wanted)
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
            await self._send(request, entry, file, wanted)
        request.finish()

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
            extents = self._open(entry, [index], range(skip, skip + count))
            await self._uplink.send(request, entry, extents, count)
            start += count


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
            extents = self._open(entry, offer.pieces)
            await self._uplink.send(
                request, entry, extents, size, pieces=offer.pieces, behind=offer.behind
            )


def _indexes(numbers: str) -> list[int]:
    if not _NUMBERS.fullmatch(numbers) or numbers.count(",") >= _MOST_PIECES:
        raise Invalid(f"name 1 to {_MOST_PIECES} pieces, like 0,5,17")
    return [*map(int, numbers.split(","))]


def _host(address: str) -> str:
    return parse_address(address).rpartition(":")[0].strip("[]")
