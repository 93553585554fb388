"""What a node needs from outside: trackers, peers, a store; `links` and `store` fill these in."""

from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from p2pd.metainfo.bitfield import Bitfield
from p2pd.metainfo.ids import Address, InfoHash, NodeId
from p2pd.metainfo.torrent import Torrent
from p2pd.protocol.announcement import Announcement, Handout
from p2pd.swarm.rates import TokenBucket

Buffer = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True)
class Resolved:
    """A torrent as a tracker knows it, and the name it is published under."""

    torrent: Torrent
    filename: str
    web_seeds: tuple[str, ...] = ()


class TrackerLink(Protocol):
    """One tracker.  Every method raises `Unavailable` while the tracker cannot be reached."""

    @property
    def url(self) -> str:
        """Where the tracker is."""

    async def beat(self, node_id: NodeId, address: Address) -> str:
        """Say that the node lives; the tracker's instance id (it changes when it restarts)."""

    async def leave(self, node_id: NodeId) -> None:
        """Say that the node stops."""

    async def publish(self, torrent: Torrent, filename: str) -> None:
        """Make a torrent known under a name."""

    async def resolve(self, name: str) -> Resolved:
        """Find a torrent by filename or infohash; raises `NotFound`."""

    async def announce(self, announcement: Announcement) -> Handout:
        """Tell what the node holds of a torrent; learn who else does."""


class Follower(Protocol):
    """Hears what one peer holds of one torrent."""

    def peer_has_bitfield(self, peer: str, bitfield: Bitfield) -> None:
        """The peer holds exactly this."""

    def peer_has(self, peer: str, *indexes: int) -> None:
        """The peer has these pieces too."""

    def peer_promised(self, peer: str, *indexes: int) -> None:
        """Others are getting these pieces from the peer, and will have them soon."""

    def peer_lost(self, peer: str, index: int) -> None:
        """The peer has one piece less."""

    def peer_gone(self, peer: str, reason: str) -> None:
        """Nothing more will be heard of this peer."""


class Landing(Protocol):
    """Where the pieces of one fetch go, and at which rate."""

    @property
    def limit(self) -> TokenBucket:
        """The limit of the download that they are for."""

    def room(self, index: int) -> memoryview:
        """As many writable bytes as the piece has; asked for when its first ones come."""

    def received(self, index: int, count: int) -> None:
        """So many more bytes are in the room."""

    def landed(self, index: int) -> None:
        """The room is full; nobody has verified it."""


class PeerLink(Protocol):
    """One source of pieces: a node, a web seed."""

    @property
    def key(self) -> str:
        """The peer's address or URL."""

    @property
    def origin(self) -> bool:
        """Whether to ask it only for what no peer holds."""

    def follow(self, torrent: Torrent, follower: Follower) -> None:
        """Start telling `follower` what the peer holds, until `close`."""

    async def fetch(self, torrent: Torrent, indexes: Sequence[int], landing: Landing) -> None:
        """Get pieces, in this order, with one request: the first of them, as many as it gives.

        Raises `NotFound` if the peer does not hold the first piece that has not landed, `Busy`
        if it has too many others to serve, `Unavailable` on anything else; what landed before
        that stands.
        """

    def close(self) -> None:
        """Stop following; fetches under way are the caller's to cancel."""


class Dialer(Protocol):
    """Makes links; none of its methods waits."""

    def peer(self, address: Address, own: Address | None) -> PeerLink:
        """A link to the node at `address`, telling it that ours is reached at `own`."""

    def web_seed(self, url: str) -> PeerLink:
        """A link to an HTTP server that holds all of a torrent's files (BEP 19)."""


@dataclass(frozen=True, slots=True)
class Extent:
    """Some of a piece's bytes: in an open file, or in `memory` (`fileno` None)."""

    fileno: int | None
    offset: int
    length: int
    memory: Buffer = b""


class Content(Protocol):
    """One torrent's bytes: being written (partial), or published and complete.

    Every coroutine works off the reactor thread.  Raises `Unavailable`
    when the disk refuses (full, unwritable, unreadable), `Conflict` when published files are no
    longer what was published.
    """

    torrent: Torrent

    @property
    def path(self) -> Path:
        """Where the published file or directory is, or will be."""

    async def allocate(self) -> bool:
        """Make room beside the destination; True if partial files of an earlier run are there."""

    async def write(self, indexes: Iterable[int], data: Buffer) -> bool:
        """Verify a piece and put it in its places (all alike); False if its digest is wrong."""

    async def read(self, index: int, start: int = 0, length: int | None = None) -> bytes:
        """A range of a piece, padding included."""

    def locate(self, index: int, start: int, length: int) -> Generator[Extent, None, None]:
        """Open a range of a piece for a sender: an extent's file is open until the next step.

        What can be refused is refused at the call; close the generator when done.
        """

    async def check(self, indexes: Iterable[int], found: Callable[[int], object]) -> None:
        """Digest pieces on disk; `found` hears of each good one, on the reactor thread."""

    async def occupied(self) -> bool:
        """Whether something is at the destination already, published by us or not."""

    async def inspect(self) -> None:
        """Look whether published files are as they were; raises `Conflict` if not."""

    async def sync(self) -> None:
        """Make all that was written survive a power loss."""

    async def publish(self, *, replace: bool = False) -> None:
        """Give the verified content its final name; `Conflict` if that is taken.

        `Unavailable` if part of what was written is not there any more.
        """

    async def discard(self) -> None:
        """Delete what is partial; published content stays."""

    def stamps(self) -> bytes:
        """What published files look like (opaque), to notice later that they changed."""


class Store(Protocol):
    """Makes contents, inside the download directory or in place for shared paths."""

    def begin(self, torrent: Torrent, destination: str) -> Content:
        """Content to be written; `destination` is relative to the download directory, or in it.

        Raises `Invalid` for a destination outside.
        """

    def resume(self, torrent: Torrent, path: str, stamps: bytes) -> Content:
        """Content of an earlier run: published if `stamps` says so, else partial."""

    async def adopt(self, torrent: Torrent, path: Path) -> Content:
        """Published content at `path`, as it is now and unverified; `Conflict` if files lack."""

    async def describe(self, path: Path, name: str | None) -> tuple[Torrent, Content]:
        """Digest local files into a torrent, and the content that they are."""

    def rest(self) -> None:
        """Close files that are kept open; the next to read or write opens them again."""


@dataclass(frozen=True, slots=True)
class Record:
    """What a node remembers of one torrent over a restart.

    `clean` says that `held` is exactly what is on disk; `boot` names the run of the machine in
    which the record was written, for an unclean record is only to be trusted within it.  `peers`
    are whom it was last fetched from: with them a download goes on even without a tracker.  The
    limits are in bytes/s, 0 for none.
    """

    infohash: InfoHash
    metainfo: bytes
    filename: str
    path: str
    stamps: bytes
    held: bytes
    state: str
    added: float
    finished: float | None = None
    downloaded: int = 0
    uploaded: int = 0
    error: str = ""
    replace: bool = False
    peers: tuple[Address, ...] = ()
    upload_limit: int = 0
    download_limit: int = 0
    clean: bool = False
    boot: str = ""


class ResumeTable(Protocol):
    """The node's records; each method is one transaction."""

    async def load(self) -> list[Record]:
        """All records, in the order they were added."""

    async def save(self, record: Record) -> None:
        """Write or overwrite a record."""

    async def forget(self, infohash: InfoHash) -> None:
        """Delete a record, if there is one."""
