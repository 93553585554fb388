"""Whom to name to a node that asks for peers: a random sample, however large the swarm."""

import random
from collections.abc import Callable, Iterator

from p2pd.metainfo.ids import NodeId

MOST_PEERS = 50


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

    def __getitem__(self, place: int) -> NodeId:
        return self._nodes[place]

    def __iter__(self) -> Iterator[NodeId]:
        return iter(self._nodes)

    def __len__(self) -> int:
        return len(self._nodes)


def choose(
    seeds: Bag,
    leeches: Bag,
    *,
    seeding: bool,
    wanted: int,
    acceptable: Callable[[NodeId], bool],
    rng: random.Random,
) -> list[NodeId]:
    """Return up to `wanted` (at most 50) random nodes of a swarm for one that asks.

    One that is `seeding` hears of leeches only. `acceptable` refuses the node that asks; what it
    refuses beyond two makes the sample smaller.
    """
    wanted = min(wanted, MOST_PEERS)
    from_seeds = 0 if seeding else len(seeds)
    everyone = from_seeds + len(leeches)
    places = rng.sample(range(everyone), min(wanted + 2, everyone))
    nodes = (seeds[at] if at < from_seeds else leeches[at - from_seeds] for at in places)
    return [node for node in nodes if acceptable(node)][:wanted]
