"""The tracker's half of the fleet API, and the operations that p2pd adds to it."""

import base64
import binascii
from typing import Any

from twisted.web.server import Request

from p2pd.errors import Invalid, NotFound, Unavailable
from p2pd.frontends import fleet, kit
from p2pd.frontends.authorisation import Policy
from p2pd.frontends.kit import TEXT, TORRENT_BODY, Api, Reply
from p2pd.metainfo.bitfield import Bitfield
from p2pd.metainfo.ids import (
    parse_address,
    parse_infohash,
    parse_node_id,
    parse_piece_id,
    parse_zone,
)
from p2pd.metainfo.torrent import Torrent
from p2pd.protocol.announcement import Announcement, Event, PeerRef
from p2pd.tracker.handout import MOST_PEERS
from p2pd.tracker.ports import FileView
from p2pd.tracker.tracker import Tracker

api = Api(fleet.error, fleet.PREFIX)
top = Api(fleet.error)


@top.route("/", policy=Policy.PUBLIC)
@api.route("/health", policy=Policy.PUBLIC)
async def health(_tracker: Tracker, _request: Request) -> Reply:
    """Say that the tracker runs."""
    return Reply(b"Tracker is running!", TEXT)


@api.route("/heart_beat", methods=("POST",), policy=Policy.SWARM)
async def heart_beat(tracker: Tracker, request: Request) -> Reply:
    """Note that a node is alive."""
    asked = fleet.read(request)
    tracker.beat(parse_node_id(asked.text("node_id")), parse_address(asked.text("addr")))
    return fleet.reply(request, instance=tracker.instance, interval=tracker.heartbeat_interval)


@api.route("/leave", methods=("POST",), policy=Policy.SWARM)
async def leave(tracker: Tracker, request: Request) -> Reply:
    """Forget a node that stops."""
    tracker.leave(parse_node_id(fleet.read(request).text("node_id")))
    return fleet.reply(request)


@api.route("/claim", methods=("POST",), policy=Policy.SWARM)
async def claim(tracker: Tracker, request: Request) -> Reply:
    """Let one node alone make a name known; it says so again with each heart beat."""
    asked = fleet.read(request)
    granted = tracker.claim(asked.text("name"), parse_node_id(asked.text("node_id")))
    return fleet.reply(request, granted=granted)


@api.route("/release", methods=("POST",), policy=Policy.SWARM)
async def release(tracker: Tracker, request: Request) -> Reply:
    """Let others claim a name again."""
    asked = fleet.read(request)
    tracker.release(asked.text("name"), parse_node_id(asked.text("node_id")))
    return fleet.reply(request)


@api.route("/node_list", methods=("POST",), policy=Policy.SWARM)
async def node_list(tracker: Tracker, request: Request) -> Reply:
    """List where the live nodes listen that hold a piece; none for an unknown piece."""
    text = fleet.read(request).text("piece_id")
    if not text:
        raise Invalid("Parameter is missing.")
    try:
        piece_id = parse_piece_id(text)
    except Invalid:
        return fleet.reply(request, node_list=[])
    return fleet.reply(request, node_list=tracker.holders(piece_id))


@api.route("/report", methods=("POST",), policy=Policy.SWARM)
async def report(tracker: Tracker, request: Request) -> Reply:
    """Note one piece that a node holds, or with an `infohash` all it holds of a torrent."""
    asked = fleet.read(request)
    if "infohash" in asked:
        return _announce(tracker, request, asked)
    tracker.report(
        parse_node_id(asked.text("node_id")),
        parse_piece_id(asked.text("piece_id")),
        asked.number("progress"),
        asked.text("filename"),
    )
    return fleet.reply(request)


def _announce(tracker: Tracker, request: Request, asked: fleet.Fields) -> Reply:
    infohash = parse_infohash(asked.text("infohash"))
    told = tracker.announce(
        Announcement(
            node_id=parse_node_id(asked.text("node_id")),
            infohash=infohash,
            bitfield=_bitfield(asked, tracker.torrent(infohash).piece_count),
            event=_event(asked.text("event", "")),
            uploaded=asked.count("uploaded", 0),
            downloaded=asked.count("downloaded", 0),
            left=asked.count("left", 0),
            wanted=asked.count("numwant", MOST_PEERS),
            zone=parse_zone(asked.text("zone", "")),
        )
    )
    return fleet.reply(request, peers=list(map(_peer, told.peers)), interval=told.interval)


def _peer(peer: PeerRef) -> dict[str, Any]:
    named: dict[str, Any] = {
        "node_id": peer.node_id,
        "addr": peer.address,
        "complete": peer.complete,
    }
    return {**named, "zone": peer.zone} if peer.zone else named


def _bitfield(asked: fleet.Fields, pieces: int) -> bytes:
    if asked.flag("complete"):
        return Bitfield.full(pieces).to_bytes()
    if "bitfield" not in asked:
        return Bitfield(pieces).to_bytes()
    try:
        return base64.b64decode(asked.long_text("bitfield"), validate=True)
    except (binascii.Error, ValueError) as error:
        raise Invalid("bitfield is not base64") from error


def _event(text: str) -> Event:
    try:
        return Event(text)
    except ValueError:
        raise Invalid("event must be started, completed, stopped or empty") from None


@api.route("/publish", methods=("POST",), policy=Policy.SWARM, max_body=TORRENT_BODY)
async def publish(tracker: Tracker, request: Request) -> Reply:
    """Make the torrent in the body known as `?filename=`, by default by its own name."""
    filename = kit.query(request, "filename")
    torrent = await tracker.publish(kit.read_body(request), filename)
    return fleet.reply(request, infohash=torrent.infohash.hex(), filename=filename or torrent.name)


@api.route("/metainfo/<infohash>", policy=Policy.SWARM)
async def metainfo(tracker: Tracker, _request: Request, infohash: str) -> Reply:
    """Send a torrent as a .torrent file."""
    return Reply(tracker.metainfo(parse_infohash(infohash)), b"application/x-bittorrent")


@api.route("/torrent/<infohash>", policy=Policy.SWARM)
async def torrent(tracker: Tracker, request: Request, infohash: str) -> Reply:
    """Send a .torrent file for BitTorrent clients: it names this tracker, and nodes as web seeds.

    The tracker's URL is the one that the request came by.
    """
    scheme = "https" if request.isSecure() else "http"
    host = (request.getHeader("Host") or request.getRequestHostname().decode()).strip()
    known = tracker.metainfo_for_clients(parse_infohash(infohash), f"{scheme}://{host}/announce")
    return Reply(known, b"application/x-bittorrent")


@api.route("/fetch_seed", methods=("POST",), policy=Policy.SWARM)
async def fetch_seed(tracker: Tracker, request: Request) -> Reply:
    """Describe the torrent that a filename or an infohash means.

    A name that means nothing is told of at status 200, with an empty seed_info. `brief` leaves
    out the list of pieces, and gives refusals their own status.
    """
    asked = fleet.read(request)
    name = asked.text("filename")
    brief = asked.flag("brief")
    if not name:
        raise Invalid("Parameter is missing.")
    try:
        found = await tracker.resolve(name)
    except (NotFound, Unavailable) as refusal:
        if brief:
            raise
        return fleet.reply(
            request,
            status=kit.status_of(refusal),
            msg="Fetch metadata failed.",
            error=refusal.reason,
            seed_info={"filename": name, "content_length": 0, "piece_list": []},
        )
    fields: dict[str, Any] = {
        "filename": found.filename,
        "infohash": found.torrent.infohash.hex(),
        "web_seeds": found.web_seeds,
    }
    if not brief:
        fields["seed_info"] = seed_info(found.torrent, found.filename)
    return fleet.reply(request, **fields)


def seed_info(torrent: Torrent, filename: str) -> dict[str, Any]:
    """Return the fleet API's rendering of a torrent; `index` is a byte offset."""
    return {
        "filename": filename,
        "content_length": torrent.length,
        "piece_list": [
            _piece(piece_id.hex(), filename, at * torrent.piece_length, torrent.piece_size(at))
            for at, piece_id in enumerate(torrent.piece_ids)
        ],
    }


def _piece(piece_id: str, filename: str, offset: int, size: int) -> dict[str, Any]:
    return {"filename": filename, "index": offset, "size": size, "checksum": piece_id}


@api.route("/info", policy=Policy.READ)
async def info(tracker: Tracker, request: Request) -> Reply:
    """Dump all that the tracker knows, as arrays of pairs; a body is ignored."""
    known = tracker.dump()
    return fleet.reply(
        request,
        session_info=known.sessions,
        node_info=known.nodes,
        piece_node_info=known.piece_nodes,
        piece_info=[
            (piece.piece_id, _piece(piece.piece_id, piece.filename, piece.offset, piece.size))
            for piece in known.pieces
        ],
    )


@api.route("/files", policy=Policy.READ)
async def files(tracker: Tracker, request: Request) -> Reply:
    """List the filenames that can be asked for."""
    return fleet.reply(request, files=[_file(view) for view in tracker.files()])


def _file(view: FileView) -> dict[str, Any]:
    return {
        "filename": view.filename,
        "infohash": view.infohash.hex(),
        "size": view.size,
        "pieces": view.pieces,
        "piece_length": view.piece_length,
        "added": view.added,
        "completed": view.completed,
        "seeds": view.seeds,
        "leeches": view.leeches,
        "web_seeds": view.web_seeds,
    }
