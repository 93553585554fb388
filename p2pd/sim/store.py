"""Contents without bytes: torrents whose digests are made up, pieces that are only counted."""

from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from random import Random

from p2pd.errors import Conflict, Unavailable
from p2pd.metainfo import bencode
from p2pd.metainfo.ids import InfoHash
from p2pd.metainfo.pieces import DigestKind
from p2pd.metainfo.torrent import BLAKE3_KEY, Torrent
from p2pd.node.ports import Buffer, Extent, Record
from p2pd.node.rooms import Rooms
from p2pd.sim.clock import HeapClock

_TOP = Path("/simulated")


def made_up_torrent(name: str, size: int, piece_length: int, rng: Random) -> Torrent:
    """Make the torrent of a file that does not exist."""
    pieces = -(-size // piece_length)
    info = {
        b"length": size,
        b"name": name,
        b"piece length": piece_length,
        b"pieces": rng.randbytes(DigestKind.SHA1.size * pieces),
        BLAKE3_KEY: rng.randbytes(DigestKind.BLAKE3.size * pieces),
    }
    return Torrent.from_bytes(bencode.encode({b"info": info}))


class SharedRooms(Rooms):
    """Rooms in which nothing is written, so that all nodes can have the same one."""

    _memory = memoryview(b"")

    def __init__(self) -> None:
        super().__init__(0)
        self._spoilt: dict[int, memoryview] = {}

    def take(self, size: int) -> memoryview:
        """Lend the one room there is; see `Rooms.take`."""
        if size > len(SharedRooms._memory):
            SharedRooms._memory = memoryview(bytearray(size))
        self.lent += size
        return SharedRooms._memory[:size]

    def give(self, room: memoryview) -> None:
        """Take a room back; see `Rooms.give`."""
        self.lent -= len(room)
        self._spoilt.pop(id(room), None)

    def spoil(self, room: memoryview) -> None:
        """Let the bytes in a room pass for false ones."""
        self._spoilt[id(room)] = room

    def is_spoilt(self, room: Buffer) -> bool:
        """Whether the bytes in a room are false."""
        return id(room) in self._spoilt


class SimContent:
    """A torrent's bytes, which nobody has; implements `p2pd.node.ports.Content`."""

    def __init__(
        self,
        torrent: Torrent,
        path: Path,
        clock: HeapClock,
        rooms: SharedRooms,
        verify_time: float,
        *,
        published: bool,
    ) -> None:
        self.torrent = torrent
        self.path = path
        self._clock = clock
        self._rooms = rooms
        self._verify_time = verify_time
        self._published = published

    async def allocate(self) -> bool:
        """Make room; see `Content.allocate`."""
        return False

    async def write(self, indexes: Iterable[int], data: Buffer) -> bool:  # noqa: ARG002
        """Take the time that verifying a piece takes; see `Content.write`."""
        if self._verify_time:
            await self._clock.pause(self._verify_time)
        return not self._rooms.is_spoilt(data)

    async def read(self, index: int, start: int = 0, length: int | None = None) -> bytes:
        """Refuse; see `Content.read`."""
        raise Unavailable(f"byte {start} of piece {index} ({length}) is only simulated")

    def locate(self, index: int, start: int, length: int) -> Generator[Extent, None, None]:
        """Refuse; see `Content.locate`."""
        raise Unavailable(f"byte {start} of piece {index} ({length}) is only simulated")

    async def check(self, indexes: Iterable[int], found: Callable[[int], object]) -> None:
        """Find nothing; see `Content.check`."""

    async def occupied(self) -> bool:
        """Whether something is at the destination; see `Content.occupied`."""
        return self._published

    async def inspect(self) -> None:
        """Find all as it was; see `Content.inspect`."""

    async def sync(self) -> None:
        """Do nothing; see `Content.sync`."""

    async def publish(self, *, replace: bool = False) -> None:  # noqa: ARG002
        """Take the final name; see `Content.publish`."""
        self._published = True

    async def discard(self) -> None:
        """Do nothing; see `Content.discard`."""

    def stamps(self) -> bytes:
        """What published files look like; see `Content.stamps`."""
        return b"simulated" if self._published else b""


class SimStore:
    """Implements `p2pd.node.ports.Store`; the `source` is all that can be shared."""

    def __init__(
        self, clock: HeapClock, rooms: SharedRooms, source: Torrent, verify_time: float
    ) -> None:
        self._clock = clock
        self._rooms = rooms
        self._source = source
        self._verify_time = verify_time

    def _content(self, torrent: Torrent, path: Path, *, published: bool) -> SimContent:
        return SimContent(
            torrent, path, self._clock, self._rooms, self._verify_time, published=published
        )

    def begin(self, torrent: Torrent, destination: str) -> SimContent:
        """Content to be written; see `Store.begin`."""
        return self._content(torrent, _TOP / (destination or torrent.name), published=False)

    def resume(self, torrent: Torrent, path: str, stamps: bytes) -> SimContent:
        """Content of an earlier run; see `Store.resume`."""
        return self._content(torrent, Path(path), published=bool(stamps))

    async def adopt(self, torrent: Torrent, path: Path) -> SimContent:  # noqa: ARG002
        """Refuse; see `Store.adopt`."""
        raise Conflict(f"there is nothing at {path}")

    async def describe(self, path: Path, name: str | None) -> tuple[Torrent, SimContent]:  # noqa: ARG002
        """Give the source; see `Store.describe`."""
        return self._source, self._content(self._source, path, published=True)

    def rest(self) -> None:
        """Do nothing; see `Store.rest`."""


class NoTable:
    """Remembers nothing, for simulated nodes do not restart; implements `ResumeTable`."""

    async def load(self) -> list[Record]:
        """No records; see `ResumeTable.load`."""
        return []

    async def save(self, record: Record) -> None:
        """Do nothing; see `ResumeTable.save`."""

    async def forget(self, infohash: InfoHash) -> None:
        """Do nothing; see `ResumeTable.forget`."""
