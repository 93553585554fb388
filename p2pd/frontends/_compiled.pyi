# What the compiled twin of the announce doors offers: the same as its twins in Python.
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from random import Random

from p2pd.frontends.announce_http import HttpDoor
from p2pd.frontends.announce_udp import UdpDoor
from p2pd.frontends.sources import Sources
from p2pd.tracker.announcing import Announcing
from p2pd.tracker.records import SwarmRecord

class CompiledTable:
    nodes: Mapping[bytes, tuple[int, int]]
    def __init__(
        self,
        *,
        lifetime: float,
        now: float,
        rng: Random,
        most_peers: int = ...,
        most_torrents: int = ...,
    ) -> None: ...
    def announce(
        self,
        infohash: bytes,
        address: bytes,
        peer_id: bytes,
        left: int,
        uploaded: int,
        downloaded: int,
        event: int,
        wanted: int,
    ) -> tuple[int, int, int, bytes]: ...
    def scrape(self, infohash: bytes) -> tuple[int, int, int]: ...
    def tick(self, now: float) -> None: ...
    def sweep(self, most: int) -> None: ...
    def record(self, infohash: bytes) -> SwarmRecord | None: ...
    def peer_ids(self, infohash: bytes, addresses: Sequence[bytes]) -> list[bytes | None]: ...
    def put(self, infohash: bytes, completed: int | None) -> bool: ...
    def count(self, infohash: bytes) -> None: ...
    def remove(self, infohash: bytes) -> bool: ...
    def load(self, counts: Iterable[tuple[bytes, int]]) -> None: ...
    def changes(self) -> dict[bytes, int | None]: ...
    def totals(self) -> tuple[int, int, int, int]: ...
    def dump(self) -> Iterator[bytes]: ...
    def restore(self, portion: bytes) -> None: ...

class CompiledHttpDoor(HttpDoor):
    def __init__(
        self,
        announcing: Announcing,
        sources: Sources,
        hand_over: Callable[[int, bytes], None],
        *,
        clock: Callable[[], float],
        most: int = ...,
        patience: float = ...,
    ) -> None: ...

class CompiledUdpDoor(UdpDoor):
    def __init__(
        self,
        announcing: Announcing,
        *,
        clock: Callable[[], float],
        secret: bytes | None = None,
    ) -> None: ...
