"""The modelled network: hosts on links, zones with boundaries, upload slots, sudden deaths."""

from collections.abc import Callable, Sequence
from typing import Protocol

from p2pd.metainfo.ids import Address, Zone
from p2pd.node.node import Node
from p2pd.sim.clock import HeapClock
from p2pd.sim.fluid import Flow, Fluid, Pipe
from p2pd.sim.scenario import Scenario
from p2pd.sim.store import SharedRooms
from p2pd.swarm.uploads import Upload, Uploads


class Connection(Protocol):
    """What ends when the host that serves it dies."""

    def broken(self) -> None:
        """The host has died."""


class Host:
    """A machine on the network; `node` runs on it once that is set.

    A host that `lies` sends false bytes.
    """

    def __init__(self, address: Address, zone: Zone, up: float, down: float) -> None:
        self.address = address
        self.zone = zone
        self.up = Pipe(up)
        self.down = Pipe(down)
        self.rooms = SharedRooms()
        self.uploads = Uploads()
        self.connections: dict[Connection, None] = {}
        self.alive = True
        self.lies = False
        self.watched = False
        """Whether a timer waits for its uploads to be overdue."""
        self._node: Node | None = None

    @property
    def node(self) -> Node:
        """What runs here."""
        assert self._node is not None
        return self._node

    @node.setter
    def node(self, node: Node) -> None:
        self._node = node


class Network:
    """Hosts by address, and the bytes between them."""

    def __init__(self, clock: HeapClock, scenario: Scenario) -> None:
        self.clock = clock
        self.latency = scenario.latency
        self.request_time = scenario.request_time
        self.hosts: dict[Address, Host] = {}
        self.fluid = Fluid(clock)
        self.boundaries: dict[Zone, tuple[Pipe, Pipe]] = {}
        """Of each zone, out and in; none if they are as wide as anybody needs."""
        self._flow_rate = scenario.flow_rate
        self._zone_rate = scenario.zone_rate * scenario.goodput

    def add(self, host: Host) -> None:
        """Connect a host."""
        self.hosts[host.address] = host
        if self._zone_rate and host.zone not in self.boundaries:
            self.boundaries[host.zone] = Pipe(self._zone_rate), Pipe(self._zone_rate)

    def kill(self, host: Host) -> None:
        """End what runs on a host, without a word from it: its connections break."""
        host.alive = False
        for connection in tuple(host.connections):
            connection.broken()

    def send(
        self, source: Host, target: Host, marks: Sequence[int], moved: Callable[[int], None]
    ) -> Flow:
        """Let bytes flow from host to host; see `Fluid.start`."""
        pipes = [source.up, target.down]
        if self._zone_rate and source.zone != target.zone:
            pipes[1:1] = self.boundaries[source.zone][0], self.boundaries[target.zone][1]
        return self.fluid.start(pipes, marks, self._flow_rate, moved)

    def ask(
        self, host: Host, peer: str, size: int, begin: Callable[[], None], behind: int
    ) -> Upload | None:
        """Let a host send when it is a peer's turn; see `Uploads.ask`."""
        upload = host.uploads.ask(peer, size, begin, self.clock.seconds(), behind=behind)
        self._watch(host)
        return upload

    def sent(self, host: Host, upload: Upload) -> None:
        """Note that a host has sent what it was asked for, or need not any more."""
        host.uploads.done(upload, self.clock.seconds())

    def _watch(self, host: Host) -> None:
        """See to it that slow uploads lose their slots, while others wait for them."""
        if host.watched or not host.uploads.waiting:
            return
        deadline = host.uploads.next_deadline()
        if deadline is not None:
            host.watched = True
            self.clock.soon(max(deadline - self.clock.seconds(), 0.001), self._look, host)

    def _look(self, host: Host) -> None:
        host.watched = False
        host.uploads.overdue(self.clock.seconds())
        self._watch(host)
