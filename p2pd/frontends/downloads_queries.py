"""The downloads API: what downloads there are, how each stands, its files and its .torrent."""

from typing import Any

from twisted.web.server import Request

from p2pd.frontends import downloads_wire as wire
from p2pd.frontends import kit
from p2pd.frontends.authorisation import Policy
from p2pd.frontends.control import Control
from p2pd.frontends.downloads_dialect import find, make_api, say
from p2pd.frontends.kit import Reply
from p2pd.node.downloads import Downloads
from p2pd.node.job import Job

TORRENT = b"application/x-bittorrent"

api = make_api("/downloads")


@api.route("", policy=Policy.READ)
async def listed(control: Control, request: Request) -> Reply:
    """All downloads in the order of the queue, but the one `excluded`.

    Flags ask for more of each, or of the one with `infohash`.
    """
    downloads = control.downloads
    flags = _flags(request)
    only, excluded = (_name(request, argument) for argument in ("infohash", "excluded"))
    jobs = downloads.jobs()
    shown = [
        to_wire(downloads, job, flags if only in {"", job.id} else frozenset())
        for job in jobs
        if job.id != excluded
    ]
    loaded = downloads.loaded.called
    checkpoints = {"total": len(jobs), "loaded": len(jobs), "all_loaded": loaded}
    return say(downloads=shown, checkpoints=checkpoints)


@api.route("/<infohash>", policy=Policy.READ)
async def one(control: Control, request: Request, infohash: str) -> Reply:
    """One download; flags ask for more of it."""
    shown = to_wire(control.downloads, find(control, infohash), _flags(request))
    return say(download=shown)


@api.route("/<infohash>/files", policy=Policy.READ)
async def files(control: Control, _request: Request, infohash: str) -> Reply:
    """The files of a download; none as long as they are not known."""
    job = find(control, infohash)
    return say(infohash=job.id, files=[*map(wire.file, control.downloads.files(job))])


@api.route("/<infohash>/torrent", policy=Policy.READ)
async def torrent(control: Control, _request: Request, infohash: str) -> Reply:
    """The .torrent of a download."""
    job = find(control, infohash)
    name = f"attachment; filename={job.id}.torrent"
    return Reply(
        control.downloads.metainfo(job), TORRENT, headers={b"Content-Disposition": name.encode()}
    )


def to_wire(downloads: Downloads, job: Job, flags: frozenset[str]) -> dict[str, Any]:
    """A download as JSON, with what `flags` ask for."""
    view = downloads.view(job)
    head = None
    if view.streaming and not view.complete:
        head = wire.prebuffered(downloads.files(job), downloads.bitfield(job), view.pieces)
    shown = wire.download(view, downloads.trackers(job), downloads.settings, prebuffered=head)
    if "get_files" in flags:
        shown["files"] = [*map(wire.file, downloads.files(job))]
    if "get_pieces" in flags:
        shown["pieces"] = wire.pieces(downloads.bitfield(job))
    if "get_peers" in flags:
        shown["peers"] = [*map(wire.peer, downloads.links(job))]
    return shown


def _flags(request: Request) -> frozenset[str]:
    known = ("get_files", "get_pieces", "get_peers")
    return frozenset(flag for flag in known if kit.query(request, flag) == "1")


def _name(request: Request, argument: str) -> str:
    return (kit.query(request, argument) or "").lower()
