"""`torrents.trackers.list` and `torrents.trackers.add`: trackers in libtorrent's words."""

from typing import Any

from p2pd.frontends.authorisation import Policy
from p2pd.frontends.control import Control
from p2pd.frontends.jsonrpc_hashes import find_torrent
from p2pd.frontends.jsonrpc_methods import Methods, Params
from p2pd.swarm.tracker_list import AnnounceState, TrackerEndpoint, TrackerState

UNSET = -(2**31)
"""What stands for a time that is not known."""

_UNKNOWN = -1
_MOST_TIERS = 255

methods = Methods()


@methods.method("torrents.trackers.list", Policy.READ, "info_hash", "session_id")
async def list_trackers(control: Control, params: Params) -> dict[str, Any]:
    """Show the trackers of a torrent, and how announces to each went."""
    job = find_torrent(control, params)
    return {"trackers": [tracker_to_wire(one) for one in control.downloads.trackers(job)]}


@methods.method("torrents.trackers.add", Policy.CONTROL, "info_hash", "url", "tier", "session_id")
async def add_tracker(control: Control, params: Params) -> None:
    """Announce to one more tracker."""
    job = find_torrent(control, params)
    tier = min(params.whole("tier", 0), _MOST_TIERS)
    await control.downloads.add_trackers(job, [params.text("url")], tier)


def tracker_to_wire(tracker: TrackerState) -> dict[str, Any]:
    """A tracker as JSON."""
    return {
        "endpoints": [_endpoint_to_wire(endpoint) for endpoint in tracker.endpoints],
        "fail_limit": tracker.fail_limit,
        "source": int(tracker.source),
        "tier": tracker.tier,
        "trackerid": tracker.tracker_id,
        "url": tracker.url,
        "verified": tracker.verified,
    }


def _endpoint_to_wire(endpoint: TrackerEndpoint) -> dict[str, Any]:
    return {
        "enabled": endpoint.enabled,
        "info_hashes": [_announces_to_wire(endpoint.v1), _announces_to_wire(endpoint.v2)],
        "local_endpoint": [endpoint.host, endpoint.port],
    }


def _announces_to_wire(state: AnnounceState) -> dict[str, Any]:
    return {
        "complete_sent": state.complete_sent,
        "fails": state.fails,
        "last_error": state.last_error,
        "message": state.message,
        "min_announce": _time(state.min_announce),
        "next_announce": _time(state.next_announce),
        "scrape_complete": _count(state.complete),
        "scrape_downloaded": _count(state.downloaded),
        "scrape_incomplete": _count(state.incomplete),
        "start_sent": state.start_sent,
        "updating": state.updating,
    }


def _time(seconds: float | None) -> int:
    return UNSET if seconds is None else int(seconds)


def _count(number: int | None) -> int:
    return _UNKNOWN if number is None else number
