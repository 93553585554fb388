"""How the downloads API writes what a node knows of a download: pure functions to JSON.

Names and meanings are those of Tribler 7.2; later versions' names stand beside them.
"""

import base64
import hashlib
import re
from collections.abc import Iterable, Sequence
from typing import Any

from p2pd.metainfo.bitfield import Bitfield
from p2pd.node.download_views import DownloadView, FileView, LinkView
from p2pd.node.settings import NodeSettings
from p2pd.swarm.lifecycle import State
from p2pd.swarm.tracker_list import AnnounceState, TrackerState

STATUSES = (
    "ALLOCATING_DISKSPACE",
    "WAITING4HASHCHECK",
    "HASHCHECKING",
    "DOWNLOADING",
    "SEEDING",
    "STOPPED",
    "STOPPED_ON_ERROR",
    "METADATA",
)
"""The names of statuses, in the order of their codes; clients know no others."""

_STATUS = {
    State.ALLOCATING: 0,
    State.QUEUED: 1,
    State.CHECKING: 2,
    State.DOWNLOADING: 3,
    State.COMPLETE: 4,
    State.PAUSED: 5,
    State.FAILED: 6,
    State.METAINFO: 7,
}
_STOPPED = frozenset({State.PAUSED, State.FAILED})
_MOVING = frozenset({State.DOWNLOADING, State.COMPLETE})
# What a stalled download is taken to get each second: its end is not in sight.
_NEXT_TO_NOTHING = 1e-6
# Pieces that a player wants before it begins.
_PREBUFFER = 16
_HTTP_STATUS = re.compile(r"([1-5][0-9]{2})\b")
_IDLE, _BUSY = "\0", "\2"
# Nothing is anonymous here, nor mined for credit, nor a channel.
_NEVER = {"hops": 0, "anon_download": False, "credit_mining": False, "channel_download": False}
_WITHOUT = [{"url": source, "peers": 0, "status": "Disabled"} for source in ("[DHT]", "[PeX]")]


def status_of(state: State) -> str:
    """Return the name of a state."""
    return f"DLSTATUS_{STATUSES[_STATUS[state]]}"


def download(
    view: DownloadView,
    trackers: Iterable[TrackerState],
    settings: NodeSettings,
    *,
    prebuffered: tuple[float, float] | None = None,
) -> dict[str, Any]:
    """A download as it stands; `prebuffered` is given while somebody plays it."""
    moving = view.state in _MOVING
    rule = view.seeding or settings.seeding
    head = prebuffered or (float(view.complete),) * 2
    return {
        "name": _name(view),
        "progress": view.progress,
        "infohash": view.id,
        "speed_down": view.speed_down if moving else 0.0,
        "speed_up": view.speed_up if moving else 0.0,
        "status": status_of(view.state),
        "status_code": _STATUS[view.state],
        "size": view.size,
        "eta": _eta(view),
        "num_peers": view.peers,
        "num_seeds": view.seeds,
        "num_connected_peers": view.connected_peers,
        "num_connected_seeds": view.connected_seeds,
        "total_up": view.session_uploaded,
        "total_down": view.session_downloaded,
        "ratio": view.ratio,
        "all_time_upload": view.uploaded,
        "all_time_download": view.downloaded,
        "all_time_ratio": view.ratio,
        "trackers": [*map(tracker, trackers), *_WITHOUT],
        **_NEVER,
        "safe_seeding": view.safe_seeding,
        "max_upload_speed": settings.max_upload_rate,
        "max_download_speed": settings.max_download_rate,
        "upload_limit": view.upload_limit,
        "download_limit": view.download_limit,
        "destination": view.directory,
        "availability": view.availability,
        "total_pieces": view.pieces,
        "vod_mode": view.streaming,
        "vod_mod": view.streaming,
        "vod_prebuffering_progress": head[0],
        "vod_prebuffering_progress_consec": head[1],
        "error": view.error,
        "time_added": int(view.added),
        "time_finished": int(view.finished or 0),
        "queue_position": view.position,
        "auto_managed": view.state not in _STOPPED,
        "user_stopped": view.state is State.PAUSED,
        "seeding_ratio": rule.ratio,
        "seeding_time": rule.seconds,
    }


def _name(view: DownloadView) -> str:
    unnamed = view.name == view.source and view.source.startswith("magnet:")
    return "Unknown name" if unnamed else view.name


def _eta(view: DownloadView) -> float:
    if view.eta is not None:
        return view.eta
    return view.left / _NEXT_TO_NOTHING if view.state is State.DOWNLOADING else 0.0


def prebuffered(files: Sequence[FileView], bitfield: bytes, pieces: int) -> tuple[float, float]:
    """How much is here of what a player begins with, at all and without a gap, 0 to 1."""
    wanted = next((file for file in files if file.priority and file.size), None)
    if wanted is None or not bitfield:
        return 0.0, 0.0
    held = Bitfield.from_bytes(bitfield, pieces)
    head = range(wanted.first_piece, min(wanted.first_piece + _PREBUFFER, wanted.last_piece + 1))
    here = [index in held for index in head]
    unbroken = here.index(False) if False in here else len(here)
    return sum(here) / len(here), unbroken / len(here)


def file(view: FileView) -> dict[str, Any]:
    """A file of a download."""
    return {
        "index": view.index,
        "name": "/".join(view.path),
        "size": view.size,
        "included": view.priority > 0,
        "progress": view.progress,
    }


def pieces(bitfield: bytes) -> str:
    """Which pieces are here: base64 of a bitfield whose first bit is the highest."""
    return base64.b64encode(bitfield).decode()


def peer(link: LinkView) -> dict[str, Any]:
    """A peer of a download: `u` is what goes to it and `d` what comes from it."""
    called = link.id or f"{link.host}:{link.port}"
    return {
        "id": hashlib.sha1(called.encode(), usedforsecurity=False).hexdigest(),
        "extended_version": link.client,
        "ip": link.host,
        "port": link.port,
        "optimistic": False,
        "direction": "L" if link.outgoing else "R",
        "uprate": link.rate_up,
        "uinterested": link.it_is_interested,
        "uchoked": link.it_is_choked,
        "uhasqueries": link.rate_up > 0,
        "uflushed": link.rate_up > 0,
        "downrate": link.rate_down,
        "dinterested": link.we_are_interested,
        "dchoked": link.we_are_choked,
        "snubbed": link.snubbed,
        "utotal": link.sent,
        "dtotal": link.received,
        "completed": link.completed,
        "speed": link.rate_up,
        "connection_type": 1 if link.origin else 0,
        "seed": link.seed,
        "upload_only": link.seed,
        "rstate": _BUSY if link.rate_down else _IDLE,
        "wstate": _BUSY if link.rate_up else _IDLE,
    }


def tracker(state: TrackerState) -> dict[str, Any]:
    """A tracker of a download, and how the last announce to it went."""
    announces = [announce for end in state.endpoints for announce in end.states]
    counted = [(each.complete or 0) + (each.incomplete or 0) for each in announces]
    return {"url": state.url, "peers": max(counted, default=0), "status": _fared(announces)}


def _fared(announces: Sequence[AnnounceState]) -> str:
    working = [each for each in announces if each.start_sent and not each.fails]
    if working:
        warning = next((each.message for each in working if each.message), "")
        return f"Warning: {warning}" if warning else "Working"
    failed = next((each for each in announces if each.fails), None)
    return _failed(failed) if failed else "Not contacted yet"


def _failed(announce: AnnounceState) -> str:
    reason = announce.last_error or ""
    if "timed out" in reason:
        return "Timeout"
    # A web server's words for a status are no message of the tracker.
    if status := _HTTP_STATUS.match(reason):
        return f"HTTP status code {status[1]}"
    said = announce.message or reason
    return f"Error: {said}" if said else "Not working"
