"""The swarms of BitTorrent clients, and how often each torrent was completed: `PeerTable`."""

import random
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence

from p2pd.tracker.compact import LIFE, Client, PeerIds, Swarm, Swarm6
from p2pd.tracker.portions import Portion, Saved, pack, unpack
from p2pd.tracker.records import COMPLETED, LARGEST, PAUSED, STOPPED, PeerRecord, SwarmRecord
from p2pd.tracker.sharded import fitted

_NOBODY = Swarm()
_LATEST = 90  # ticks after which an unswept record could soon look young again
_PORTION = 1_000  # clients; they are restored in some milliseconds


class CompactTable:
    """The swarms in little memory; `lifetime` and `now` in (Unix) seconds.

    A client that has been silent for `lifetime` is forgotten when `sweep` comes by, at the latest
    a 160th later. Beyond `most_peers`, and in torrents beyond `most_torrents`, further clients
    are answered, but neither remembered nor counted.
    """

    def __init__(
        self,
        *,
        lifetime: float,
        now: float,
        rng: random.Random,
        most_peers: int = 20_000_000,
        most_torrents: int = 5_000_000,
    ) -> None:
        self.nodes: Mapping[bytes, tuple[int, int]] = {}
        self._most_peers = most_peers
        self._most_torrents = most_torrents
        self._random = rng.random
        self._ids = PeerIds()
        self._v4: dict[bytes, Swarm] = {}
        self._v6: dict[bytes, Swarm] = {}
        self._counts: dict[bytes, int] = {}  # of the torrents that outlive their last client
        self._changed: set[bytes] = set()
        self._torrents = self._seeds = self._leeches = self._completed = 0
        self._unit = lifetime / LIFE
        self._set_tick(int(now / self._unit))
        self._circle: list[bytes] = []
        self._circle_began = self._swept = self._tick

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
        """Note a client; return (complete, incomplete, downloaded, up to `wanted` others)."""
        swarms = self._v4 if len(address) == 6 else self._v6
        swarm = swarms.get(infohash, _NOBODY)
        peers = swarm.refresh(
            address,
            peer_id,
            self._tick_byte,
            left,
            uploaded,
            downloaded,
            event,
            wanted,
            self._random,
        )
        if peers is None:
            peers = self._change(
                infohash, address, peer_id, left, uploaded, downloaded, event, wanted
            )
            swarm = swarms.get(infohash, _NOBODY)
        complete, incomplete = swarm.seeds, swarm.leeches
        if self._v6 or self.nodes or swarms is self._v6:
            complete, _, incomplete = self.scrape(infohash)
        return complete, incomplete, self._counts.get(infohash, 0), peers

    def scrape(self, infohash: bytes) -> tuple[int, int, int]:
        """Return (complete, downloaded, incomplete), zeros for an unknown torrent."""
        swarm = self._v4.get(infohash, _NOBODY)
        complete, incomplete = swarm.seeds, swarm.leeches
        if self._v6:
            swarm = self._v6.get(infohash, _NOBODY)
            complete += swarm.seeds
            incomplete += swarm.leeches
        if self.nodes:
            more_complete, more_incomplete = self.nodes.get(infohash, (0, 0))
            complete += more_complete
            incomplete += more_incomplete
        return complete, self._counts.get(infohash, 0), incomplete

    def _change(  # noqa: PLR0917 - called a million times: keywords cost
        self,
        infohash: bytes,
        address: bytes,
        peer_id: bytes,
        left: int,
        uploaded: int,
        downloaded: int,
        event: int,
        wanted: int,
    ) -> bytes:
        """Note a client that comes, goes or has changed; return the addresses of others."""
        swarms, swarm = self._find(infohash, len(address))
        short_id = self._ids.shorten(peer_id)
        known = swarm.leeches, swarm.seeds
        was_complete = swarm.discard(address)
        if event != STOPPED and (was_complete is not None or self._has_room(infohash)):
            swarm.add(Client(address, short_id, self._tick_byte, uploaded, downloaded, left))
            if event == COMPLETED and not left and not was_complete:
                self.count(infohash)
        self._settle(swarms, infohash, swarm, known)
        if event == STOPPED:
            return b""
        with_seeds = left != 0 and event != PAUSED
        return swarm.others(address, short_id, with_seeds, wanted, self._random)

    def tick(self, now: float) -> None:
        """Tell the table what time it is, in Unix seconds; it never goes back.

        If sweeping is behind, all is swept at once, lest old records should look young again.
        """
        tick = max(int(now / self._unit), self._tick)
        while tick - self._swept > _LATEST:
            self._set_tick(min(tick, self._swept + _LATEST) if self._peers() else tick)
            self._circle = []
            self.sweep(self._torrents)
        if tick != self._tick:
            self._set_tick(tick)

    def sweep(self, most: int) -> None:
        """Look at the next `most` torrents, up to the end of the circle, for silent clients."""
        if not self._circle:
            self._circle = [*self._v4, *(key for key in self._v6 if key not in self._v4)]
            self._circle_began = self._tick
        rest = max(len(self._circle) - most, 0)
        for infohash in self._circle[rest:]:
            self._expire(self._v4, infohash)
            self._expire(self._v6, infohash)
        del self._circle[rest:]
        if not self._circle:
            self._swept = self._circle_began

    def record(self, infohash: bytes) -> SwarmRecord | None:
        """Return all that is known of a torrent, None for an unknown one."""
        if not self._knows(infohash):
            return None
        seeds: list[PeerRecord] = []
        leeches: list[PeerRecord] = []
        for swarms in (self._v4, self._v6):
            for client in swarms.get(infohash, _NOBODY).clients():
                (leeches if client.left else seeds).append(self._peer_record(client))
        updated = max((peer.updated for peer in (*seeds, *leeches)), default=0.0)
        return SwarmRecord(self._counts.get(infohash, 0), updated, tuple(seeds), tuple(leeches))

    def peer_ids(self, infohash: bytes, addresses: Sequence[bytes]) -> list[bytes | None]:
        """Return the peer id of each client of a torrent, None for those that are not there."""
        found = (self._find(infohash, len(each))[1].id_at(each) for each in addresses)
        return [short_id and self._ids.expand(short_id) for short_id in found]

    def put(self, infohash: bytes, completed: int | None) -> bool:
        """Create a torrent, or set its count; tell whether it is new. Its peers stay."""
        new = not self._knows(infohash)
        if completed is None:
            completed = self._counts.get(infohash, 0)
        self._set_count(infohash, completed)
        return new

    def count(self, infohash: bytes) -> None:
        """Count one completed download that was heard of elsewhere."""
        self._set_count(infohash, self._counts.get(infohash, 0) + 1)

    def remove(self, infohash: bytes) -> bool:
        """Forget a torrent and its peers; tell whether it was known."""
        if not self._knows(infohash):
            return False
        for swarms in (self._v4, self._v6):
            swarm = swarms.pop(infohash, _NOBODY)
            self._leeches -= swarm.leeches
            self._seeds -= swarm.seeds
        if infohash in self._counts:
            self._completed -= self._counts.pop(infohash)
            self._changed.add(infohash)
        self._torrents -= 1
        return True

    def load(self, counts: Iterable[tuple[bytes, int]]) -> None:
        """Take in torrents as they were stored, and add what was counted meanwhile."""
        for infohash, completed in counts:
            self._store_count(infohash, completed + self._counts.get(infohash, 0))

    def changes(self) -> dict[bytes, int | None]:
        """Return the counts that changed since the last call; None: the torrent is gone."""
        changed, self._changed = self._changed, set()
        return {infohash: self._counts.get(infohash) for infohash in changed}

    def totals(self) -> tuple[int, int, int, int]:
        """Return how many torrents, seeds, leeches and completed downloads there are."""
        return self._torrents, self._seeds, self._leeches, self._completed

    def dump(self) -> Iterator[bytes]:
        """Give the swarms in portions of up to about 100 KiB, for `restore`."""
        groups: list[tuple[bytes, list[Saved]]] = []
        clients = 0
        for infohash, shard in self._shards():
            groups.append((infohash, self._saved(shard)))
            clients += len(groups[-1][1])
            if clients >= _PORTION:
                yield pack(Portion(self._now(), self._unit, groups))
                groups, clients = [], 0
        if groups:
            yield pack(Portion(self._now(), self._unit, groups))

    def restore(self, portion: bytes) -> None:
        """Take in what `dump` gave, less what has aged too much; raise Invalid if damaged.

        What is known of a client already is newer, and stays.
        """
        saved = unpack(portion)
        silent = max(self._now() - saved.now, 0.0)
        for infohash, clients in saved.swarms:
            if not self._has_room(infohash):
                continue
            swarms, swarm = self._find(infohash, len(clients[0].address))
            known = swarm.leeches, swarm.seeds
            fresh = {}
            for address, ticks, peer_id, *byte_counts in clients:
                age = round((silent + ticks * saved.unit) / self._unit)
                if age <= LIFE and swarm.id_at(address) is None:
                    tick = (self._tick - age) & 0xFF
                    short_id = self._ids.shorten(peer_id)
                    fresh[address] = Client(address, short_id, tick, *byte_counts)
            if any(known):
                for client in fresh.values():
                    swarm.add(client)
            else:
                swarm.fill(fresh.values())
            self._settle(swarms, infohash, swarm, known)

    def _shards(self) -> Iterator[tuple[bytes, Swarm]]:
        for swarms in (self._v4, self._v6):
            for infohash in list(swarms):
                for shard in swarms.get(infohash, _NOBODY).shards():
                    yield infohash, shard

    def _saved(self, shard: Swarm) -> list[Saved]:
        return [
            Saved(
                client.address,
                (self._tick - client.tick) & 0xFF,
                self._ids.expand(client.short_id),
                client.uploaded,
                client.downloaded,
                client.left,
            )
            for client in shard.clients()
        ]

    def _peer_record(self, client: Client) -> PeerRecord:
        packed, port = client.address[:-2], int.from_bytes(client.address[-2:])
        if len(packed) == 4:
            host = socket.inet_ntop(socket.AF_INET, packed)
        else:
            host = f"[{socket.inet_ntop(socket.AF_INET6, packed)}]"
        return PeerRecord(
            peer_id=self._ids.expand(client.short_id),
            address=f"{host}:{port}",
            updated=(self._tick - ((self._tick - client.tick) & 0xFF)) * self._unit,
            uploaded=int(client.uploaded),
            downloaded=int(client.downloaded),
            left=int(client.left),
        )

    def _find(self, infohash: bytes, width: int) -> tuple[dict[bytes, Swarm], Swarm]:
        """Return a family's swarms, and that of a torrent, or a new one that is not among them."""
        swarms = self._v4 if width == 6 else self._v6
        swarm = swarms.get(infohash)
        if swarm is None:
            swarm = Swarm() if width == 6 else Swarm6()
        return swarms, swarm

    def _settle(
        self,
        swarms: dict[bytes, Swarm],
        infohash: bytes,
        swarm: Swarm,
        known: tuple[int, int],
    ) -> None:
        """Keep or drop a swarm that has changed; `known` were its leeches and seeds before."""
        leeches, seeds = known
        self._leeches += swarm.leeches - leeches
        self._seeds += swarm.seeds - seeds
        if swarm.leeches or swarm.seeds:
            self._torrents += not self._knows(infohash)
            swarms[infohash] = fitted(swarm)
        elif swarms.pop(infohash, None) is not None:
            self._torrents -= not self._knows(infohash)

    def _expire(self, swarms: dict[bytes, Swarm], infohash: bytes) -> None:
        swarm = swarms.get(infohash)
        if swarm is not None:
            known = swarm.leeches, swarm.seeds
            swarm.expire(self._fresh)
            if known != (swarm.leeches, swarm.seeds):
                self._settle(swarms, infohash, swarm, known)

    def _set_count(self, infohash: bytes, completed: int) -> None:
        if self._counts.get(infohash) != completed:
            self._changed.add(infohash)
            self._store_count(infohash, completed)

    def _store_count(self, infohash: bytes, completed: int) -> None:
        completed = min(completed, LARGEST)
        self._torrents += not self._knows(infohash)
        self._completed += completed - self._counts.get(infohash, 0)
        self._counts[infohash] = completed

    def _set_tick(self, tick: int) -> None:
        self._tick = tick
        self._tick_byte = tick & 0xFF
        self._fresh = bytes((tick - age) & 0xFF for age in range(LIFE + 1))

    def _now(self) -> float:
        return self._tick * self._unit

    def _peers(self) -> int:
        return self._leeches + self._seeds

    def _knows(self, infohash: bytes) -> bool:
        return infohash in self._v4 or infohash in self._v6 or infohash in self._counts

    def _has_room(self, infohash: bytes) -> bool:
        """Tell whether one more client of this torrent may be remembered."""
        return self._peers() < self._most_peers and (
            self._torrents < self._most_torrents or self._knows(infohash)
        )
