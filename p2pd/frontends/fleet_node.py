"""The fleet API, node half: start downloads, share, look; pieces as JSON for its old clients."""

import base64
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from http import HTTPStatus
from pathlib import Path
from typing import Any

from twisted.internet.defer import CancelledError
from twisted.web.server import Request

from p2pd.errors import Invalid, NotFound
from p2pd.frontends import fleet, kit
from p2pd.frontends.authorisation import Policy
from p2pd.frontends.kit import TEXT, TORRENT_BODY, Answer, Api, Reply, Unprocessable
from p2pd.frontends.paced import Paced
from p2pd.frontends.reader import name_of
from p2pd.metainfo.ids import parse_infohash, parse_piece_id
from p2pd.node.entry import Entry
from p2pd.node.node import Node
from p2pd.node.views import NodeView, TransferView
from p2pd.swarm.lifecycle import State

# Bytes as JSON integers take four times their size and more: a dump of all is for small nodes.
_LARGEST_DUMP = 16 * 1024 * 1024
_UP = "max_upload_rate"
_DOWN = "max_download_rate"

api = Api(fleet.error, fleet.PREFIX)
top = Api(fleet.error)


@top.route("/", policy=Policy.PUBLIC)
@api.route("/health", policy=Policy.PUBLIC)
async def health(_node: Node, _request: Request) -> Reply:
    """Say that the node runs."""
    return Reply(b"Node is running!", TEXT)


@api.route("/start_download", methods=("POST",), policy=Policy.CONTROL, max_body=TORRENT_BODY)
async def start_download(node: Node, request: Request) -> Reply:
    """Fetch a torrent by name, by infohash, or as a raw .torrent body; `?wait=1` to its end."""
    body = kit.read_body(request)
    if body.startswith(b"d"):
        torrent = await node.parse(body)
        destination = kit.query(request, "destination") or ""
        given = {name: kit.query(request, name) for name in (_UP, _DOWN)}
        upload, download = _rates(fleet.Fields(given))
        entry = await node.add(
            torrent,
            torrent.name,
            destination=destination,
            replace=kit.query_flag(request, "replace"),
        )
    else:
        fields = fleet.parse(body)
        upload, download = _rates(fields)
        name = fields.text("infohash") if "infohash" in fields else fields.text("filename")
        if not name:
            raise Invalid("Parameter is missing.")
        entry = await node.start(
            name,
            destination=fields.text("destination", ""),
            replace=fields.flag("replace"),
        )
    node.limit(entry, upload=upload, download=download)
    if kit.query_flag(request, "wait"):
        await _settled(request, entry)
    return _started(request, entry)


def _rates(fields: fleet.Fields) -> tuple[int | None, int | None]:
    """The limits that are given, up and down, in bytes/s; 0 is no limit."""
    upload, download = (fields.count(name) if name in fields else None for name in (_UP, _DOWN))
    return upload, download


async def _settled(request: Request, entry: Entry) -> None:
    """Wait until an entry has settled, or nobody waits for the answer any more."""
    settling = entry.when_settled()
    request.notifyFinish().addErrback(lambda _: settling.cancel())
    with suppress(CancelledError):
        await settling


def _started(request: Request, entry: Entry) -> Reply:
    total, done = entry.torrent.piece_count, entry.held.count
    failed = entry.state is State.FAILED
    counts: dict[str, Any] = {
        "success_count": float(done),
        "failed_count": float(total - done) if failed else 0.0,
        "total_count": float(total),
        "infohash": entry.torrent.infohash.hex(),
        "state": entry.state.value,
    }
    if failed:
        return fleet.reply(
            request,
            status=HTTPStatus.INTERNAL_SERVER_ERROR,
            msg="Download file failed.",
            reason=entry.error,
            **counts,
        )
    return fleet.reply(request, **counts)


@api.route("/fetch_piece", methods=("POST",), policy=Policy.SWARM)
async def fetch_piece(node: Node, request: Request) -> Answer:
    """One piece, base64 unless `"encoding": "bytes"` asks for a list of integers."""
    fields = fleet.read(request)
    text = fields.text("piece_id")
    if not text:
        raise Invalid("Parameter is missing.")
    encoding = fields.text("encoding", "base64")
    if encoding not in ("base64", "bytes"):
        raise Invalid(f"encoding {encoding!r} is not known: use base64 or bytes")
    try:
        entry, data = await node.read_piece(parse_piece_id(text))
    except (NotFound, Invalid):
        # Ids are opaque to this API's clients: one that cannot be is one that is not here.
        missing: str | list[int] = "" if encoding == "base64" else []
        return fleet.reply(request, msg="Not find", data=missing, encoding=encoding)
    entry.sent(name_of(request), len(data), node.now())
    shown = base64.b64encode(data).decode() if encoding == "base64" else list(data)
    reply = fleet.reply(request, data=shown, encoding=encoding)
    return Paced(reply, node.uplink, name_of(request), entry.upload_limit)


@api.route("/info", policy=Policy.READ)
async def info(node: Node, request: Request) -> Reply:
    """What the node holds, piece by piece; `?bytes=1` with the pieces' bytes as integers."""
    held = list(_held(node))
    cache: list[list[Any]] = [[piece, []] for piece, _ in held]
    if kit.query_flag(request, "bytes"):
        if sum(facts["size"] for _, facts in held) > _LARGEST_DUMP:
            raise Invalid("the pieces are too many to dump: fetch them by /pieces/{piece_id}")
        cache = [
            [piece, list((await node.read_piece(parse_piece_id(piece)))[1])] for piece, _ in held
        ]
    return fleet.reply(
        request,
        piece_info_cache=[list(pair) for pair in held],
        piece_cache=cache,
        **node_to_wire(node.view()),
    )


def _held(node: Node) -> Iterator[tuple[str, dict[str, Any]]]:
    for entry in node.library:
        for index in entry.held:
            piece_id = entry.torrent.piece_ids[index].hex()
            yield (
                piece_id,
                {
                    "filename": entry.filename,
                    "index": index * entry.torrent.piece_length,
                    "size": entry.torrent.piece_size(index),
                    "checksum": piece_id,
                },
            )


@api.route("/share", methods=("POST",), policy=Policy.OWN)
async def share(node: Node, request: Request) -> Reply:
    """Share a file or directory of this machine where it lies."""
    fields = fleet.read(request)
    path = fields.text("path")
    if not path.startswith("/") or "\0" in path:
        raise Invalid("path must be an absolute path on the node's machine")
    upload, download = _rates(fields)
    entry = await node.share(Path(path), fields.text("name", "") or None)
    node.limit(entry, upload=upload, download=download)
    return fleet.reply(request, transfer=transfer_to_wire(node.transfer(entry)))


@api.route("/transfers", policy=Policy.READ)
async def transfers(node: Node, request: Request) -> Reply:
    """Every torrent on the node."""
    return fleet.reply(request, transfers=[transfer_to_wire(t) for t in node.transfers()])


@api.route("/transfers/<infohash>", policy=Policy.READ)
async def transfer(node: Node, request: Request, infohash: str) -> Reply:
    """One torrent on the node."""
    entry = node.library.get(parse_infohash(infohash))
    return fleet.reply(request, transfer=transfer_to_wire(node.transfer(entry)))


@api.route("/transfers/<infohash>/limits", methods=("POST",), policy=Policy.CONTROL)
async def limit_transfer(node: Node, request: Request, infohash: str) -> Reply:
    """Change the rate limits of one torrent; what is under way keeps them from now on."""
    entry = node.library.get(parse_infohash(infohash))
    _limit(node, request, entry)
    return fleet.reply(request, transfer=transfer_to_wire(node.transfer(entry)))


@api.route("/limits", methods=("POST",), policy=Policy.OWN)
async def limit_node(node: Node, request: Request) -> Reply:
    """Change the rate limits of the node, until it starts anew with those of its settings."""
    _limit(node, request)
    return fleet.reply(request, **node_to_wire(node.view()))


def _limit(node: Node, request: Request, entry: Entry | None = None) -> None:
    fields = fleet.read(request)
    if _UP not in fields and _DOWN not in fields:
        raise Unprocessable(f"{_UP} or {_DOWN} is missing")
    upload, download = _rates(fields)
    node.limit(entry, upload=upload, download=download)


def transfer_to_wire(view: TransferView) -> dict[str, Any]:
    """A transfer as JSON."""
    return {
        **view._asdict(),
        "state": view.state.value,
        "peers": [peer._asdict() for peer in view.peers],
        "progress": view.progress,
    }


def node_to_wire(view: NodeView) -> dict[str, Any]:
    """A node as JSON."""
    return asdict(view)
