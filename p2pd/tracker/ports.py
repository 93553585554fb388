"""What a tracker needs from outside, and the frozen values it gives its frontends."""

from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from p2pd.metainfo.ids import Address, InfoHash, NodeId
from p2pd.metainfo.torrent import Torrent
from p2pd.tracker.records import Changes, SwarmRecord


@dataclass(frozen=True, slots=True)
class TorrentRow:
    """A torrent as the catalog keeps it; `added` is in Unix seconds."""

    infohash: InfoHash
    metainfo: bytes
    web_seeds: tuple[str, ...]
    added: float


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

    async def remove(self, infohash: InfoHash) -> None:
        """Delete a torrent and its names, if there is one."""


Mark = tuple[str, bytes]
"""How far a reader of `AdminTables` has come."""


class AdminTables(Protocol):
    """Where counts, lists, keys and users survive a restart; each method is one transaction."""

    async def load(self, after: Mark | None = None) -> tuple[Changes, Mark | None]:
        """The next portion after a mark, at first after None, and its mark; None: all is read."""

    async def write(self, changes: Changes) -> None:
        """Write all changes, or none."""


class SwarmFile(Protocol):
    """Where the swarms survive a restart."""

    async def write(self, portions: Iterator[bytes]) -> None:
        """Replace what is kept, or raise Unavailable and leave that as it was."""

    def read(self) -> AsyncGenerator[bytes, None]:
        """Give the portions that are kept, as far as they are undamaged."""


class PeerTable(Protocol):
    """The swarms of BitTorrent clients, and how often each torrent was completed.

    Infohashes and peer ids are 20 bytes, addresses 6 or 18 (packed address and port). IPv4 and
    IPv6 clients are handed clients of their own kind, and counted together. A torrent goes with
    its last peer unless it was completed at least once or created by `put`.
    """

    nodes: Mapping[bytes, tuple[int, int]]
    """Live fleet nodes of each torrent, (complete, incomplete), counted in with the clients."""

    def announce(  # noqa: PLR0917 - called a million times: keywords cost
        self,
        infohash: bytes,
        address: bytes,
        peer_id: bytes,
        left: int,
        uploaded: int,
        downloaded: int,
        event: int,
        wanted: int,
    ) -> tuple[int, int, int, bytes]:
        """Note a client; return (complete, incomplete, downloaded, up to `wanted` others).

        One that has all (`left` 0) or is paused (BEP 21) hears only of those that lack
        something. `completed` counts once while a client is known. A stopped one hears of none.
        A new peer id of a known address is seen when it comes with an event. Byte counts are less
        than 2**64.
        """

    def scrape(self, infohash: bytes) -> tuple[int, int, int]:
        """Return (complete, downloaded, incomplete), zeros for an unknown torrent."""

    def tick(self, now: float) -> None:
        """Tell the table what time it is, in Unix seconds; at least every few seconds."""

    def sweep(self, most: int) -> None:
        """Look at the next `most` torrents, in a circle, for clients that are silent too long."""

    def record(self, infohash: bytes) -> SwarmRecord | None:
        """Return all that is known of a torrent, None for an unknown one."""

    def peer_ids(self, infohash: bytes, addresses: Sequence[bytes]) -> list[bytes | None]:
        """Return the peer id of each client of a torrent, None for those that are not there."""

    def put(self, infohash: bytes, completed: int | None) -> bool:
        """Create a torrent, or set its count; tell whether it is new. Its peers stay."""

    def count(self, infohash: bytes) -> None:
        """Count one completed download that was heard of elsewhere."""

    def remove(self, infohash: bytes) -> bool:
        """Forget a torrent and its peers; tell whether it was known."""

    def load(self, counts: Iterable[tuple[bytes, int]]) -> None:
        """Take in torrents as they were stored, and add what was counted meanwhile.

        `changes` does not tell of those that nothing was counted of.
        """

    def changes(self) -> dict[bytes, int | None]:
        """Return the counts that changed since the last call; None: the torrent is gone.

        Only torrents that outlive their last peer are told of.
        """

    def totals(self) -> tuple[int, int, int, int]:
        """Return how many torrents, seeds, leeches and completed downloads there are."""

    def dump(self) -> Iterator[bytes]:
        """Give the swarms in portions of up to about 100 KiB, for `restore`.

        Between two portions the table may change; what is given is whole in itself.
        """

    def restore(self, portion: bytes) -> None:
        """Take in what `dump` gave, less what has aged too much; raise Invalid if damaged."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a tracker remembers; what comes beyond is refused with `Unavailable`.

    `nodes` counts live and recently seen ones, `pieces` those of all torrents together,
    `reports` single pieces reported one by one, `held_bytes` the bitfields of all swarms, `claims`
    names that nodes are going to publish.
    """

    nodes: int = 100_000
    torrents: int = 10_000
    pieces: int = 4_000_000
    reports: int = 1_000_000
    held_bytes: int = 1 << 30
    claims: int = 10_000


@dataclass(frozen=True, slots=True)
class Resolved:
    """A torrent, the name it goes by, and the URLs that serve its bytes (BEP 19)."""

    torrent: Torrent
    filename: str
    web_seeds: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FileView:
    """A file by the name it can be asked for; sizes in bytes, `added` in Unix seconds.

    Seeds and leeches are nodes and BitTorrent clients together.
    """

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
