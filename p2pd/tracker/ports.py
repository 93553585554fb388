"""What a tracker needs from outside, and the frozen values it gives its frontends."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from p2pd.metainfo.ids import Address, InfoHash, NodeId
from p2pd.metainfo.torrent import Torrent


@dataclass(frozen=True, slots=True)
class TorrentRow:
    """A torrent as the catalog keeps it; `added` is in Unix seconds."""

    infohash: InfoHash
    metainfo: bytes
    web_seeds: tuple[str, ...]
    added: float
    completed: int


@dataclass(frozen=True, slots=True)
class NameRow:
    """Which torrent a filename means now, and whether that came from the origin."""

    filename: str
    infohash: InfoHash
    from_origin: bool


class CatalogTable(Protocol):
    """Where the catalog survives a restart; each method is one transaction."""

    async def load(self) -> tuple[list[TorrentRow], list[NameRow]]:
        """All torrents in the order they were added, and all names."""

    async def put(self, torrent: TorrentRow, name: NameRow) -> None:
        """Write or overwrite a torrent and give it that name, taken from whichever had it."""

    async def count(self, completed: Mapping[InfoHash, int]) -> None:
        """Write the numbers of completed downloads; unknown torrents are ignored."""

    async def remove(self, infohash: InfoHash) -> None:
        """Delete a torrent and its names, if there is one."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a tracker remembers; what comes beyond is refused with `Unavailable`.

    `nodes` counts live and recently seen ones, `pieces` those of all torrents together,
    `reports` single pieces reported one by one, `held_bytes` the bitfields of all swarms.
    """

    nodes: int = 100_000
    torrents: int = 10_000
    pieces: int = 4_000_000
    reports: int = 1_000_000
    held_bytes: int = 1 << 30


@dataclass(frozen=True, slots=True)
class Resolved:
    """A torrent, the name it goes by, and the URLs that serve its bytes (BEP 19)."""

    torrent: Torrent
    filename: str
    web_seeds: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FileView:
    """A file by the name it can be asked for; sizes in bytes, `added` in Unix seconds."""

    filename: str
    infohash: InfoHash
    size: int
    pieces: int
    piece_length: int
    added: float
    completed: int
    seeds: int
    leeches: int
    web_seeds: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PieceView:
    """A piece of a catalogued torrent; `offset` and `size` in bytes, `piece_id` in hex."""

    piece_id: str
    filename: str
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class TrackerView:
    """All that a tracker knows; times of the last heart beat in Unix milliseconds."""

    sessions: tuple[tuple[NodeId, int], ...]
    nodes: tuple[tuple[NodeId, Address], ...]
    piece_nodes: tuple[tuple[str, tuple[NodeId, ...]], ...]
    pieces: tuple[PieceView, ...]
