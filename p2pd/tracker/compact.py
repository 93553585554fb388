"""The clients of one torrent in few bytes, in a form whose hand-outs are slices."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from struct import Struct
from typing import ClassVar, NamedTuple

from p2pd.tracker.records import PAUSED, STOPPED

LIFE = 160
"""How many ticks a silent client is kept; ticks are numbered modulo 256."""

_STATE = Struct("<B3f")  # last tick; bytes uploaded, downloaded, left
_write_state = _STATE.pack_into
_STATE_SIZE = _STATE.size
_SHORT_ID = 14
_PREFIX = 8
_UNKNOWN = 0xFFFF


class Client(NamedTuple):
    """One record: packed address and port, short id, last tick (modulo 256), byte counts."""

    address: bytes
    short_id: bytes
    tick: int
    uploaded: float
    downloaded: float
    left: float


class PeerIds:
    """Peer ids in 14 bytes: the first eight, which name a program (BEP 20), are numbered.

    Beyond 65,535 different programs, the first eight bytes of further ones are forgotten.
    """

    def __init__(self) -> None:
        self._numbers: dict[bytes, bytes] = {}
        self._prefixes: list[bytes] = []

    def shorten(self, peer_id: bytes) -> bytes:
        """Return the 14 bytes for a peer id of 20."""
        prefix = peer_id[:_PREFIX]
        number = self._numbers.get(prefix)
        if number is None:
            known = len(self._prefixes)
            number = known.to_bytes(2, "little")
            if known < _UNKNOWN:
                self._prefixes.append(prefix)
                self._numbers[prefix] = number
        return number + peer_id[_PREFIX:]

    def expand(self, short_id: bytes) -> bytes:
        """Return the peer id, with zeros for what was forgotten."""
        number = int.from_bytes(short_id[:2], "little")
        prefix = bytes(_PREFIX) if number == _UNKNOWN else self._prefixes[number]
        return prefix + short_id[2:]


class Swarm(bytearray):
    """The clients of a torrent that have IPv4 addresses: a few hundred at most.

    Its bytes are three rows of records of equal size: addresses, states, short peer ids. In each
    those who lack something (leeches) stand before the others. Rows are written anew to put a
    client in or out, so that nothing is allocated beyond what is used.
    """

    __slots__ = ("alike", "leeches", "seeds")
    width: ClassVar[int] = 6

    def __init__(self) -> None:
        super().__init__()
        self.leeches = 0
        self.seeds = 0
        self.alike = False
        """Whether there may be two with the same peer id."""

    def refresh(  # noqa: PLR0917 - called a million times: keywords cost
        self,
        address: bytes,
        peer_id: bytes,
        tick: int,
        left: int,
        uploaded: int,
        downloaded: int,
        event: int,
        wanted: int,
        random: Callable[[], float],
    ) -> bytes | None:
        """Note that a client is there still; return the addresses of others for it.

        None if it is unknown, stops, or has changed so that its record must move: nothing is
        noted then. Nearly all announces end here. The peer id is compared when there is an
        event, as one begins each session.
        """
        width = len(address)
        leeches = self.leeches
        count = leeches + self.seeds
        states = count * width
        at = self.find(address)
        place = at // width
        if (
            at % width  # or -1
            or at >= states
            or (place < leeches) is (left == 0)
            or (event and (event == STOPPED or self.short_id(place)[2:] != peer_id[_PREFIX:]))
        ):
            return None
        _write_state(self, states + _STATE_SIZE * place, tick, uploaded, downloaded, left)
        pool = count if left and event != PAUSED else leeches
        if count > wanted or self.alike:
            own = self._alike(self.short_id(place)) if self.alike else [place]
            return self._window(own, pool, wanted, random)
        peers = self[: pool * width]
        if place < pool:
            del peers[at : at + width]
        return bytes(peers)

    def others(
        self,
        address: bytes,
        short_id: bytes,
        with_seeds: bool,
        wanted: int,
        random: Callable[[], float],
    ) -> bytes:
        """Return the addresses of up to `wanted` clients, from a random one on.

        The client with that address and those with that peer id are left out.
        """
        own = self._alike(short_id)
        place = self.place(address)
        if place >= 0 and place not in own:
            own.append(place)
        pool = self.leeches + (self.seeds if with_seeds else 0)
        return self._window(own, pool, wanted, random)

    def place(self, address: bytes) -> int:
        """Return which record is that client's, -1 if none is."""
        width = self.width
        end = (self.leeches + self.seeds) * width
        at = self.find(address, 0, end)
        while at > 0 and at % width:
            at = self.find(address, at + 1, end)
        return at // width

    def id_at(self, address: bytes) -> bytes | None:
        """Return the peer id of a client, shortened, None if it is not there."""
        place = self.place(address)
        return None if place < 0 else self.short_id(place)

    def short_id(self, place: int) -> bytes:
        """Return the peer id of a record, shortened."""
        ids = (self.leeches + self.seeds) * (self.width + _STATE_SIZE)
        return bytes(self[ids + place * _SHORT_ID : ids + (place + 1) * _SHORT_ID])

    def shards(self) -> Sequence["Swarm"]:
        """Return the parts of the swarm; each stays what it is when a large swarm grows."""
        return (self,)

    def add(self, client: Client) -> None:
        """Put in a client that is not there."""
        self.alike = self.alike or bool(self._alike(client.short_id))
        at = self.leeches + (0 if client.left else self.seeds)
        state = _STATE.pack(client.tick, client.uploaded, client.downloaded, client.left)
        self._splice(at, at, client.address, state, client.short_id)
        if client.left:
            self.leeches += 1
        else:
            self.seeds += 1

    def fill(self, clients: Iterable[Client]) -> None:
        """Put clients with different addresses into an empty swarm, faster than one by one."""
        ordered = sorted(clients, key=_is_complete)
        self.leeches = sum(client.left != 0 for client in ordered)
        self.seeds = len(ordered) - self.leeches
        ids = [client.short_id for client in ordered]
        self.alike = len(set(ids)) < len(ids)
        addresses = [client.address for client in ordered]
        states = [_STATE.pack(*client[2:]) for client in ordered]
        bytearray.__init__(self, b"".join(addresses + states + ids))

    def discard(self, address: bytes) -> bool | None:
        """Take out a client; tell whether it had all, None if it was not there."""
        place = self.place(address)
        if place < 0:
            return None
        self._splice(place, place + 1, b"", b"", b"")
        complete = place >= self.leeches
        if complete:
            self.seeds -= 1
        else:
            self.leeches -= 1
        return complete

    def expire(self, fresh: bytes) -> None:
        """Take out the clients whose last tick is none of `fresh`."""
        count = self.leeches + self.seeds
        states = count * self.width
        ticks = self[states : states + count * _STATE_SIZE : _STATE_SIZE]
        if ticks.translate(None, fresh):
            self._keep([place for place, tick in enumerate(ticks) if tick in fresh])

    def clients(self) -> Iterator[Client]:
        """Give all records, leeches first; the swarm may not change meanwhile."""
        rows = memoryview(bytes(self))
        count = self.leeches + self.seeds
        width = self.width
        states = count * width
        ids = states + count * _STATE_SIZE
        for place, state in enumerate(_STATE.iter_unpack(rows[states:ids])):
            tick, uploaded, downloaded, left = state
            address = bytes(rows[place * width : (place + 1) * width])
            short_id = bytes(rows[ids + place * _SHORT_ID : ids + (place + 1) * _SHORT_ID])
            yield Client(address, short_id, tick, uploaded, downloaded, left)

    def divide(self, belongs: Callable[[bytes], bool]) -> tuple["Swarm", "Swarm"]:
        """Return two swarms: the clients whose addresses do not belong, and those that do."""
        width = self.width
        end = (self.leeches + self.seeds) * width
        sides = [belongs(bytes(self[at : at + width])) for at in range(0, end, width)]
        staying, leaving = self._copy(), self._copy()
        staying._keep([place for place, side in enumerate(sides) if not side])  # noqa: SLF001
        leaving._keep([place for place, side in enumerate(sides) if side])  # noqa: SLF001
        return staying, leaving

    def _window(
        self, own: Collection[int], pool: int, wanted: int, random: Callable[[], float]
    ) -> bytes:
        """Return up to `wanted` addresses of the first `pool`, without those at `own` places."""
        size = min(wanted + len(own), pool)
        if wanted <= 0 or not size:
            return b""
        width = self.width
        first = int(random() * pool) if size < pool else 0
        end = first + size
        peers = self[first * width : end * width]
        if end > pool:
            peers = self[first * width : pool * width] + self[: (end - pool) * width]
        cut = [(place - first) % pool for place in own if place < pool]
        for place in sorted(cut, reverse=True):
            del peers[place * width : (place + 1) * width]
        return bytes(peers[: wanted * width])

    def _copy(self) -> "Swarm":
        copy = type(self)()
        copy.extend(self)
        copy.leeches, copy.seeds, copy.alike = self.leeches, self.seeds, self.alike
        return copy

    def _alike(self, short_id: bytes) -> list[int]:
        """Return the places of the records with that peer id."""
        count = self.leeches + self.seeds
        ids = count * (self.width + _STATE_SIZE)
        places = []
        at = self.find(short_id, ids)
        while at >= 0:
            place, odd = divmod(at - ids, _SHORT_ID)
            if not odd:
                places.append(place)
            at = self.find(short_id, at + 1)
        return places

    def _splice(self, start: int, end: int, address: bytes, state: bytes, short_id: bytes) -> None:
        """Put one record, or nothing, in place of those from `start` up to `end`."""
        count = self.leeches + self.seeds
        width = self.width
        states = count * width
        ids = states + count * _STATE_SIZE
        rows = (
            self[: start * width],
            address,
            self[end * width : states + start * _STATE_SIZE],
            state,
            self[states + end * _STATE_SIZE : ids + start * _SHORT_ID],
            short_id,
            self[ids + end * _SHORT_ID :],
        )
        bytearray.__init__(self, b"".join(rows))

    def _keep(self, places: Sequence[int]) -> None:
        """Take out all records but those at these places."""
        parts = []
        row = 0
        for size in (self.width, _STATE_SIZE, _SHORT_ID):
            parts += [self[row + at * size : row + (at + 1) * size] for at in places]
            row += (self.leeches + self.seeds) * size
        bytearray.__init__(self, b"".join(parts))
        leeches = sum(place < self.leeches for place in places)
        self.leeches, self.seeds = leeches, len(places) - leeches


class Swarm6(Swarm):
    """The clients of a torrent that have IPv6 addresses: a few hundred at most."""

    __slots__ = ()
    width = 18


def _is_complete(client: Client) -> bool:
    return not client.left
