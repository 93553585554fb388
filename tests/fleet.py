"""A fleet in memory: one tracker, nodes that reach each other without a network, one clock."""

import itertools
import json
import random
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

from treq.testing import StubTreq
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from p2pd.frontends.authorisation import Gate
from p2pd.frontends.control import Control
from p2pd.frontends.mount import node_root
from p2pd.frontends.sending import Uplink
from p2pd.links.memory import MemoryNetwork, MemoryTracker
from p2pd.metainfo.ids import Address, NodeId
from p2pd.node.entry import SETTLED, Entry
from p2pd.node.node import Node
from p2pd.node.transfers import Surroundings
from p2pd.store.memory import Disk, MemoryResumeTable, MemoryStore
from p2pd.store.tracker_tables import MemoryCatalog
from p2pd.swarm.uploads import Uploads
from p2pd.tracker.tracker import Tracker
from tests.controls import control_of


class Table(MemoryResumeTable):
    """A table that may be slow, or broken: `before(name)` is awaited before a method writes."""

    def __init__(self) -> None:
        super().__init__()
        self.before = None

    async def _wait(self, name):
        if self.before is not None:
            await self.before(name)

    async def save(self, record, *, settles=None):
        await self._wait("save")
        await super().save(record, settles=settles)

    async def forget(self, infohash):
        await self._wait("forget")
        await super().forget(infohash)

    async def save_pending(self, record):
        await self._wait("save_pending")
        return await super().save_pending(record)

    async def place(self, torrents, pending):
        await self._wait("place")
        await super().place(torrents, pending)

    async def forget_pending(self, number):
        await self._wait("forget_pending")
        await super().forget_pending(number)

    def copy(self) -> "Table":
        copied = Table()
        copied.records = dict(self.records)
        copied.pending = dict(self.pending)
        copied.settings = dict(self.settings)
        copied._numbers = itertools.count(next(self._numbers))
        return copied


class Fleet:
    def __init__(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_000_000)
        self.network = MemoryNetwork(self.clock)
        self.catalog = MemoryCatalog()
        self.tracker = self.start_tracker()
        self.links: list[MemoryTracker] = []
        self.controls: dict[Node, Control] = {}
        self.disks: dict[str, Disk] = {}
        self.tables: dict[str, Table] = {}
        self.rng = random.Random(7)
        self.origin = None
        self.web = None
        self.boot = "boot-1"

    def start_tracker(self) -> Tracker:
        tracker = Tracker(self.clock, self.catalog, rng=random.Random(len(self.catalog._names)))
        tracker.startService()
        return tracker

    def stop_tracker(self) -> None:
        for link in self.links:
            link.tracker = None

    def restart_tracker(self) -> None:
        self.tracker = self.start_tracker()
        for link in self.links:
            link.tracker = self.tracker

    def node(
        self, name: str, *, dialer=None, parallel: int = 8, tracker=None, zone="", **outfit
    ) -> Node:
        link = tracker or MemoryTracker(self.tracker)
        self.links.append(link)
        surroundings = Surroundings(
            clock=self.clock,
            rng=random.Random(name),
            store=MemoryStore(self.disks.setdefault(name, Disk())),
            table=self.tables.setdefault(name, Table()),
            dialer=dialer or self.network,
            boot=self.boot,
            origin=self.origin,
        )
        node = Node(
            surroundings, node_id=NodeId(name), trackers=[link], parallel=parallel, zone=zone
        )
        node.address = Address(f"{name}:1")
        self.network.nodes[node.address] = node
        control = self.controls[node] = control_of(node, surroundings, web=self.web, **outfit)
        control.downloads.startService()
        self.done(control.accounts.load())
        self.advance(0)
        return node

    def control(self, node: Node) -> Control:
        """What the APIs that drive a node speak for."""
        return self.controls[node]

    def kill(self, node: Node) -> None:
        """As kill -9: nothing is said, nothing more is written."""
        self.network.kill(node.address)
        node._transfers._slots.tokens = 0
        for download in node._transfers._downloads.values():
            download.stop()
        for service in list(node):
            service.stopService()
        for asking in tuple(self.controls[node].downloads._intake._asking.values()):
            asking.cancel()
        # Whatever of it goes on all the same goes on elsewhere.
        self.tables[node.node_id] = self.tables[node.node_id].copy()
        self.disks[node.node_id] = deepcopy(self.disks[node.node_id])

    def data(self, size: int) -> bytes:
        return self.rng.randbytes(size)

    def share(self, node: Node, name: str, data: bytes) -> Entry:
        path = Path("/shared", name)
        self.disks[node.node_id].published[path] = data
        return self.done(node.share(path, name))

    def get(self, node: Node, name: str, **options) -> Entry:
        return self.done(node.start(name, **options))

    def content(self, node: Node, entry: Entry) -> bytes:
        return self.disks[node.node_id].published[entry.content.path]

    def advance(self, seconds: float, step: float = 0.001) -> None:
        for _ in range(max(1, round(seconds / step))):
            self.clock.advance(step)

    def done(self, coroutine, meanwhile=lambda: None):
        """The result of a coroutine that needs no time, or little."""
        deferred = Deferred.fromCoroutine(coroutine)
        results: list = []
        deferred.addBoth(results.append)
        for _ in range(1000):
            if results:
                break
            self.clock.advance(0.001)
            meanwhile()
        assert results, "it never ended"
        if hasattr(results[0], "raiseException"):
            results[0].raiseException()
        return results[0]

    def settle(self, *entries: Entry, within: float = 120.0) -> None:
        """Let time pass, finely while things move, until all entries have settled."""
        ends = self.clock.seconds() + within
        while not all(entry.state in SETTLED for entry in entries):
            assert self.clock.seconds() < ends, [
                (e.state, e.held.count, e.torrent.piece_count) for e in entries
            ]
            calls = self.clock.getDelayedCalls()
            wait = min(call.getTime() for call in calls) - self.clock.seconds()
            self.clock.advance(max(wait, 0.0001))

    def until(self, condition: Callable[[], bool], within: float = 120.0) -> None:
        ends = self.clock.seconds() + within
        while not condition():
            assert self.clock.seconds() < ends
            self.clock.advance(0.001)


class Door:
    """A node's site, called over HTTP in memory."""

    URL = "http://127.0.0.1:48000"

    def __init__(self, fleet, node, gate=None, rate=0):
        self.fleet = fleet
        if rate:
            node.limit(upload=rate)
        self.uploads = Uploads()
        uplink = Uplink(node.uplink, self.uploads)
        self.treq = StubTreq(node_root(fleet.control(node), gate or Gate(), uplink))

    def ask(self, method, path, body=None, **options):
        if isinstance(body, dict):
            body = json.dumps(body).encode()
        return self.fleet.done(self._ask(method, path, body, options), self.treq.flush)

    async def _ask(self, method, path, body, options):
        response = await self.treq.request(method, self.URL + path, data=body, **options)
        response.whole = await response.content()
        return response

    def post(self, operation, body=None, **options):
        response = self.ask("POST", f"/api/v1/{operation}", body, **options)
        return response.code, json.loads(response.whole)

    def get(self, operation, body=None):
        response = self.ask("GET", f"/api/v1/{operation}", body)
        return response.code, json.loads(response.whole)
