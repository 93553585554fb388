"""A swarm of any size, in which no announce costs more than in a small one."""

from collections.abc import Callable, Iterator, Sequence
from itertools import chain

from p2pd.tracker.compact import Client, Swarm
from p2pd.tracker.records import PAUSED

_MOST = 256  # clients of a swarm that is not spread
_USUAL = 160  # clients of a shard, beyond which one is split
_FEW = 48  # clients of a shard, below which two are joined
_MOST_ASKED = 32


class ShardedSwarm(Swarm):
    """A swarm whose own bytes are empty: its clients are in shards, by their addresses.

    Shards are split and joined one at a time (linear hashing).
    """

    __slots__ = ("_shards",)

    def __init__(self, swarm: Swarm) -> None:
        super().__init__()
        self._shards = [swarm]
        self.leeches, self.seeds = swarm.leeches, swarm.seeds

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
        """Do as in any swarm; all that concerns the client itself is in one shard."""
        shard = self._shard(address)
        noted = shard.refresh(address, peer_id, tick, left, uploaded, downloaded, event, 0, random)
        if noted is None or not wanted:
            return noted
        short_id = shard.short_id(shard.place(address))
        with_seeds = left != 0 and event != PAUSED
        return self.others(address, short_id, with_seeds, wanted, random)

    def others(
        self,
        address: bytes,
        short_id: bytes,
        with_seeds: bool,
        wanted: int,
        random: Callable[[], float],
    ) -> bytes:
        """Return the addresses of up to `wanted` clients of a random shard and those after it.

        No more than 32 shards are asked: where hardly one client in a hundred is a leech, a seed
        may hear of fewer than there are.
        """
        shards = self._shards
        start = int(random() * len(shards))
        peers = b""
        for at in range(start, start + min(len(shards), _MOST_ASKED)):
            missing = wanted - len(peers) // len(address)
            if not missing:
                break
            shard = shards[at % len(shards)]
            peers += shard.others(address, short_id, with_seeds, missing, random)
        return peers

    def shards(self) -> Sequence[Swarm]:
        """Return the parts of the swarm; each stays what it is when the swarm grows."""
        return tuple(self._shards)

    def add(self, client: Client) -> None:
        """Put in a client that is not there."""
        self._shard(client.address).add(client)
        if client.left:
            self.leeches += 1
        else:
            self.seeds += 1

    def discard(self, address: bytes) -> bool | None:
        """Take out a client; tell whether it had all, None if it was not there."""
        complete = self._shard(address).discard(address)
        if complete:
            self.seeds -= 1
        elif complete is not None:
            self.leeches -= 1
        return complete

    def id_at(self, address: bytes) -> bytes | None:
        """Return the peer id of a client, shortened, None if it is not there."""
        return self._shard(address).id_at(address)

    def expire(self, fresh: bytes) -> None:
        """Take out the clients whose last tick is none of `fresh`."""
        for shard in self._shards:
            shard.expire(fresh)
        self.leeches = sum(shard.leeches for shard in self._shards)
        self.seeds = sum(shard.seeds for shard in self._shards)

    def clients(self) -> Iterator[Client]:
        """Give all records; the swarm may not change meanwhile."""
        return chain.from_iterable(shard.clients() for shard in self._shards)

    def resized(self) -> Swarm:
        """Split or join shards as the size calls for; return the last one if only one is left."""
        shards, count = self._shards, self.leeches + self.seeds
        while count > _USUAL * len(shards):
            self._split()
        while len(shards) > 1 and count < _FEW * len(shards):
            self._join()
        return self if len(shards) > 1 else shards[0]

    def _split(self) -> None:
        number = len(self._shards)
        parent = _parent(number)
        self._shards[parent], leaving = self._shards[parent].divide(
            lambda address: _shard_of(address, number + 1) == number
        )
        self._shards.append(leaving)

    def _join(self) -> None:
        last = self._shards.pop()
        for client in last.clients():
            self._shard(client.address).add(client)

    def _shard(self, address: bytes) -> Swarm:
        return self._shards[_shard_of(address, len(self._shards))]


def fitted(swarm: Swarm) -> Swarm:
    """Return this swarm, or in its place one of the kind that its size calls for."""
    if isinstance(swarm, ShardedSwarm):
        return swarm.resized()
    return ShardedSwarm(swarm).resized() if swarm.leeches + swarm.seeds > _MOST else swarm


def _shard_of(address: bytes, shards: int) -> int:
    """Return the number of a client's shard; one more shard takes only from its parent."""
    mask = (1 << (shards - 1).bit_length()) - 1
    number = hash(address) & mask
    return number if number < shards else number & mask >> 1


def _parent(shard: int) -> int:
    """Return the shard that one with this number was split from."""
    return shard - (1 << shard.bit_length() - 1)
