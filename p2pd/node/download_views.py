"""Frozen snapshots of downloads, for the APIs that drive a node to print.

What is listed of each download is a named tuple: with so many fields that is made faster.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from p2pd.metainfo.ids import InfoHash
from p2pd.node.job import Line
from p2pd.node.options import SeedingRule
from p2pd.swarm.lifecycle import State


class DownloadView(NamedTuple):
    """One download; sizes in bytes, speeds and limits in bytes/s, times in Unix seconds.

    `id` is the infohash, or what stands for it before that is known (`known` tells).  `v2` is
    the SHA-256 infohash of a torrent that has one (BEP 52).  `progress` is that of what it does
    now, 0 to 1: of checking while it checks, else of what is wanted.  `wanted` counts the bytes
    of the wanted files, `wanted_done` those of them that are here and verified; `left` is the
    rest.  `downloaded` and `uploaded` are of all time, `session_…` since the node's start; bytes
    last came at `last_received` and last went at `last_sent`, None if never since then.
    `eta` is None when nothing moves.  `peers` and `seeds` are known ones, `connected_…` those
    linked now.  `availability` is the number of complete copies in sight, and the fraction of
    pieces that there is one more of.  `partial` says that files are left out,
    `streaming` that somebody reads a file in order.
    """

    id: str
    known: bool
    infohash: InfoHash | None
    v2: bytes | None
    tid: str
    source: str
    name: str
    filename: str
    path: str
    directory: str
    state: State
    error: str
    complete: bool
    partial: bool
    streaming: bool
    progress: float
    size: int
    wanted: int
    wanted_done: int
    left: int
    piece_length: int
    pieces: int
    pieces_held: int
    downloaded: int
    uploaded: int
    session_downloaded: int
    session_uploaded: int
    last_received: float | None
    last_sent: float | None
    ratio: float
    speed_down: float
    speed_up: float
    eta: float | None
    peers: int
    seeds: int
    connected_peers: int
    connected_seeds: int
    availability: float
    added: float
    started: float | None
    finished: float | None
    paused_at: float | None
    elapsed: float
    seeding_time: float
    position: int
    upload_limit: int
    download_limit: int
    max_connections: int
    max_uploads: int
    sequential: bool
    seeding: SeedingRule | None
    category: str
    tags: tuple[str, ...]
    metadata: Mapping[str, Any]
    safe_seeding: bool
    private: bool
    comment: str
    log: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class FileView:
    """One file of a download, padding left out; `path` is below the download's own directory.

    `done` counts the bytes that are here and verified; `priority` 0 is not wanted.
    """

    index: int
    path: tuple[str, ...]
    place: str
    size: int
    done: int
    priority: int
    first_piece: int
    last_piece: int

    @property
    def progress(self) -> float:
        """The part that is here, 0 to 1."""
        return self.done / self.size if self.size else 1.0


@dataclass(frozen=True, slots=True)
class LinkView:
    """One peer of a download, whichever side called; rates in bytes/s.

    `id` is the name that it gives itself, `completed` 0 to 1.  `outgoing`: we called it.
    `origin`: a web server with the whole content.  `interested` and `choked` are ours in it and
    its towards us; `snubbed` says that it lets us wait.
    """

    id: str
    host: str
    port: int
    client: str
    outgoing: bool
    origin: bool
    seed: bool
    completed: float
    rate_down: float
    rate_up: float
    received: int
    sent: int
    we_are_interested: bool
    we_are_choked: bool
    it_is_interested: bool
    it_is_choked: bool
    snubbed: bool
    failures: int
    banned: bool


@dataclass(frozen=True, slots=True)
class Counters:
    """How many downloads there are, in all and of each kind."""

    total: int
    downloading: int
    seeding: int
    paused: int
    finished: int
    queued: int
    checking: int
    failed: int


@dataclass(frozen=True, slots=True)
class Statistics:
    """The node as a whole; rates in bytes/s, sizes in bytes, times in Unix seconds."""

    started: float
    uptime: float
    speed_down: float
    speed_up: float
    session_downloaded: int
    session_uploaded: int
    downloaded: int
    uploaded: int
    downloads: int
    peers: int
    database_bytes: int


@dataclass(frozen=True, slots=True)
class Space:
    """Room on the file system of a path, in bytes."""

    path: str
    capacity: int
    free: int
    available: int
