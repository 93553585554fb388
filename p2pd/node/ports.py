"""What a node needs from outside: trackers, peers, a store; `links` and `store` fill these in."""

from collections.abc import Callable, Collection, Generator, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from p2pd.metainfo.bitfield import Bitfield
from p2pd.metainfo.ids import Address, NodeId
from p2pd.metainfo.torrent import Torrent
from p2pd.protocol.announce_client import AnnounceReply, BitTorrentAnnounce
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

    async def claim(self, name: str, node_id: NodeId) -> bool:
        """Be the one who makes a name known; False if another node is.  Renewed by heart beats."""

    async def release(self, name: str, node_id: NodeId) -> None:
        """Let others claim a name."""

    async def announce(self, announcement: Announcement) -> Handout:
        """Tell what the node holds of a torrent; learn who else does."""


class AnnounceLink(Protocol):
    """The BitTorrent trackers of the world (BEP 3, 15)."""

    async def announce(
        self, url: str, asked: BitTorrentAnnounce, *, strict: bool
    ) -> AnnounceReply:
        """Announce to a tracker; raises `AnnounceFailed`.  `strict` is as in `Dialer.web_seed`."""

    def close(self) -> None:
        """Let go of what is kept between announces."""


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

    def web_seed(self, url: str, *, strict: bool) -> PeerLink:
        """A link to an HTTP server that holds all of a torrent's files (BEP 19).

        `strict` for URLs that did not come from our own trackers or user: they may lead to no
        loopback, private or link-local address.
        """


@dataclass(frozen=True, slots=True)
class Extent:
    """Some of a piece's bytes: in an open file, or in `memory` (`fileno` None)."""

    fileno: int | None
    offset: int
    length: int
    memory: Buffer = b""


class Content(Protocol):
    """One torrent's bytes: being written (partial), or published, or partly each.

    Files are numbered as they come in the torrent, padding left out.  Every coroutine works off
    the reactor thread.  Raises `Unavailable` when the disk refuses (full, unwritable,
    unreadable), `Conflict` when published files are no longer what was published.
    """

    torrent: Torrent

    @property
    def path(self) -> Path:
        """Where the published file or directory is, or will be."""

    def covers(self, wanted: Collection[int] | None = None) -> bool:
        """Whether these files, or all, have their final names."""

    async def allocate(self, wanted: Collection[int] | None = None) -> bool:
        """Make room beside the destination; True if partial files of an earlier run are there.

        The room is that of the `wanted` files, or of all.
        """

    async def write(self, indexes: Iterable[int], data: Buffer) -> bool:
        """Verify a piece and put it in its places (all alike); False if its digest is wrong.

        What of it belongs to published files is there already and stays untouched.
        """

    async def read(self, index: int, start: int = 0, length: int | None = None) -> bytes:
        """A range of a piece, padding included."""

    def locate(self, index: int, start: int, length: int) -> Generator[Extent, None, None]:
        """Open a range of a piece for a sender: an extent's file is open until the next step.

        What can be refused is refused at the call; close the generator when done.
        """

    async def check(self, indexes: Iterable[int], found: Callable[[int], object]) -> None:
        """Digest pieces on disk; `found` hears of each good one, on the reactor thread."""

    async def occupied(self) -> bool:
        """Whether something is at the destination that this content has not published.

        If it has published some of it: whether all the rest is there.
        """

    async def inspect(self) -> None:
        """Look whether published files are as they were; raises `Conflict` if not."""

    async def sync(self) -> None:
        """Make all that was written survive a power loss."""

    async def publish(
        self, *, replace: bool = False, wanted: Collection[int] | None = None
    ) -> None:
        """Give verified files their final names; `Conflict` if one is taken.

        All files, or those that are `wanted` (and were not published before), each of which must
        be complete; the others stay partial until a later call, the last of which leaves what one
        call for all would have left.  `Unavailable` if part of what was written is not there any
        more.
        """

    async def move(self, path: Path, *, replace: bool = False) -> None:
        """Take all there is, published and partial, to another path; `Conflict` if it is taken.

        Files of the torrent there are replaced if asked for, and only if there are no others.
        A process killed meanwhile leaves the old place or the new one whole, and the same call,
        on content resumed at the old path, goes on where it was cut short.  What goes to another
        file system is copied.  Raises `Invalid` for a path in the content's own.
        """

    async def delete(self) -> None:
        """Delete published files, directories that are empty then, and what is partial.

        Nothing that does not belong to the torrent, and nothing behind a symbolic link.
        """

    async def discard(self) -> None:
        """Delete what is partial; published files stay."""

    def stamps(self) -> bytes:
        """What published files look like (opaque), to notice later that they changed."""


class Incoming(Protocol):
    """A file that comes from elsewhere, in order, before anybody knows its digests.

    What a coroutine began is done even if it is cancelled.  Raises `Unavailable` as `Content`
    does.
    """

    async def begin(self, validator: str, length: int | None, *, keep: bool = True) -> int:
        """Make ready for the rest of the file; how many bytes of it are there.

        Of another version, without a validator, or without `keep`, what was there is dropped.
        Raises `Conflict` if the destination is taken, `Unavailable` if `length` will not fit.
        """

    async def write(self, data: bytes) -> None:
        """Take what comes next; `Conflict` if that is more than there should be."""

    async def publish(self) -> Content:
        """Make the whole file published content; `Conflict` if the destination is taken."""

    async def close(self) -> None:
        """Keep what is there for another time."""

    async def discard(self) -> None:
        """Delete what is there, and what is known of it; published content stays."""


class DiskSpace(NamedTuple):
    """Bytes of a file system: of all of it, free, and free for users other than root."""

    capacity: int
    free: int
    available: int


class Store(Protocol):
    """Makes contents, inside the download directory and other roots, or in place if shared.

    `least_free` is how many bytes downloads leave free.
    """

    least_free: int

    @property
    def root(self) -> Path:
        """The download directory."""

    def place(self, torrent: Torrent, destination: str) -> Path:
        """Where content goes: `destination` is relative to the download directory, or in a root.

        It is a directory if it ends with a slash or is one; empty is the torrent's own name.
        Raises `Invalid` for a destination outside, be it by a link.
        """

    def begin(self, torrent: Torrent, destination: str) -> Content:
        """Content to be written; see `place`."""

    def resume(self, torrent: Torrent, path: str, stamps: bytes) -> Content:
        """Content of an earlier run: what `stamps` tells of is published, the rest partial."""

    async def adopt(
        self, torrent: Torrent, path: Path, wanted: Collection[int] | None = None
    ) -> Content:
        """Published content at `path`, as it is now and unverified.

        Of the `wanted` files, or of all, it is those that are there; `Conflict` if none is.
        """

    async def describe(
        self, path: Path, name: str | None, *, only: Collection[str] | None = None
    ) -> tuple[Torrent, Content]:
        """Digest local files into a torrent, and the content that they are.

        Of a directory, what is `only` named there, or all.
        """

    async def allowed(self, path: str) -> Path:
        """The file or directory at an absolute path, if it is in a root when links are resolved.

        Raises `Invalid` for a path that is not absolute, `Denied` for one outside, `NotFound` for
        nothing.
        """

    async def space(self, path: str = "") -> DiskSpace:
        """Room in the download directory, or at a path; see `allowed`."""

    def receive(self, name: str, destination: str, key: str, *, replace: bool = False) -> Incoming:
        """A file that comes from elsewhere, to be called `name`, and content in the end.

        `key` (a file name's part) finds what an earlier run left of it; see `place` for the rest.
        """

    def rest(self) -> None:
        """Close files that are kept open; the next to read or write opens them again."""
