"""Contents without bytes: torrents whose digests are made up, pieces that are only counted."""

from collections.abc import Callable, Collection, Generator, Iterable, Mapping
from pathlib import Path
from random import Random
from typing import Any

from p2pd.errors import Conflict, Denied, Unavailable
from p2pd.metainfo import bencode
from p2pd.metainfo.ids import InfoHash
from p2pd.metainfo.pieces import DigestKind
from p2pd.metainfo.torrent import BLAKE3_KEY, Torrent
from p2pd.node.ports import Buffer, DiskSpace, Extent, Incoming
from p2pd.node.records import PendingRecord, Record
from p2pd.node.rooms import Rooms
from p2pd.sim.clock import HeapClock

_TOP = Path("/simulated")
_ROOM = 1 << 62


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

    def covers(self, wanted: Collection[int] | None = None) -> bool:  # noqa: ARG002
        """Whether it has its final name; see `Content.covers`."""
        return self._published

    async def allocate(self, wanted: Collection[int] | None = None) -> bool:  # noqa: ARG002
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

    async def publish(
        self,
        *,
        replace: bool = False,  # noqa: ARG002
        wanted: Collection[int] | None = None,  # noqa: ARG002
    ) -> None:
        """Take the final name; see `Content.publish`."""
        self._published = True

    async def move(self, path: Path, *, replace: bool = False) -> None:  # noqa: ARG002
        """Take another name; see `Content.move`."""
        self.path = path

    async def delete(self) -> None:
        """Take no name; see `Content.delete`."""
        self._published = False

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
        self.least_free = 0
        self.root = _TOP

    def _content(self, torrent: Torrent, path: Path, *, published: bool) -> SimContent:
        return SimContent(
            torrent, path, self._clock, self._rooms, self._verify_time, published=published
        )

    def place(self, torrent: Torrent, destination: str) -> Path:
        """Where content goes; see `Store.place`."""
        return _TOP / (destination or torrent.name)

    def begin(self, torrent: Torrent, destination: str) -> SimContent:
        """Content to be written; see `Store.begin`."""
        return self._content(torrent, self.place(torrent, destination), published=False)

    def resume(self, torrent: Torrent, path: str, stamps: bytes) -> SimContent:
        """Content of an earlier run; see `Store.resume`."""
        return self._content(torrent, Path(path), published=bool(stamps))

    async def adopt(
        self,
        torrent: Torrent,  # noqa: ARG002
        path: Path,
        wanted: Collection[int] | None = None,  # noqa: ARG002
    ) -> SimContent:
        """Refuse; see `Store.adopt`."""
        raise Conflict(f"there is nothing at {path}")

    async def describe(
        self,
        path: Path,
        name: str | None,  # noqa: ARG002
        *,
        only: Collection[str] | None = None,  # noqa: ARG002
    ) -> tuple[Torrent, SimContent]:
        """Give the source; see `Store.describe`."""
        return self._source, self._content(self._source, path, published=True)

    async def allowed(self, path: str) -> Path:
        """Refuse; see `Store.allowed`."""
        raise Denied(f"{path} is only simulated")

    async def space(self, path: str = "") -> DiskSpace:  # noqa: ARG002
        """Give more than is ever needed; see `Store.space`."""
        return DiskSpace(_ROOM, _ROOM, _ROOM)

    def receive(
        self,
        name: str,
        destination: str,  # noqa: ARG002
        key: str,  # noqa: ARG002
        *,
        replace: bool = False,  # noqa: ARG002
    ) -> Incoming:
        """Refuse; see `Store.receive`."""
        raise Denied(f"{name} comes from nowhere: there is no web here")

    def rest(self) -> None:
        """Do nothing; see `Store.rest`."""


class NoTable:
    """Remembers nothing, for simulated nodes do not restart; implements `ResumeTable`."""

    async def load(self) -> list[Record]:
        """No records; see `ResumeTable.load`."""
        return []

    async def save(self, record: Record, *, settles: int | None = None) -> None:
        """Do nothing; see `ResumeTable.save`."""

    async def forget(self, infohash: InfoHash) -> None:
        """Do nothing; see `ResumeTable.forget`."""

    async def load_pending(self) -> list[PendingRecord]:
        """No records; see `ResumeTable.load_pending`."""
        return []

    async def save_pending(self, record: PendingRecord) -> int:
        """Do nothing; see `ResumeTable.save_pending`."""
        return record.number

    async def forget_pending(self, number: int) -> None:
        """Do nothing; see `ResumeTable.forget_pending`."""

    async def place(self, torrents: Mapping[InfoHash, int], pending: Mapping[int, int]) -> None:
        """Do nothing; see `ResumeTable.place`."""

    async def size(self) -> int:
        """No bytes; see `ResumeTable.size`."""
        return 0

    async def load_settings(self) -> dict[str, Any]:
        """No settings; see `ResumeTable.load_settings`."""
        return {}

    async def save_settings(self, settings: Mapping[str, Any]) -> None:
        """Do nothing; see `ResumeTable.save_settings`."""
