"""A node's pieces over HTTP in memory: our link at one end, the real resource at the other."""

import pytest
from treq.testing import StubTreq
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.web.resource import Resource

from p2pd.errors import Busy, NotFound, Refusal, Unavailable
from p2pd.links.http import Caller
from p2pd.links.http_peer import HttpPeer
from p2pd.metainfo.ids import Address, NodeId
from p2pd.node.entry import BEHIND
from p2pd.node.throttle import Throttle
from p2pd.swarm.rates import TokenBucket
from tests.fleet import Door, Fleet
from tests.samples import torrent

PIECE = 256 * 1024
NODE = NodeId("asking")


class Landing:
    """Keeps the pieces that land, and which rooms were asked for."""

    def __init__(self, sizes):
        self.limit = TokenBucket()
        self.sizes = sizes
        self.rooms = []
        self.pieces = []

    def room(self, index):
        self.rooms.append(index)
        self._room = bytearray(self.sizes(index))
        return memoryview(self._room)

    def received(self, index, count):
        pass

    def landed(self, index):
        self.pieces.append((index, bytes(self._room)))


class World:
    def __init__(self):
        self.fleet = Fleet()
        self.data = self.fleet.data(4 * PIECE)
        seed = self.fleet.node("seed")
        self.entry = self.fleet.share(seed, "image", self.data)
        self.door = Door(self.fleet, seed)
        caller = Caller(self.door.treq, self.fleet.clock, NODE, Throttle(self.fleet.clock))
        self.peer = HttpPeer(Address("127.0.0.1:48000"), caller)

    def fetch(self, *indexes):
        """What landed, and the error, if there was one."""
        landing = Landing(self.entry.torrent.piece_size)
        try:
            fetching = self.peer.fetch(self.entry.torrent, indexes, landing)
            self.fleet.done(fetching, self.door.treq.flush)
        except Refusal as refusal:
            return landing, refusal
        return landing, None

    def occupy(self, waiting=0):
        for number in range(self.door.uploads.slots + waiting):
            self.door.uploads.ask(str(number), 1, lambda: None, self.fleet.clock.seconds())

    def piece(self, index):
        return index, self.data[index * PIECE :][:PIECE]


@pytest.fixture
def world():
    return World()


def test_who_is_busy_says_so_and_gives_nothing(world):
    world.occupy(waiting=BEHIND + 1)
    for _ in range(2):
        landing, refusal = world.fetch(0, 1)
        assert type(refusal) is Busy
        assert "127.0.0.1:48000" in refusal.reason
        assert landing.rooms == []
    assert not world.entry.promised


def test_who_gives_fewer_pieces_than_asked_for_is_no_failure(world):
    world.entry.held.discard(2)
    landing, refusal = world.fetch(3, 1, 2, 0)
    assert refusal is None
    assert landing.pieces == [world.piece(3), world.piece(1)]
    assert landing.rooms == [3, 1], "no room was asked for in vain"
    landing, refusal = world.fetch(2, 0)
    assert type(refusal) is NotFound
    assert landing.rooms == []


def test_a_seed_that_splits_a_batch_gives_the_first_part(world):
    assert world.fetch(2)[0].pieces == [world.piece(2)]
    landing, refusal = world.fetch(0, 2, 1)
    assert refusal is None
    assert landing.pieces == [world.piece(0)]
    assert list(world.entry.promised) == [2, 0]
    world.occupy(waiting=1)
    assert type(world.fetch(2)[1]) is Busy, "somebody waits, and it had it to give once"


class Refusing(Resource):
    isLeaf = True

    def __init__(self, code):
        super().__init__()
        self.code = code

    def render(self, request):
        request.setResponseCode(self.code)
        return b"no"


@pytest.mark.parametrize(
    ("code", "kind"),
    [(429, Busy), (404, NotFound), (500, Unavailable), (403, Unavailable), (503, Unavailable)],
)
def test_what_a_status_means(code, kind):
    clock = Clock()
    stub = StubTreq(Refusing(code))
    peer = HttpPeer(Address("127.0.0.1:1"), Caller(stub, clock, NODE, Throttle(clock)))
    failures = []
    fetching = Deferred.fromCoroutine(peer.fetch(torrent(), [0, 1], Landing(torrent().piece_size)))
    fetching.addErrback(failures.append)
    stub.flush()
    assert [failure.type for failure in failures] == [kind]
