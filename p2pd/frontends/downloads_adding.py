"""The downloads API: beginning downloads, and forgetting them."""

import re
from http import HTTPStatus

from twisted.web.server import Request

from p2pd.errors import Invalid, NotFound, Refusal, Unavailable
from p2pd.frontends import forms, kit
from p2pd.frontends.authorisation import Policy
from p2pd.frontends.control import Control
from p2pd.frontends.downloads_dialect import error, failed, find, make_api, say
from p2pd.frontends.downloads_fields import (
    INVALID_URI,
    NOT_ANONYMOUS,
    asks_for_hops,
    chosen_files,
    names_a_source,
)
from p2pd.frontends.kit import TORRENT_BODY, Reply
from p2pd.node.options import DownloadOptions

_UNSAFE = "Cannot set anonymous download without safe seeding enabled"
# A form may begin with a `d` too, but not with a number after it.
_METAINFO = re.compile(rb"d[0-9]+:")

api = make_api("/downloads")


@api.route("", policy=Policy.CONTROL, methods=("PUT",), max_body=TORRENT_BODY)
async def add(control: Control, request: Request) -> Reply:
    """Begin what a `uri` leads to, or the .torrent that is the body; `anon_hops` are refused."""
    body = kit.read_body(request)
    metainfo = _METAINFO.match(body) is not None
    form = forms.arguments(request) if metainfo else forms.parse(body)
    uri = form.text("uri") or form.text("torrent")
    if not uri and not metainfo:
        raise Invalid("uri parameter missing")
    if asks_for_hops(form, "anon_hops"):
        raise Invalid(NOT_ANONYMOUS if form.says_yes("safe_seeding") else _UNSAFE)
    if not metainfo and not names_a_source(uri):
        return error(HTTPStatus.INTERNAL_SERVER_ERROR, INVALID_URI)
    options = DownloadOptions(
        destination=form.text("destination"),
        safe_seeding=form.says_yes("safe_seeding"),
        selected=chosen_files(form.all("selected_files")),
    )
    try:
        job = await control.downloads.add(body if metainfo else uri, options)
    except (Invalid, NotFound, Unavailable) as refusal:
        # Whatever does not lead to a torrent is a failure of the server to clients of this API.
        return error(HTTPStatus.INTERNAL_SERVER_ERROR, refusal.reason)
    return say(started=True, infohash=job.id)


@api.route("/<infohash>", policy=Policy.CONTROL, methods=("DELETE",))
async def remove(control: Control, request: Request, infohash: str) -> Reply:
    """Forget a download, and delete its files if `remove_data` says so beyond doubt."""
    form = forms.read(request)
    if "remove_data" not in form:
        raise Invalid("remove_data parameter missing")
    job = find(control, infohash)
    try:
        await control.downloads.remove(job, data=form.says_yes("remove_data"))
    except Refusal as refusal:
        return failed(refusal)
    return say(removed=True, infohash=job.id)
