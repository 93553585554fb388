"""What happens on a node as Porla's server-sent events."""

import json
from collections.abc import Callable
from typing import Any

from twisted.web.server import Request

from p2pd.errors import NotFound
from p2pd.frontends.control import Control
from p2pd.frontends.jsonrpc_hashes import hashes_of_job
from p2pd.frontends.jsonrpc_methods import SESSION
from p2pd.node.events import Happening, Kind

HELLO = b"event: hello\ndata: {}\n\n"

_NAMES = {
    Kind.ADDED: "torrent_added",
    Kind.PAUSED: "torrent_paused",
    Kind.REMOVED: "torrent_removed",
    Kind.RESUMED: "torrent_resumed",
}
_STATE = "state_update"


def renderer(control: Control) -> Callable[[Happening], bytes | None]:
    """Return what words happenings; those that no download is the subject of are left out."""

    def render(happening: Happening) -> bytes | None:
        if not happening.id:
            return None
        hashes = _hashes(control, happening.id)
        name = _NAMES.get(happening.kind, _STATE)
        data: dict[str, Any] = {"session": SESSION}
        data |= {"info_hashes": [hashes]} if name == _STATE else {"info_hash": hashes}
        return f"id: {happening.number}\nevent: {name}\ndata: {json.dumps(data)}\n\n".encode()

    return render


def _hashes(control: Control, id_: str) -> list[str | None]:
    """The pair of a download; of one that is gone, as far as it is known."""
    try:
        return hashes_of_job(control.downloads.find(id_))
    except NotFound:
        return [id_, None]


def last_seen(request: Request) -> int | None:
    """Return the number in `Last-Event-ID`, if there is one."""
    given = request.getHeader(b"last-event-id") or b""
    return int(given) if given.isdigit() and len(given) < 20 else None
