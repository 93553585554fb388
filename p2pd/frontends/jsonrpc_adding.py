"""`torrents.add`: a torrent from its metainfo or from a magnet link."""

import base64
from typing import Any
from urllib.parse import quote

from p2pd.errors import Invalid, Refusal
from p2pd.frontends.authorisation import Policy
from p2pd.frontends.control import Control
from p2pd.frontends.jsonrpc_envelope import RpcError
from p2pd.frontends.jsonrpc_hashes import hashes_of_job
from p2pd.frontends.jsonrpc_methods import Methods, Params, into
from p2pd.metainfo.bencode import Malformed
from p2pd.metainfo.ids import InfoHash
from p2pd.metainfo.magnet import parse_magnet
from p2pd.node.options import DownloadOptions, TrackerChoice, TrackerSource

NO_BENCODE = -1
NO_TORRENT = -2
PRESENT = BAD_MAGNET = -3
MISSING = -4
FAILED = -5
NO_SUCH_SESSION = -10

methods = Methods()


@methods.method(
    "torrents.add",
    Policy.CONTROL,
    "ti",
    "save_path",
    "magnet_uri",
    "name",
    "trackers",
    "url_seeds",
    "http_seeds",
    "download_limit",
    "upload_limit",
    "max_connections",
    "max_uploads",
    "category",
    "tags",
    "metadata",
    "preset",
    "session",
    "session_id",
)
async def add(control: Control, params: Params) -> dict[str, Any]:
    """Begin a download.

    There are no presets, so `preset` changes nothing.  `http_seeds` (BEP 17) are refused, for
    nothing here speaks to them.
    """
    params.check_session("session", "session_id", code=NO_SUCH_SESSION)
    source = await _source(control, params)
    if not params.text("save_path", ""):
        raise RpcError(MISSING, "'save_path' missing")
    if params.texts("http_seeds"):
        raise RpcError(FAILED, "http_seeds (BEP 17) are not supported: give url_seeds (BEP 19)")
    options = _options(params)
    try:
        job = await control.downloads.add(source, options)
    except Refusal as refusal:
        raise RpcError(FAILED, f"Failed to add torrent to session: {refusal.reason}") from refusal
    return {"info_hash": hashes_of_job(job)}


async def _source(control: Control, params: Params) -> bytes | str:
    """The metainfo or the magnet link that is given."""
    if "ti" in params:
        return await _metainfo(control, params.long_text("ti"))
    if "magnet_uri" in params:
        return _magnet(control, params.text("magnet_uri"), params.text("name", ""))
    raise RpcError(MISSING, "Either 'ti' or 'magnet_uri' must be set")


async def _metainfo(control: Control, encoded: str) -> bytes:
    try:
        body = base64.b64decode(encoded)
        torrent = await control.downloads.node.parse(body)
    except (ValueError, Malformed) as error:
        raise RpcError(NO_BENCODE, f"Failed to bdecode 'ti' parameter: {error}") from error
    except Invalid as error:
        wrong = "Failed to parse torrent_info from bdecoded data"
        raise RpcError(NO_TORRENT, f"{wrong}: {error.reason}") from error
    _check_new(control, torrent.infohash)
    return body


def _magnet(control: Control, uri: str, name: str) -> str:
    """A magnet link, with a name for the time until the torrent tells its own."""
    try:
        magnet = parse_magnet(uri)
    except Invalid as error:
        wrong = "Could not parse 'magnet_uri' param"
        raise RpcError(BAD_MAGNET, f"{wrong}: {error.reason}") from error
    _check_new(control, magnet.infohash)
    return f"{uri}&dn={quote(name)}" if name and not magnet.name else uri


def _check_new(control: Control, infohash: InfoHash) -> None:
    if control.downloads.by_infohash(infohash):
        raise RpcError(PRESENT, "Torrent already in session")


def _options(params: Params) -> DownloadOptions:
    # libtorrent numbers trackers that come so as those of a magnet link.
    trackers = params.texts("trackers")
    return DownloadOptions(
        destination=into(params.text("save_path")),
        download_limit=params.limit("download_limit"),
        upload_limit=params.limit("upload_limit"),
        max_connections=params.limit("max_connections"),
        max_uploads=params.limit("max_uploads"),
        category=params.text("category", ""),
        tags=tuple(dict.fromkeys(params.texts("tags"))),
        metadata=params.table("metadata"),
        trackers=tuple(TrackerChoice(url, 0, TrackerSource.MAGNET) for url in trackers),
        web_seeds=params.texts("url_seeds"),
    )
