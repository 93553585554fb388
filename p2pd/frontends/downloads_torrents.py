"""The downloads API: looking into a torrent before it is begun, and making one."""

import base64
from http import HTTPStatus
from typing import Any

from twisted.web.server import Request

from p2pd.errors import Invalid, NotFound, Unavailable
from p2pd.frontends import forms, kit
from p2pd.frontends.authorisation import Policy
from p2pd.frontends.control import Control
from p2pd.frontends.downloads_dialect import error, make_api, say
from p2pd.frontends.downloads_fields import (
    INVALID_URI,
    NOT_ANONYMOUS,
    asks_for_hops,
    names_a_source,
)
from p2pd.frontends.kit import Reply
from p2pd.metainfo.magnet import parse_magnet
from p2pd.metainfo.torrent import Torrent

_MAGNET = "magnet:"

info_api = make_api("/torrentinfo")
create_api = make_api("/createtorrent")


@info_api.route("", policy=Policy.CONTROL)
async def torrent_info(control: Control, request: Request) -> Reply:
    """What is in the torrent that a `uri` leads to."""
    arguments = forms.arguments(request)
    uri = arguments.text("uri")
    if not uri:
        raise Invalid("uri parameter missing")
    if asks_for_hops(arguments, "hops"):
        raise Invalid(NOT_ANONYMOUS)
    if not names_a_source(uri):
        raise Invalid(INVALID_URI)
    magnet = uri.lower().startswith(_MAGNET)
    if magnet:
        _check_magnet(uri)
    try:
        torrent = await control.downloads.inspect(uri)
    except (Invalid, NotFound, Unavailable) as refusal:
        if magnet and isinstance(refusal, Unavailable):
            return error(HTTPStatus.REQUEST_TIMEOUT, "timeout")
        return error(HTTPStatus.INTERNAL_SERVER_ERROR, refusal.reason)
    known = control.downloads.by_infohash(torrent.infohash) is not None
    return say(metainfo={**metainfo_to_wire(torrent), "download_exists": known})


def _check_magnet(uri: str) -> None:
    try:
        parse_magnet(uri)
    except Invalid:
        raise Invalid("missing infohash") from None


def metainfo_to_wire(torrent: Torrent) -> dict[str, Any]:
    """Metainfo as JSON, with the names of its keys; digests are left out."""
    files = [
        {"length": file.length, "path": [*file.path]} for file in torrent.files if not file.padding
    ]
    content = {"length": torrent.size} if torrent.single_file else {"files": files}
    return {
        "info": {"name": torrent.name, "piece length": torrent.piece_length, **content},
        "infohash": torrent.infohash.hex(),
        "announce": torrent.trackers[0][0] if torrent.trackers else "",
        "announce-list": [[*tier] for tier in torrent.trackers],
        "url-list": [*torrent.web_seeds],
    }


@create_api.route("", policy=Policy.CONTROL, methods=("POST",))
async def create_torrent(control: Control, request: Request) -> Reply:
    """Make a .torrent of files of this machine, and share them if `?download=1`."""
    form = forms.read(request)
    paths = [path for path in form.texts("files") if path]
    if not paths:
        raise Invalid("files parameter missing")
    made = await control.downloads.create(
        paths,
        name=form.text("name"),
        trackers=[url for url in form.texts("trackers") if url],
        comment=form.text("description"),
        download=kit.query(request, "download") == "1",
    )
    return say(torrent=base64.b64encode(made).decode())
