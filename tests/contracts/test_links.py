"""The contracts of `TrackerLink` and `PeerLink`, run in memory and over real HTTP."""

import random
from collections import Counter
from itertools import chain
from pathlib import Path
from types import SimpleNamespace

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from p2pd.errors import NotFound, Refusal, Unavailable
from p2pd.frontends import fleet, fleet_tracker
from p2pd.frontends.authorisation import Gate
from p2pd.frontends.kit import application
from p2pd.frontends.mount import node_root
from p2pd.frontends.root import Root
from p2pd.frontends.sending import Uplink
from p2pd.frontends.site import Site
from p2pd.links.agent import make_agent, make_client
from p2pd.links.dialer import HttpDialer
from p2pd.links.http import Caller
from p2pd.links.http_tracker import HttpTracker
from p2pd.links.memory import MemoryNetwork, MemoryTracker
from p2pd.metainfo.bitfield import Bitfield
from p2pd.metainfo.ids import Address, InfoHash, NodeId
from p2pd.node.node import Node
from p2pd.node.throttle import Throttle
from p2pd.node.transfers import Surroundings
from p2pd.protocol.announcement import Announcement, Event
from p2pd.store.memory import MemoryResumeTable, MemoryStore
from p2pd.store.tracker_tables import MemoryCatalog
from p2pd.swarm.rates import TokenBucket
from p2pd.swarm.uploads import Uploads
from p2pd.tracker.tracker import Tracker
from tests.controls import control_of

PIECE = 256 * 1024
DATA = random.Random(11).randbytes(3 * PIECE + 10)
PATH = Path("/shared/image")
OWN = Address("127.0.0.1:9")


class InMemory:
    def __init__(self) -> None:
        self.network = MemoryNetwork(reactor)

    def tracker_link(self, tracker):
        self.link = MemoryTracker(tracker)
        return self.link

    async def stop_tracker(self):
        self.link.tracker = None

    def serve(self, node):
        node.address = Address("one:1")
        self.network.nodes[node.address] = node

    def dialer(self, zone=""):
        self.network.nodes[OWN] = SimpleNamespace(zone=zone)
        return self.network

    async def stop_node(self, node):
        self.network.kill(node.address)

    async def close(self):
        pass


class OverHttp:
    def __init__(self) -> None:
        self.client = make_client(make_agent(reactor, connections=2))
        self.caller = Caller(
            self.client, reactor, NodeId("asking"), Throttle(reactor), b"a-secret-for-the-tests"
        )
        self.gate = Gate(b"a-secret-for-the-tests")
        self.ports = {}

    def _listen(self, key, root):
        site = Site(root, reactor=reactor)
        self.ports[key] = reactor.listenTCP(0, site, interface="127.0.0.1"), site
        return f"127.0.0.1:{self.ports[key][0].getHost().port}"

    async def _close(self, key):
        port, _ = self.ports.pop(key)
        await port.stopListening()
        # Connections that are open stay so, as nothing of a port stops them: cut them too.
        for reader in reactor.getReaders():
            if getattr(getattr(reader, "server", None), "port", None) is port or (
                getattr(reader, "server", None) is port
            ):
                reader.abortConnection()

    def tracker_link(self, tracker):
        apis = [(fleet_tracker.api, tracker), (fleet_tracker.top, tracker)]
        root = Root(self.gate, fleet.error, application(self.gate, apis), {})
        return HttpTracker(f"http://{self._listen('tracker', root)}", self.caller)

    async def stop_tracker(self):
        await self._close("tracker")

    def serve(self, node):
        root = node_root(
            control_of(node, node._with), self.gate, Uplink(Throttle(reactor), Uploads())
        )
        node.address = Address(self._listen("node", root))

    def dialer(self, zone=""):
        return HttpDialer(self.caller, zone=zone, threads=None)

    async def stop_node(self, node):
        await self._close("node")

    async def close(self):
        for key in list(self.ports):
            await self._close(key)
        await self.client._agent._pool.closeCachedConnections()
        await deferLater(reactor, 0.01)


@pytest.fixture(params=["memory", "http"])
def world(request):
    made = InMemory() if request.param == "memory" else OverHttp()
    yield made
    pytest_twisted.blockon(Deferred.fromCoroutine(made.close()))


@pytest.fixture
def tracker():
    made = Tracker(reactor, MemoryCatalog())
    made.startService()
    yield made
    pytest_twisted.blockon(made.stopService())


@pytest.fixture
def node(world):
    store = MemoryStore()
    store.disk.published[PATH] = DATA
    surroundings = Surroundings(
        reactor, random.Random(1), store, MemoryResumeTable(), world.dialer()
    )
    made = Node(surroundings, node_id=NodeId("one"))
    world.serve(made)
    made.startService()
    yield made
    pytest_twisted.blockon(made.stopService())


class Follower:
    def __init__(self) -> None:
        self.heard = []
        self._waiting: list[tuple[int, Deferred]] = []

    def _hear(self, *event):
        self.heard.append(event)
        for count, deferred in list(self._waiting):
            if len(self.heard) >= count and not deferred.called:
                deferred.callback(None)

    async def after(self, count):
        if len(self.heard) < count:
            deferred = Deferred()
            self._waiting.append((count, deferred))
            await deferred.addTimeout(5, reactor)
        return self.heard

    def peer_has_bitfield(self, peer, bitfield):
        self._hear("holds", bitfield.copy())

    def peer_has(self, peer, *indexes):
        self._hear("has", *indexes)

    def peer_promised(self, peer, *indexes):
        self._hear("promised", *indexes)

    def peer_lost(self, peer, index):
        self._hear("lost", index)

    def peer_gone(self, peer, reason):
        self._hear("gone", reason)


async def torrent_in(node):
    return (await node.share(PATH)).torrent


def announcement(torrent, name="one", held=None, **rest):
    held = held or Bitfield.full(torrent.piece_count)
    return Announcement(NodeId(name), torrent.infohash, held.to_bytes(), **rest)


# -- TrackerLink


async def test_a_beat_returns_the_instance(world, tracker):
    link = world.tracker_link(tracker)
    assert await link.beat(NodeId("one"), Address("127.0.0.1:1")) == tracker.instance
    assert tracker.dump().nodes == ((("one", "127.0.0.1:1")),)


async def test_a_published_torrent_is_resolved_by_name_and_by_infohash(world, tracker, node):
    link = world.tracker_link(tracker)
    torrent = await torrent_in(node)
    await link.publish(torrent, "a name/with: odd? characters&ü")
    for asked in ("a name/with: odd? characters&ü", torrent.infohash.hex()):
        found = await link.resolve(asked)
        assert found.torrent.infohash == torrent.infohash
        assert found.filename == "a name/with: odd? characters&ü"
        assert found.web_seeds == ()


async def test_what_nobody_published_is_not_found(world, tracker):
    link = world.tracker_link(tracker)
    with pytest.raises(NotFound):
        await link.resolve("nothing")
    with pytest.raises(NotFound):
        await link.announce(Announcement(NodeId("one"), InfoHash(b"x" * 20), b""))


async def test_a_name_is_claimed_by_one_node(world, tracker):
    link = world.tracker_link(tracker)
    assert await link.claim("http://origin.test/a", NodeId("one")) is True
    assert await link.claim("http://origin.test/a", NodeId("two")) is False
    await link.release("http://origin.test/a", NodeId("one"))
    assert await link.claim("http://origin.test/a", NodeId("two")) is True


async def test_announcing_names_the_other_peers(world, tracker, node):
    link = world.tracker_link(tracker)
    torrent = await torrent_in(node)
    await link.publish(torrent, "image")
    for name in ("one", "two"):
        await link.beat(NodeId(name), Address(f"127.0.0.1:{len(name) + ord(name[0])}"))
    await link.announce(announcement(torrent, "one", event=Event.STARTED))
    some = Bitfield(torrent.piece_count)
    some.add(1)
    handout = await link.announce(announcement(torrent, "two", some, left=PIECE))
    assert [(peer.node_id, peer.complete) for peer in handout.peers] == [("one", True)]
    assert handout.interval > 0
    handout = await link.announce(announcement(torrent, "one", event=Event.STOPPED))
    handout = await link.announce(announcement(torrent, "two", some))
    assert handout.peers == ()


async def test_zones_are_told_and_named(world, tracker, node):
    link = world.tracker_link(tracker)
    torrent = await torrent_in(node)
    await link.publish(torrent, "image")
    for name, zone in (("one", "rack/1"), ("two", "rack/2"), ("three", "")):
        await link.beat(NodeId(name), Address(f"{name}.test:1"))
        await link.announce(announcement(torrent, name, zone=zone))
    asking = announcement(torrent, "four", Bitfield(torrent.piece_count), zone="rack/2")
    peers = (await link.announce(asking)).peers
    assert (peers[0].node_id, peers[0].zone) == ("two", "rack/2")
    assert {peer.node_id: peer.zone for peer in peers[1:]} == {"one": "rack/1", "three": ""}


async def test_a_node_that_left_is_not_named(world, tracker, node):
    link = world.tracker_link(tracker)
    torrent = await torrent_in(node)
    await link.publish(torrent, "image")
    await link.beat(NodeId("one"), Address("127.0.0.1:1"))
    await link.announce(announcement(torrent))
    assert tracker.holders(torrent.piece_ids[0]) == ["127.0.0.1:1"]
    await link.leave(NodeId("one"))
    assert tracker.holders(torrent.piece_ids[0]) == []


async def test_a_tracker_that_is_gone_is_unavailable(world, tracker):
    link = world.tracker_link(tracker)
    await link.beat(NodeId("one"), Address("127.0.0.1:1"))
    await world.stop_tracker()
    with pytest.raises(Unavailable):
        await link.beat(NodeId("one"), Address("127.0.0.1:1"))
    with pytest.raises(Unavailable):
        await link.resolve("image")


# -- PeerLink


class Landing:
    """Keeps what lands; rooms hold garbage until then."""

    def __init__(self, torrent) -> None:
        self.limit = TokenBucket()
        self.events = []
        self.pieces = []
        self.counts = Counter()
        self._torrent = torrent
        self._room = None

    def room(self, index):
        assert self._room is None, "one room at a time"
        self.events.append(("room", index))
        self._room = memoryview(bytearray(b"?" * self._torrent.piece_size(index)))
        return self._room

    def received(self, index, count):
        assert self._room is not None
        self.counts[index] += count

    def landed(self, index):
        self.events.append(("landed", index))
        assert self.counts[index] == self._torrent.piece_size(index)
        self.pieces.append(bytes(self._room))
        self._room = None


async def fetch(world, node, torrent, *indexes):
    """What has landed, and the error that ended the fetch, if one did."""
    landing = Landing(torrent)
    try:
        await world.dialer().peer(node.address, None).fetch(torrent, indexes, landing)
    except Refusal as refusal:
        return landing, refusal
    return landing, None


def piece(index):
    return DATA[index * PIECE : (index + 1) * PIECE]


async def test_every_piece_can_be_fetched(world, node):
    torrent = await torrent_in(node)
    entry = node.library.get(torrent.infohash)
    for index in range(torrent.piece_count):
        landing, refusal = await fetch(world, node, torrent, index)
        assert refusal is None
        assert landing.pieces == [piece(index)]
        assert landing.events == [("room", index), ("landed", index)]
    await deferLater(reactor, 0.05)
    assert entry.uploaded == len(DATA)


async def test_several_pieces_come_in_the_order_they_are_asked_for(world, node):
    torrent = await torrent_in(node)
    landing, refusal = await fetch(world, node, torrent, 3, 0, 2)
    assert refusal is None
    assert landing.pieces == [piece(3), piece(0), piece(2)]
    assert landing.events == [
        (event, index) for index in (3, 0, 2) for event in ("room", "landed")
    ]
    assert set(node.library.get(torrent.infohash).promised) == {0, 2, 3}


async def test_a_piece_that_is_not_there_is_not_found(world, node):
    torrent = await torrent_in(node)
    node.library.get(torrent.infohash).held.discard(2)
    for indexes in ([2], [2, 1]):
        landing, refusal = await fetch(world, node, torrent, *indexes)
        assert type(refusal) is NotFound
        assert landing.events == []


async def test_what_comes_before_a_piece_that_is_not_there_lands(world, node):
    torrent = await torrent_in(node)
    node.library.get(torrent.infohash).held.discard(2)
    landing, refusal = await fetch(world, node, torrent, 3, 1, 2, 0)
    assert refusal is None, "it gave what it has"
    assert landing.pieces == [piece(3), piece(1)]
    assert landing.events[-1] == ("landed", 1), "no room was asked for in vain"
    assert not landing.counts[2]
    landing, refusal = await fetch(world, node, torrent, 2, 0)
    assert type(refusal) is NotFound
    assert landing.events == []


async def test_a_seed_does_not_give_what_it_gave_before_together_with_what_it_did_not(world, node):
    torrent = await torrent_in(node)
    entry = node.library.get(torrent.infohash)
    landing, refusal = await fetch(world, node, torrent, 2)
    for asked, given in (([0, 2, 1], [0]), ([2, 0, 1], [2, 0]), ([3, 1], [3, 1])):
        landing, refusal = await fetch(world, node, torrent, *asked)
        assert refusal is None
        assert landing.pieces == [piece(index) for index in given]
    assert list(entry.promised) == [2, 0, 3, 1]


async def test_a_node_that_is_gone_is_unavailable(world, node):
    torrent = await torrent_in(node)
    await world.stop_node(node)
    landing, refusal = await fetch(world, node, torrent, 0, 1)
    assert type(refusal) is Unavailable
    assert landing.events == []


async def test_a_torrent_that_the_node_does_not_have_is_not_found(world, node):
    torrent = await torrent_in(node)
    node.library.remove(torrent.infohash)
    landing, refusal = await fetch(world, node, torrent, 0)
    assert type(refusal) is NotFound
    assert landing.events == []


async def test_a_follower_hears_what_others_get_from_a_seed(world, node):
    torrent = await torrent_in(node)
    entry = node.library.get(torrent.infohash)
    entry.asked_for(3)
    follower = Follower()
    link = world.dialer().peer(node.address, None)
    link.follow(torrent, follower)
    await follower.after(1)
    entry.asked_for(1)
    entry.asked_for(1)
    await deferLater(reactor, 0.1)
    link.close()
    await deferLater(reactor, 0.05)
    promises = [indexes for kind, *indexes in follower.heard if kind == "promised"]
    assert [*chain(*promises)] == [3, 1]


async def test_who_does_not_hold_all_promises_nothing(world, node):
    torrent = await torrent_in(node)
    entry = node.library.get(torrent.infohash)
    entry.held.discard(0)
    await fetch(world, node, torrent, 1)
    assert not entry.promised


async def test_a_follower_hears_what_the_node_holds_and_gets(world, node):
    torrent = await torrent_in(node)
    entry = node.library.get(torrent.infohash)
    entry.held.discard(1)
    follower = Follower()
    link = world.dialer().peer(node.address, None)
    link.follow(torrent, follower)
    (kind, bitfield), *_ = await follower.after(1)
    assert kind == "holds"
    assert list(bitfield) == [0, 2, 3]
    entry.got(1)
    assert (await follower.after(2))[1] == ("has", 1)
    link.close()
    await deferLater(reactor, 0.05)
    assert not entry._watchers, "closing the link ends the listening over there"
    assert len(follower.heard) == 2


@pytest.mark.parametrize("zone", ["", "hall&2/rack=4"])
async def test_a_follower_says_where_it_is_and_in_which_zone(world, node, zone):
    torrent = await torrent_in(node)
    met = []
    node.introduce = lambda _, address, zone: met.append((address, zone))
    follower = Follower()
    link = world.dialer(zone).peer(node.address, OWN)
    link.follow(torrent, follower)
    await follower.after(1)
    link.close()
    await deferLater(reactor, 0.05)
    assert met == [(OWN, zone)]


async def test_a_follower_hears_when_a_torrent_is_served_no_more(world, node):
    torrent = await torrent_in(node)
    follower = Follower()
    link = world.dialer().peer(node.address, None)
    link.follow(torrent, follower)
    await follower.after(1)
    node.entries.damaged(node.library.get(torrent.infohash), "for the test")
    assert (await follower.after(2))[-1][0] == "gone"


async def test_a_follower_hears_when_the_node_is_gone(world, node):
    torrent = await torrent_in(node)
    follower = Follower()
    link = world.dialer().peer(node.address, None)
    link.follow(torrent, follower)
    await follower.after(1)
    await world.stop_node(node)
    assert (await follower.after(2))[-1][0] == "gone"


async def test_following_what_the_node_does_not_have_ends_at_once(world, node):
    torrent = await torrent_in(node)
    node.library.remove(torrent.infohash)
    follower = Follower()
    world.dialer().peer(node.address, None).follow(torrent, follower)
    assert (await follower.after(1))[0][0] == "gone"
