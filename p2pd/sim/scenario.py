"""What to simulate: how many nodes, on which links, and what goes wrong."""

import math
from dataclasses import dataclass

from p2pd.errors import Invalid
from p2pd.metainfo.pieces import piece_length_for

_MSS = 1448
# Mathis, Semke, Mahdavi and Ott, 1997: what TCP comes to when a part p of its packets is lost.
_MATHIS = 1.22


@dataclass(frozen=True, slots=True)
class Scenario:
    """One seed and `nodes` others that want what it has; bytes, seconds, bytes per second.

    A rate of 0 is none of its own: the seed sends at `up`, and the boundary of a zone is as wide
    as all that is in it.
    """

    nodes: int = 40
    size: int = 1_000_000_000
    piece_length: int = 0
    """0: what p2pd would choose for the size."""

    up: int = 125_000_000
    down: int = 125_000_000
    seed_up: int = 0
    latency: float = 0.0002
    """From any host to any other, one way."""
    loss: float = 0.0
    """The part of all packets that is lost; each flow is the slower for it, after Mathis."""
    goodput: float = 1.0
    """The part of each rate that is payload; TCP over Ethernet leaves some 0.945."""

    zones: int = 1
    zone_rate: int = 0
    """What may cross the boundary of a zone, each way."""

    stragglers: float = 0.0
    """The part of the nodes that have only `straggler_factor` of the rates."""
    straggler_factor: float = 1.0
    late: int = 0
    """So many nodes begin `late_by` seconds after the others."""
    late_by: float = 0.0
    churn: float = 0.0
    """The part of the nodes that die while they download."""
    liars: float = 0.0
    """The part of the nodes that send false bytes."""
    tracker_dies: float | None = None
    """When the tracker ends, in seconds after the downloads began."""

    request_time: float = 0.001
    """What a request for pieces costs the node that serves it, before the first byte."""
    verify_time: float = 0.0005
    """What a piece costs the node that gets it, after its last byte."""
    tracker_time: float = 0.0002
    """What a request costs the tracker, which does one after the other."""
    random_seed: int = 1

    def __post_init__(self) -> None:
        """Refuse what cannot be simulated."""
        if self.nodes < 1:
            raise Invalid("there is nobody to send to: simulate at least 1 node beside the seed")
        if self.late > self.nodes:
            raise Invalid(f"{self.late} nodes cannot come late, for there are {self.nodes} in all")
        if self.loss and not self.latency:
            raise Invalid("loss slows a flow by its round trip: give a latency above 0 too")
        if self.zones > self.nodes + 1:
            raise Invalid(f"{self.zones} zones are more than there are hosts")

    @property
    def length_of_piece(self) -> int:
        """Bytes in a piece."""
        return self.piece_length or piece_length_for(self.size)

    @property
    def seed_rate(self) -> int:
        """The rate at which the seed can send."""
        return self.seed_up or self.up

    @property
    def flow_rate(self) -> float:
        """The most that one flow can have, whatever its links allow."""
        if not self.loss:
            return math.inf
        return _MSS / (2 * self.latency) * _MATHIS / math.sqrt(self.loss)
