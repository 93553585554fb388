"""The downloads API: what happens, as it happens, a line of JSON each or as server-sent events."""

from collections.abc import Callable, Mapping
from typing import Any

from twisted.web.server import Request

import p2pd
from p2pd import background
from p2pd.frontends import json_text
from p2pd.frontends.authorisation import Policy
from p2pd.frontends.control import Control
from p2pd.frontends.downloads_dialect import make_api
from p2pd.frontends.downloads_wire import status_of
from p2pd.frontends.event_stream import LINES, LINES_BEAT, SSE, SSE_BEAT, EventStream
from p2pd.node.events import Happening, Kind
from p2pd.swarm.lifecycle import State

api = make_api("/events")


@api.route("", policy=Policy.READ)
async def events(control: Control, request: Request) -> EventStream:
    """Tell what happens from now on, once all that an earlier run left is back."""
    downloads = control.downloads
    await background.joined(downloads.loaded)
    wanted = request.getHeader("accept") or ""
    served = "text/event-stream" in wanted.lower()
    write = _sse if served else _line
    first = write("events_start", {"tribler_started": True, "version": p2pd.__version__})
    return EventStream(
        downloads.events,
        lambda happening: _told(happening, write),
        content_type=SSE if served else LINES,
        first=first,
        since=None,
        beat=SSE_BEAT if served else LINES_BEAT,
        clock=downloads.node.uplink.clock,
    )


def _line(kind: str, event: Mapping[str, Any]) -> bytes:
    return json_text.write({"type": kind, "event": event})


def _sse(kind: str, event: Mapping[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n" % (kind.encode(), json_text.write(event))


def _told(happening: Happening, write: Callable[[str, Mapping[str, Any]], bytes]) -> bytes | None:
    told = to_wire(happening)
    return write(*told) if told else None


def to_wire(happening: Happening) -> tuple[str, dict[str, Any]] | None:
    """The type and the event that this API has for a happening; None if it has none."""
    facts = happening.facts
    match happening.kind:
        case Kind.FINISHED:
            finished = {"infohash": happening.id, "name": happening.name, "hidden": False}
            return "torrent_finished", finished
        case Kind.FAILED:
            return "torrent_error", {"infohash": happening.id, "error": facts.get("reason", "")}
        case Kind.MOVED_ON:
            status = status_of(State(facts["state"]))
            return "torrent_status_changed", {"infohash": happening.id, "status": status}
        case Kind.LOW_SPACE:
            return "low_space", {"disk_usage_data": dict(facts)}
        case Kind.SHUTDOWN:
            return "shutdown", {"state": "shutting down"}
    return None
