"""What a node tells a tracker about one torrent, and what it is told in return."""

from dataclasses import dataclass
from enum import StrEnum

from p2pd.metainfo.ids import NO_ZONE, Address, InfoHash, NodeId, Zone


class Event(StrEnum):
    """Why an announcement is made (BEP 3, "event")."""

    NONE = ""
    STARTED = "started"
    COMPLETED = "completed"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Announcement:
    """A node's state in one swarm; `bitfield` is the wire form (BEP 3), byte counts are totals.

    Nodes of one `zone` (such as a rack) are near each other; one of no zone is near to none.
    """

    node_id: NodeId
    infohash: InfoHash
    bitfield: bytes
    event: Event = Event.NONE
    uploaded: int = 0
    downloaded: int = 0
    left: int = 0
    wanted: int = 50
    zone: Zone = NO_ZONE


@dataclass(frozen=True, slots=True)
class PeerRef:
    """One peer of a swarm as a tracker names it."""

    node_id: NodeId
    address: Address
    complete: bool = False
    zone: Zone = NO_ZONE


@dataclass(frozen=True, slots=True)
class Handout:
    """A tracker's answer: whom to ask, and after how many seconds to announce again."""

    peers: tuple[PeerRef, ...]
    interval: float
