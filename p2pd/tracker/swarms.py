"""Who holds how much of each torrent, and who holds single pieces that were reported by id."""

from collections.abc import Iterator
from dataclasses import dataclass

from p2pd.errors import Unavailable
from p2pd.metainfo.bitfield import Bitfield
from p2pd.metainfo.ids import NO_ZONE, InfoHash, NodeId, PieceId, Zone
from p2pd.tracker.handout import Crowd

_PEER_BYTES = 400  # what a peer of a swarm costs beside its bitfield
_ZONE_BYTES = 600  # and if it is the only one of its zone


@dataclass(slots=True)
class Peer:
    """A node in a swarm, with the totals of its last announce; `finished` counts once."""

    held: Bitfield
    uploaded: int = 0
    downloaded: int = 0
    left: int = 0
    finished: bool = False
    zone: Zone = NO_ZONE


class Swarm:
    """The nodes of one torrent; only live ones are in the crowds."""

    def __init__(self, pieces: int) -> None:
        self.full = Bitfield.full(pieces)
        self.peers: dict[NodeId, Peer] = {}
        self.everyone = Crowd()
        self._zones: dict[Zone, Crowd] = {}

    def zone(self, name: Zone) -> Crowd:
        """Return the live nodes of a zone; nobody is in the zone without a name."""
        return self._zones.get(name) or Crowd()

    def show(self, node: NodeId) -> None:
        """Put a live node where it belongs."""
        peer = self.peers[node]
        self.everyone.put(node, complete=peer.held.complete)
        if peer.zone:
            self._zones.setdefault(peer.zone, Crowd()).put(node, complete=peer.held.complete)

    def hide(self, node: NodeId) -> None:
        """Name a node to nobody; what it holds stays."""
        self.everyone.discard(node)
        zone = self.peers[node].zone
        if crowd := self._zones.get(zone):
            crowd.discard(node)
            if not crowd:
                del self._zones[zone]


class Swarms:
    """All swarms, bounded by the bytes that their bitfields take.

    `live` tells how many live nodes have all and less than all of each torrent that any holds.
    """

    def __init__(self, *, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._swarms: dict[InfoHash, Swarm] = {}
        self._of_node: dict[NodeId, set[InfoHash]] = {}
        self.live: dict[bytes, tuple[int, int]] = {}

    def get(self, infohash: InfoHash) -> Swarm | None:
        """Return the swarm of a torrent, None if it never had a node."""
        return self._swarms.get(infohash)

    def empty(self, infohash: InfoHash) -> bool:
        """Tell whether no node holds any of a torrent."""
        return infohash not in self._swarms

    def hold(self, infohash: InfoHash, node: NodeId, held: Bitfield, zone: Zone = NO_ZONE) -> Peer:
        """Note where a node is and exactly what it holds of a torrent.

        It is to be shown then, if it is live. Raises Unavailable if there is no room.
        """
        swarm = self._swarms.get(infohash) or Swarm(len(held))
        peer = swarm.peers.get(node)
        if held.complete:
            held = swarm.full  # one bitfield serves all seeds
        if peer is None:
            cost = _cost(swarm, zone)
            if self._bytes + cost > self._max_bytes:
                raise Unavailable("this tracker's swarms are full; try again later")
            self._bytes += cost
            self._swarms[infohash] = swarm
            self._of_node.setdefault(node, set()).add(infohash)
            peer = swarm.peers[node] = Peer(held, zone=zone)
        peer.held = held
        if peer.zone != zone:
            self._bytes += _cost(swarm, zone) - _cost(swarm, peer.zone)
            swarm.hide(node)
            peer.zone = zone
        return peer

    def stop(self, infohash: InfoHash, node: NodeId) -> None:
        """Take a node out of one swarm."""
        swarm = self._swarms.get(infohash)
        if swarm is None or node not in swarm.peers:
            return
        swarm.hide(node)
        self._recount(infohash, swarm)
        self._bytes -= _cost(swarm, swarm.peers.pop(node).zone)
        if not swarm.peers:
            del self._swarms[infohash]
        of_node = self._of_node[node]
        of_node.discard(infohash)
        if not of_node:
            del self._of_node[node]

    def leave(self, node: NodeId) -> None:
        """Take a node out of all swarms."""
        for infohash in tuple(self._of_node.get(node, ())):
            self.stop(infohash, node)

    def show(self, node: NodeId, *infohashes: InfoHash) -> None:
        """Name a live node in some swarms, or again in all that it is in."""
        for infohash in infohashes or self._of_node.get(node, ()):
            swarm = self._swarms[infohash]
            swarm.show(node)
            self._recount(infohash, swarm)

    def hide(self, node: NodeId) -> None:
        """Name a node to nobody: it is silent."""
        for infohash in self._of_node.get(node, ()):
            swarm = self._swarms[infohash]
            swarm.hide(node)
            self._recount(infohash, swarm)

    def _recount(self, infohash: InfoHash, swarm: Swarm) -> None:
        if swarm.everyone:
            self.live[infohash] = len(swarm.everyone.seeds), len(swarm.everyone.leeches)
        else:
            self.live.pop(infohash, None)


def _cost(swarm: Swarm, zone: Zone) -> int:
    return _PEER_BYTES + len(swarm.full) // 8 + (_ZONE_BYTES if zone else 0)


class Reports:
    """Single pieces that nodes reported by id, and their progress with files.

    For nodes that do not announce bitfields; ids need not occur in any torrent.
    """

    def __init__(self, *, capacity: int) -> None:
        self._capacity = capacity
        self._count = 0
        self._holders: dict[PieceId, dict[NodeId, None]] = {}
        self._of_node: dict[NodeId, tuple[set[PieceId], dict[str, float]]] = {}

    def add(self, node: NodeId, piece_id: PieceId, progress: float, filename: str) -> bool:
        """Note a piece and a progress (0 to 1); tell whether the node just finished the file."""
        pieces, files = self._of_node.get(node, (set(), {}))
        news = (piece_id not in pieces) + (filename not in files)
        if self._count + news > self._capacity:
            raise Unavailable("this tracker remembers as many reports as it may; try again later")
        self._count += news
        self._of_node[node] = pieces, files
        pieces.add(piece_id)
        self._holders.setdefault(piece_id, {})[node] = None
        finished = progress >= 1 > files.get(filename, 0.0)
        files[filename] = progress
        return finished

    def holders(self, piece_id: PieceId) -> Iterator[NodeId]:
        """Give the nodes that reported a piece."""
        return iter(self._holders.get(piece_id, ()))

    def pieces(self) -> Iterator[tuple[PieceId, tuple[NodeId, ...]]]:
        """Give every reported piece with its holders."""
        return ((piece_id, tuple(nodes)) for piece_id, nodes in self._holders.items())

    def __len__(self) -> int:
        return self._count

    def leave(self, node: NodeId) -> None:
        """Forget what a node reported."""
        pieces, files = self._of_node.pop(node, (set[PieceId](), dict[str, float]()))
        self._count -= len(pieces) + len(files)
        for piece_id in pieces:
            holders = self._holders[piece_id]
            del holders[node]
            if not holders:
                del self._holders[piece_id]
