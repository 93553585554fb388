"""The admin API's operations on torrents: what is counted of them, and who is in their swarms."""

import contextlib
from typing import Any

from twisted.internet.task import deferLater
from twisted.web.server import Request

from p2pd.errors import NotFound
from p2pd.frontends import json_text
from p2pd.frontends.admin_dialect import (
    Admin,
    asked_hashes,
    make_api,
    path_number,
    put_each,
    read_hash,
    remove_each,
    say,
)
from p2pd.frontends.authorisation import Policy
from p2pd.frontends.kit import Reply
from p2pd.protocol.clients import client_name
from p2pd.tracker.records import PeerRecord, SwarmRecord

_PORTION = 64 * 1024

api = make_api()


@api.route("/torrent/<infohash>", policy=Policy.ADMIN)
async def torrent(admin: Admin, _request: Request, infohash: str) -> Reply:
    """Tell who is in a torrent's swarm."""
    wanted = read_hash("info_hash", infohash)
    try:
        return say(**_swarm(admin.administration.torrent(wanted)))
    except NotFound:
        raise NotFound(f"unknown info_hash {wanted.hex()}") from None


@api.route("/torrent/<infohash>", methods=("POST",), policy=Policy.ADMIN)
@api.route("/torrent/<infohash>/<completed>", methods=("POST",), policy=Policy.ADMIN)
async def put_torrent(
    admin: Admin, _request: Request, infohash: str, completed: str | None = None
) -> Reply:
    """Create a torrent, or set how often it was completed; its peers stay."""
    wanted = read_hash("info_hash", infohash)
    count = None if completed is None else path_number("completed", completed)
    if admin.administration.put_torrent(wanted, count):
        return say()
    return admin.not_new(f"info_hash updated {wanted.hex()}")


@api.route("/torrent/<infohash>", methods=("DELETE",), policy=Policy.ADMIN)
async def remove_torrent(admin: Admin, _request: Request, infohash: str) -> Reply:
    """Forget a torrent and its peers."""
    wanted = read_hash("info_hash", infohash)
    if admin.administration.remove_torrent(wanted):
        return say()
    return admin.not_new(f"unknown info_hash {wanted.hex()}")


@api.route("/torrents", policy=Policy.ADMIN)
@api.route("/torrents/query", methods=("POST",), policy=Policy.ADMIN)
async def torrents(admin: Admin, request: Request) -> Reply:
    """Tell who is in the swarms of those torrents that are known.

    A request can ask for as much as takes seconds: others have their turn after every portion.
    """
    found: list[bytes] = []
    unbroken = 0
    for wanted in asked_hashes("info_hash", request):
        with contextlib.suppress(NotFound):
            swarm = json_text.write(_swarm(admin.administration.torrent(wanted)))
            found.append(b'"%b":%b' % (wanted.hex().encode(), swarm))
            unbroken += len(swarm)
        if unbroken > _PORTION:
            unbroken = 0
            await deferLater(admin.clock, 0)
    return Reply(b'{"status":"ok","torrents":{%b}}\n' % b",".join(found))


@api.route("/torrents", methods=("POST",), policy=Policy.ADMIN)
async def put_torrents(admin: Admin, request: Request) -> Reply:
    """Create torrents, or set how often they were completed."""
    done = put_each("info_hash", request, "completed", admin.administration.put_torrent)
    return say(torrents=done)


@api.route("/torrents", methods=("DELETE",), policy=Policy.ADMIN)
async def remove_torrents(admin: Admin, request: Request) -> Reply:
    """Forget torrents and their peers."""
    return say(torrents=remove_each("info_hash", request, admin.administration.remove_torrent))


def _swarm(record: SwarmRecord) -> dict[str, Any]:
    return {
        "seeds": [_peer(peer) for peer in record.seeds],
        "peers": [_peer(peer) for peer in record.leeches],
        "completed": record.completed,
        "updated": _milliseconds(record.updated),
    }


def _peer(peer: PeerRecord) -> dict[str, Any]:
    identity = {"id": peer.peer_id.hex()}
    if client := client_name(peer.peer_id):
        identity["client"] = client
    return {
        "peer_id": identity,
        "peer_addr": peer.address,
        "updated": _milliseconds(peer.updated),
        "uploaded": peer.uploaded,
        "downloaded": peer.downloaded,
        "left": peer.left,
    }


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
