"""Makes the views of downloads that APIs print, of what is there at this moment."""

import ipaddress
import os
from collections.abc import Iterable

from p2pd.node.download import Download
from p2pd.node.download_views import Counters, DownloadView, FileView, LinkView, Statistics
from p2pd.node.entry import Entry
from p2pd.node.job import Job
from p2pd.swarm.lifecycle import State
from p2pd.swarm.rates import eta
from p2pd.swarm.transfer import PeerFacts, Transfer

_UNFINISHED = {State.PAUSED: "paused", State.QUEUED: "queued"}

Scrape = tuple[int | None, int | None]
"""Seeds and other peers of a torrent, as trackers know them; None if they do not."""


def view_job(
    job: Job, download: Download | None, now: float, known: Scrape = (None, None)
) -> DownloadView:
    """Look at a download, at what fetches it while something does, and at what trackers know."""
    entry = job.entry
    transfer = download.transfer if download else None
    options = job.options
    torrent = entry.torrent if entry else None
    linked = transfer.peers() if transfer else []
    pieces = torrent.piece_count if torrent else 0
    seeds = sum(1 for peer in linked if peer.pieces_held == pieces)
    names = {peer.peer for peer in linked}
    if entry is not None:
        names.update(_reading(entry, now))
    others = len(names) - seeds
    path = str(entry.content.path) if entry else ""
    size = torrent.size if torrent else job.total or 0
    wanted = entry.wanted_size if entry else size
    left = entry.wanted_left if entry else max(size - job.received, 0)
    done = max(wanted - left, 0)
    speed = transfer.rate(now) if transfer else 0.0
    downloaded = entry.downloaded if entry else job.received
    uploaded = entry.uploaded if entry else 0
    return DownloadView(
        id=job.id,
        known=job.infohash is not None,
        infohash=job.infohash,
        v2=(torrent.v2_infohash or None) if torrent else None,
        tid=job.tid,
        source=job.shown_source,
        name=job.name,
        filename=entry.filename if entry else "",
        path=path,
        directory=os.path.dirname(path) if entry else options.destination,  # noqa: PTH120 - quick
        state=job.state,
        error=job.error,
        complete=job.complete,
        partial=entry is not None and entry.wanted_files is not None,
        streaming=entry is not None and entry.playing > 0,
        progress=_progress(job, wanted, done),
        size=size,
        wanted=wanted,
        wanted_done=done,
        left=min(left, wanted),
        piece_length=torrent.piece_length if torrent else 0,
        pieces=pieces,
        pieces_held=entry.held.count if entry else 0,
        downloaded=downloaded,
        uploaded=uploaded,
        session_downloaded=downloaded - (entry.downloaded_before if entry else 0),
        session_uploaded=uploaded - (entry.uploaded_before if entry else 0),
        last_received=entry.last_received if entry else None,
        last_sent=entry.last_sent if entry else None,
        ratio=uploaded / downloaded if downloaded else 0.0,
        speed_down=speed,
        speed_up=entry.upload_speed.rate(now) if entry else 0.0,
        eta=eta(left, speed),
        peers=max(known[1] or 0, others),
        seeds=max(known[0] or 0, seeds),
        connected_peers=others,
        connected_seeds=seeds,
        availability=_availability(entry, transfer),
        added=job.added,
        started=job.started,
        finished=entry.finished if entry else None,
        paused_at=job.paused_at,
        elapsed=job.elapsed(now),
        seeding_time=job.seeding_time(now),
        position=job.position,
        upload_limit=options.upload_limit,
        download_limit=options.download_limit,
        max_connections=options.max_connections,
        max_uploads=options.max_uploads,
        sequential=options.sequential,
        seeding=options.seeding,
        category=options.category,
        tags=options.tags,
        metadata=options.metadata,
        safe_seeding=options.safe_seeding,
        private=torrent.private if torrent else False,
        comment=torrent.comment if torrent else "",
        log=tuple(job.log),
    )


def _progress(job: Job, wanted: int, done: int) -> float:
    entry = job.entry
    if entry is None:
        return job.received / job.total if job.total else 0.0
    if entry.state is State.CHECKING:
        return entry.held.count / (entry.torrent.piece_count or 1)
    return done / wanted if wanted else 1.0


def _availability(entry: Entry | None, transfer: Transfer | None) -> float:
    """Whole copies in sight, and the part of the pieces of which there is one more."""
    if entry is None or not entry.torrent.piece_count:
        return 0.0
    if transfer is None:
        return entry.held.count / entry.torrent.piece_count
    return transfer.copies()


def view_files(entry: Entry) -> list[FileView]:
    """Look at each file of a torrent, padding left out."""
    priorities = entry.priorities
    root = str(entry.content.path)
    views = []
    for index, file in enumerate(entry.files):
        pieces = entry.torrent.pieces_of(file)
        views.append(
            FileView(
                index=index,
                path=file.path,
                place=root if entry.torrent.single_file else "/".join((root, *file.path)),
                size=file.length,
                done=_done(entry, pieces, file.offset, file.end),
                priority=priorities[index],
                first_piece=pieces.start,
                last_piece=max(pieces.stop - 1, pieces.start),
            )
        )
    return views


def _done(entry: Entry, pieces: range, start: int, end: int) -> int:
    """The bytes of a file in pieces that are here."""
    if entry.held.complete or not pieces:
        return end - start
    length = entry.torrent.piece_length
    return sum(
        min(end, (index + 1) * length) - max(start, index * length)
        for index in pieces
        if index in entry.held
    )


def view_links(entry: Entry, download: Download | None, now: float) -> list[LinkView]:
    """Look at each peer: those that we fetch from, and those that fetch from us."""
    linked = download.transfer.peers() if download else []
    named = {peer.peer for peer in linked}
    incoming = [name for name in _reading(entry, now) if name not in named]
    return [_outgoing(entry, peer, now) for peer in linked] + [
        _incoming(entry, name, now) for name in incoming
    ]


def _outgoing(entry: Entry, peer: PeerFacts, now: float) -> LinkView:
    reader = entry.readers.get(peer.peer)
    up = reader.rate(now) if reader else 0.0
    host, _, port = peer.peer.rpartition(":")
    part = peer.pieces_held / (entry.torrent.piece_count or 1)
    return LinkView(
        id=peer.peer,
        host=peer.peer if peer.origin else host.strip("[]"),
        port=int(port) if port.isdigit() and not peer.origin else 0,
        client="" if peer.origin else "p2pd",
        outgoing=True,
        origin=peer.origin,
        seed=part == 1.0,
        completed=part,
        rate_down=peer.rate if peer.in_flight else 0.0,
        rate_up=up,
        received=peer.received_bytes,
        sent=entry.sent_to.get(peer.peer, 0),
        we_are_interested=peer.pieces_held > 0 and not entry.held.complete,
        we_are_choked=peer.backing_off_until is not None,
        it_is_interested=up > 0,
        it_is_choked=False,
        snubbed=peer.failures > 0 and not peer.in_flight,
        failures=peer.failures,
        banned=peer.banned,
    )


def _reading(entry: Entry, now: float) -> list[str]:
    """Who got something from here within the last seconds."""
    return [name for name, speed in entry.readers.items() if speed.rate(now) > 0]


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _incoming(entry: Entry, name: str, now: float) -> LinkView:
    return LinkView(
        id=name,
        host=name if _is_address(name) else "",
        port=0,
        client="p2pd",
        outgoing=False,
        origin=False,
        seed=False,
        completed=min(entry.sent_to[name] / (entry.torrent.length or 1), 1.0),
        rate_down=0.0,
        rate_up=entry.readers[name].rate(now),
        received=0,
        sent=entry.sent_to[name],
        we_are_interested=False,
        we_are_choked=False,
        it_is_interested=True,
        it_is_choked=False,
        snubbed=False,
        failures=0,
        banned=False,
    )


def sum_up(
    views: Iterable[DownloadView], started: float, now: float, database_bytes: int
) -> Statistics:
    """Look at all downloads together, of a node that started at some time."""
    every = list(views)
    return Statistics(
        started=started,
        uptime=now - started,
        speed_down=sum(view.speed_down for view in every),
        speed_up=sum(view.speed_up for view in every),
        session_downloaded=sum(view.session_downloaded for view in every),
        session_uploaded=sum(view.session_uploaded for view in every),
        downloaded=sum(view.downloaded for view in every),
        uploaded=sum(view.uploaded for view in every),
        downloads=len(every),
        peers=sum(view.connected_peers + view.connected_seeds for view in every),
        database_bytes=database_bytes,
    )


def count(jobs: Iterable[Job]) -> Counters:
    """Count downloads by what they do; one that is finished counts so even when it is halted."""
    counts = dict.fromkeys(Counters.__slots__, 0)
    for job in jobs:
        counts["total"] += 1
        counts[_kind(job)] += 1
    return Counters(**counts)


def _kind(job: Job) -> str:
    kinds = {State.FAILED: "failed", State.COMPLETE: "seeding", State.CHECKING: "checking"}
    if job.complete:
        return kinds.get(job.state, "finished")
    return (kinds | _UNFINISHED).get(job.state, "downloading")
