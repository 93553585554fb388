"""Nodes in this process, called over real sockets by the command."""

import io
import random
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.web.resource import Resource
from twisted.web.server import Site

from p2pd.cli.main import parser, perform
from p2pd.cli.output import Output
from p2pd.frontends.authorisation import Gate
from p2pd.frontends.mount import node_root
from p2pd.frontends.sending import Uplink
from p2pd.frontends.site import Site as BoundedSite
from p2pd.links.memory import MemoryNetwork, MemoryTracker
from p2pd.metainfo.ids import Address, NodeId
from p2pd.node.node import Node
from p2pd.node.transfers import Surroundings
from p2pd.store.memory import Disk, MemoryResumeTable, MemoryStore
from p2pd.store.tracker_tables import MemoryCatalog
from p2pd.swarm.uploads import Uploads
from p2pd.tracker.tracker import Tracker
from tests.controls import control_of


class Screen(io.StringIO):
    """A terminal that remembers."""

    def isatty(self):
        return True


class Command:
    """`await command("ls", "--json")` runs the command; then look at `out` and `err`."""

    def __init__(self):
        self.out = self.err = ""

    async def __call__(self, *argv, terminal=False):
        return await self.start(*argv, terminal=terminal)

    def start(self, *argv, terminal=False):
        """Begin to run it; the Deferred fires with the exit code."""
        stdout, stderr = Screen() if terminal else io.StringIO(), io.StringIO()
        arguments = parser().parse_args(argv)
        out = Output(stdout, stderr, as_json=arguments.json)
        running = Deferred.fromCoroutine(perform(reactor, arguments, out))

        def ended(status):
            self.out, self.err = stdout.getvalue(), stderr.getvalue()
            return status

        return running.addCallback(ended)


@pytest.fixture
def command(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.delenv("P2PD_NODE", raising=False)
    monkeypatch.delenv("P2PD_TOKEN_FILE", raising=False)
    return Command()


class Server:
    """A node that a command can be sent to, and what is on its disk."""

    def __init__(self, name, fleet, gate):
        self.disk = Disk()
        surroundings = Surroundings(
            clock=reactor,
            rng=random.Random(name),
            store=MemoryStore(self.disk),
            table=MemoryResumeTable(),
            dialer=fleet.network,
            boot="boot",
        )
        self.node = Node(
            surroundings, node_id=NodeId(name), trackers=[MemoryTracker(fleet.tracker)]
        )
        root = node_root(
            control_of(self.node, surroundings), gate, Uplink(self.node.uplink, Uploads())
        )
        self.port = reactor.listenTCP(0, BoundedSite(root), interface="127.0.0.1")
        self.url = f"http://127.0.0.1:{self.port.getHost().port}"
        self.node.address = Address(self.url.removeprefix("http://"))
        fleet.network.nodes[self.node.address] = self.node
        self.node.startService()

    def put(self, path, data):
        """Have a file on the node's disk."""
        self.disk.published[Path(path)] = data

    async def stop(self):
        await self.port.stopListening()
        await self.node.stopService()


class Servers:
    """A tracker, and nodes that reach each other without a network."""

    def __init__(self):
        self.network = MemoryNetwork(reactor)
        self.tracker = Tracker(reactor, MemoryCatalog())
        self.tracker.startService()
        self.running = []

    def start(self, name, gate=None):
        server = Server(name, self, gate or Gate())
        self.running.append(server)
        return server

    async def stop(self):
        for server in self.running:
            await server.stop()
        await maybeDeferred(self.tracker.stopService)


@pytest_twisted.async_yield_fixture
async def servers():
    servers = Servers()
    yield servers
    await servers.stop()


class Scripted(Resource):
    """Answers every request with the same words."""

    isLeaf = True

    def __init__(self, status, body):
        super().__init__()
        self.status, self.body = status, body
        self.requests = []

    def render(self, request):
        self.requests.append(request)
        request.setResponseCode(self.status)
        return self.body


@pytest_twisted.async_yield_fixture
async def scripted():
    """`scripted(status, body)` starts a server that is no node; returns its URL."""
    ports = []

    def serve(status, body):
        site = Site(Scripted(status, body))
        ports.append(reactor.listenTCP(0, site, interface="127.0.0.1"))
        return f"http://127.0.0.1:{ports[-1].getHost().port}"

    yield serve
    for port in ports:
        await port.stopListening()
