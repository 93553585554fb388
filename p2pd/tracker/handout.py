"""Whom to name to a node that asks for peers: a random sample, however large the swarm."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from p2pd.metainfo.ids import NodeId
from p2pd.tracker.zones import Zones

MOST_PEERS = 50
_MOST_DRAWN = 4 * MOST_PEERS
_REFUSED = 2


class Bag:
    """A set of nodes from which a random sample costs no more than its size."""

    def __init__(self) -> None:
        self._nodes: list[NodeId] = []
        self._places: dict[NodeId, int] = {}

    def add(self, node: NodeId) -> None:
        """Put a node in, unless it is there."""
        if node not in self._places:
            self._places[node] = len(self._nodes)
            self._nodes.append(node)

    def discard(self, node: NodeId) -> None:
        """Take a node out, if it is there."""
        place = self._places.pop(node, None)
        if place is None:
            return
        last = self._nodes.pop()
        if last != node:
            self._nodes[place] = last
            self._places[last] = place

    def __contains__(self, node: NodeId) -> bool:
        return node in self._places

    def __getitem__(self, place: int) -> NodeId:
        return self._nodes[place]

    def __iter__(self) -> Iterator[NodeId]:
        return iter(self._nodes)

    def __len__(self) -> int:
        return len(self._nodes)


@dataclass(frozen=True, slots=True)
class Crowd:
    """The nodes of a swarm, or of a zone in it, apart by whether they lack something."""

    seeds: Bag = field(default_factory=Bag)
    leeches: Bag = field(default_factory=Bag)

    def put(self, node: NodeId, *, complete: bool) -> None:
        """Put a node into the bag it belongs to, and into no other."""
        (self.seeds if complete else self.leeches).add(node)
        (self.leeches if complete else self.seeds).discard(node)

    def discard(self, node: NodeId) -> None:
        """Take a node out, if it is there."""
        self.seeds.discard(node)
        self.leeches.discard(node)

    def count(self, *, seeding: bool) -> int:
        """Tell how many there are to be named to one that is `seeding`, or is not."""
        return len(self.leeches) + (0 if seeding else len(self.seeds))

    def sample(self, size: int, rng: random.Random, *, seeding: bool) -> Iterator[NodeId]:
        """Give that many random nodes for one that is `seeding` (leeches only), or is not."""
        from_seeds = 0 if seeding else len(self.seeds)
        everyone = from_seeds + len(self.leeches)
        for at in rng.sample(range(everyone), min(size, everyone)):
            yield self.seeds[at] if at < from_seeds else self.leeches[at - from_seeds]

    def sample_seeds(self, size: int, rng: random.Random) -> list[NodeId]:
        """Return that many random seeds, or all if there are not so many."""
        places = rng.sample(range(len(self.seeds)), min(size, len(self.seeds)))
        return [self.seeds[place] for place in places]

    def __contains__(self, node: NodeId) -> bool:
        return node in self.leeches or node in self.seeds

    def __len__(self) -> int:
        return len(self.seeds) + len(self.leeches)


def choose(
    everyone: Crowd,
    zone: Crowd,
    *,
    seeding: bool,
    wanted: int,
    acceptable: Callable[[NodeId], bool],
    rng: random.Random,
) -> list[NodeId]:
    """Return up to `wanted` (at most 50) random nodes of a swarm for one that asks.

    Those of its `zone` come first; beyond three quarters only if there are too few others, for
    zones that know only themselves would fall apart. One that is `seeding` hears of leeches
    only. `acceptable` refuses the node that asks; what it refuses beyond two makes the sample
    smaller.
    """
    wanted = min(wanted, MOST_PEERS)
    drawn = zone.sample(wanted + _REFUSED, rng, seeding=seeding)
    near = [node for node in drawn if acceptable(node)]
    others = wanted - min(len(near), wanted * 3 // 4)
    far = _sample_others(everyone, zone, others, rng, seeding=seeding)
    far = [node for node in far if acceptable(node)][:others]
    return near[: wanted - len(far)] + far


def _sample_others(
    everyone: Crowd, zone: Crowd, wanted: int, rng: random.Random, *, seeding: bool
) -> list[NodeId]:
    """Draw as many as are likely to hold `wanted` nodes of other zones, within reason."""
    total = everyone.count(seeding=seeding)
    others = total - zone.count(seeding=seeding)
    if not others:
        return []
    size = min((wanted + _REFUSED) * -(-total // others), _MOST_DRAWN)
    drawn = everyone.sample(size, rng, seeding=seeding)
    return [node for node in drawn if node not in zone]


def nearest(asker: bytes, peers: bytes, wanted: int, zones: Zones, rng: random.Random) -> bytes:
    """Return up to `wanted` of the packed addresses, those in the zone of `asker` first.

    As in `choose`, these are at most three quarters unless there are too few others. Who comes
    first in `peers` is no more likely to be named.
    """
    width = len(asker)
    zone = zones.zone(asker)
    start = rng.randrange(len(peers) // width) * width if peers else 0
    turned = peers[start:] + peers[:start]
    each = [turned[at : at + width] for at in range(0, len(turned), width)]
    near = [peer for peer in each if zone and zones.zone(peer) == zone]
    far = [peer for peer in each if not zone or zones.zone(peer) != zone]
    far = far[: wanted - min(len(near), wanted * 3 // 4)]
    return b"".join(near[: wanted - len(far)] + far)
