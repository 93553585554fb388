"""How JSON-RPC names torrents: by a pair of infohashes, of version 1 and of version 2 (BEP 52)."""

import re
from typing import Any

from p2pd.errors import NotFound
from p2pd.frontends.control import Control
from p2pd.frontends.jsonrpc_envelope import RpcError
from p2pd.frontends.jsonrpc_methods import NO_SUCH_TORRENT, Params
from p2pd.node.download_views import DownloadView
from p2pd.node.job import Job

_V1 = re.compile(r"[0-9A-Fa-f]{40}")
_V2 = re.compile(r"[0-9A-Fa-f]{64}")


def hashes_of(view: DownloadView) -> list[str | None]:
    """The pair that names a download; first what stands for its infohash if that is not known."""
    return [view.id, view.v2.hex() if view.v2 else None]


def hashes_of_job(job: Job) -> list[str | None]:
    """The same of a download that is not looked at any closer."""
    v2 = job.entry.torrent.v2_infohash if job.entry else b""
    return [job.id, v2.hex() or None]


def find_torrent(control: Control, params: Params) -> Job:
    """The download that `info_hash` names; RpcError if there is none."""
    params.check_session("session", "session_id")
    return torrent_of(control, params.value("info_hash"))


def torrent_of(control: Control, given: Any) -> Job:
    """The download with these hashes: one as text, or both in a list, either of them null.

    What is no hash names no torrent, so this is the one error: an RpcError.
    """
    v1, v2 = _read(given)
    downloads = control.downloads
    if v1:
        try:
            return downloads.find(v1.lower())
        except NotFound:
            raise _missing() from None
    for job in downloads.jobs() if v2 else ():
        if job.entry is not None and job.entry.torrent.v2_infohash.hex() == v2.lower():
            return job
    raise _missing()


def _read(given: Any) -> tuple[str, str]:
    if isinstance(given, str):
        given = [given, None] if _V1.fullmatch(given) else [None, given]
    if not isinstance(given, list) or len(given) != 2:
        return "", ""
    v1, v2 = given
    if any(
        one is not None and not (isinstance(one, str) and form.fullmatch(one))
        for one, form in ((v1, _V1), (v2, _V2))
    ):
        return "", ""
    return v1 or "", v2 or ""


def _missing() -> RpcError:
    return RpcError(NO_SUCH_TORRENT, "Torrent not found in any session")
