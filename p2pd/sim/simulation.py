"""Runs a scenario: the tracker and the nodes are real, their network and their time are not."""

from pathlib import Path
from random import Random

from p2pd import background
from p2pd.errors import Refusal, Unavailable
from p2pd.metainfo.ids import NO_ZONE, Address, NodeId, Zone
from p2pd.node.node import Node
from p2pd.node.transfers import Surroundings
from p2pd.sim.clock import HeapClock
from p2pd.sim.links import SimDialer
from p2pd.sim.network import Host, Network
from p2pd.sim.report import Download, Outcome, ideal_makespan
from p2pd.sim.scenario import Scenario
from p2pd.sim.store import NoTable, SimStore, made_up_torrent
from p2pd.sim.tracker_link import SimTracker, TrackerDesk
from p2pd.store.tracker_tables import MemoryCatalog
from p2pd.swarm.lifecycle import State
from p2pd.tracker.tracker import Tracker

_NAME = "simulated.img"
_BEAT = 3.0
# Daemons run for long before somebody wants a file: so long that each has beaten once or twice.
_BEGIN = 5.0
_PATIENCE = 20.0  # times the ideal, and
_LEAST_PATIENCE = 600.0  # seconds


class Simulation:
    """One run of a scenario; `run` it until it is `over`, then look at its `outcome`."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.clock = HeapClock()
        self._rng = Random(f"scenario {scenario.random_seed}")  # noqa: S311 - to be repeatable
        self.network = Network(self.clock, scenario)
        self._dialer = SimDialer(self.network)
        self._torrent = made_up_torrent(
            _NAME, scenario.size, scenario.length_of_piece, self._random("content")
        )
        self._tracker = Tracker(self.clock, MemoryCatalog(), rng=self._random("tracker"))
        self._tracker.startService()
        self._desk = TrackerDesk(
            self.clock, self._tracker, scenario.latency, scenario.tracker_time
        )
        self.seed = self._host(0, scenario.seed_rate, max(scenario.down, scenario.seed_rate))
        self.downloads = [self._download(number) for number in range(1, scenario.nodes + 1)]
        self._going = len(self.downloads)
        self.ideal = ideal_makespan(scenario, self.downloads)
        self._limit = _BEGIN + max(_PATIENCE * self.ideal, _LEAST_PATIENCE)
        self._plan()

    def _random(self, what: str) -> Random:
        return Random(f"{what} {self.scenario.random_seed}")  # noqa: S311 - to be repeatable

    # -- who there is

    def _host(self, number: int, up: float, down: float) -> Host:
        scenario = self.scenario
        address = Address(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}:48000")
        zone = Zone(f"zone-{number % scenario.zones}") if scenario.zones > 1 else NO_ZONE
        host = Host(address, zone, up * scenario.goodput, down * scenario.goodput)
        self.network.add(host)
        surroundings = Surroundings(
            clock=self.clock,
            rng=self._random(address),
            store=SimStore(self.clock, host.rooms, self._torrent, scenario.verify_time),
            table=NoTable(),
            dialer=self._dialer,
            rooms=host.rooms,
        )
        host.node = Node(
            surroundings,
            node_id=NodeId(f"node-{number}"),
            trackers=[SimTracker(self._desk, host)],
            heartbeat_interval=_BEAT,
            zone=zone,
        )
        host.node.address = address
        return host

    def _download(self, number: int) -> Download:
        scenario = self.scenario
        slow = number <= round(scenario.nodes * scenario.stragglers)
        part = scenario.straggler_factor if slow else 1.0
        late = number > scenario.nodes - scenario.late
        host = self._host(number, scenario.up * part, scenario.down * part)
        return Download(
            host, scenario.down * part, scenario.late_by if late else 0.0, straggles=slow
        )

    # -- what happens

    def _plan(self) -> None:
        scenario, soon = self.scenario, self.clock.soon
        self.seed.node.startService()
        background.start(self._share(), "sharing in a simulation")
        for download in self.downloads:
            soon(self._rng.uniform(0, _BEAT), download.host.node.startService)
            soon(_BEGIN + download.began, self._begin, download)
        for download in self._some(scenario.churn):
            dies = download.began + self._rng.uniform(0, self.ideal)
            soon(_BEGIN + dies, self._kill, download)
        for download in self._some(scenario.liars):
            download.host.lies = True
        if scenario.tracker_dies is not None:
            soon(_BEGIN + scenario.tracker_dies, self._desk.close)

    def _some(self, part: float) -> list[Download]:
        return self._rng.sample(self.downloads, round(part * len(self.downloads)))

    async def _share(self) -> None:
        entry = await self.seed.node.share(Path("/", _NAME))
        self._dialer.board(self.seed, entry)

    def _begin(self, download: Download) -> None:
        if not download.died:
            background.start(self._get(download), "downloading in a simulation")

    async def _get(self, download: Download) -> None:
        """As `Node.start`, but for the torrent, which is one object for all nodes."""
        node = download.host.node
        while True:
            try:
                found = await node.resolve(_NAME)
                break
            except Unavailable:
                if download.died:
                    return
                await self.clock.pause(_BEAT)
            except Refusal as refusal:
                self._ended(download, refusal.reason)
                return
        entry = await node.add(self._torrent, found.filename)
        self._dialer.board(download.host, entry)
        await entry.when_settled()
        if not download.died:
            good = entry.state is State.COMPLETE
            self._ended(download, "" if good else entry.error or entry.state.value)

    def _ended(self, download: Download, error: str = "") -> None:
        if error:
            download.error = error
        else:
            download.ended = self.clock.seconds() - _BEGIN
        self._less()

    def _less(self) -> None:
        self._going -= 1
        if not self._going:
            self.clock.stop()

    def _kill(self, download: Download) -> None:
        if download.ended is None:
            download.died = True
            self._less()
        self.network.kill(download.host)
        # Its timers end with it; nobody hears of that.
        download.host.node.stopService()

    # -- running

    @property
    def over(self) -> bool:
        """Whether every download has ended, or will not any more."""
        return self._going <= 0 or self.clock.seconds() >= self._limit

    @property
    def done(self) -> float:
        """The part of all downloads that have ended."""
        return 1 - self._going / len(self.downloads)

    def run(self, most: int) -> None:
        """Let some events happen."""
        if not self.over:
            self.clock.run(most, self._limit)

    def outcome(self) -> Outcome:
        """What has come of it."""
        return Outcome(
            scenario=self.scenario,
            pieces=self._torrent.piece_count,
            downloads=self.downloads,
            ideal=self.ideal,
            seconds=self.clock.seconds() - _BEGIN,
            seed_sent=self.seed.up.passed(self.clock.seconds()),
            received=sum(d.host.down.passed(self.clock.seconds()) for d in self.downloads),
            kept=sum(map(self._kept, self.downloads)),
            tracker_arrivals=[at - _BEGIN for at in self._desk.arrivals if at >= _BEGIN],
            events=self.clock.events,
        )

    def _kept(self, download: Download) -> int:
        entry = download.host.node.library.find(self._torrent.infohash)
        return self._torrent.length - entry.bytes_left if entry else 0
