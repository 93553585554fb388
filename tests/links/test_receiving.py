"""Bodies into memory: whole however they are cut, at the rates that are allowed, or not at all.

Over real sockets they are read past the parser; in memory they come through it, as over TLS.
"""

import random
import socket
from itertools import pairwise

import pytest
import pytest_twisted
from treq.testing import StubTreq
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, DeferredQueue
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock, deferLater
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from p2pd.errors import Unavailable
from p2pd.links.agent import make_agent, make_client
from p2pd.links.connection import connection_of
from p2pd.links.http import Caller
from p2pd.links.receiving import Rooms, receive
from p2pd.metainfo.ids import NodeId
from p2pd.node.throttle import Throttle
from p2pd.swarm.rates import TokenBucket

NODE = NodeId("asking")
PIECE = 100_000
BODY = random.Random(5).randbytes(3 * PIECE)
SIZES = (PIECE, PIECE, PIECE)


class Landed:
    """Rooms for some pieces, and what happens to them."""

    def __init__(self, sizes=SIZES):
        self.memory = []
        self.full = 0
        self.counts = []
        self.on_received = self.on_full = lambda: None
        self.rooms = Rooms(
            self._rooms(sizes), sum(sizes), received=self._received, full=self._filled
        )

    def _rooms(self, sizes):
        for size in sizes:
            self.memory.append(bytearray(size))
            yield memoryview(self.memory[-1])

    def _received(self, count):
        self.counts.append(count)
        self.on_received()

    def _filled(self):
        self.full += 1
        self.on_full()

    @property
    def data(self):
        return b"".join(self.memory)


def head(length=3 * PIECE, more=b""):
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%b\r\n" % (length, more)


class Answering(Protocol):
    """One connection of the server: hands itself out at each request, and answers nothing."""

    def connectionMade(self):
        self.lost = Deferred()
        self.transport.setTcpNoDelay(True)
        self.factory.made.append(self)

    def dataReceived(self, data):
        assert data.endswith(b"\r\n\r\n")
        self.factory.requests.put(self)

    def connectionLost(self, _):
        self.lost.callback(None)

    async def send(self, *parts, pause=0.01):
        for part in parts:
            self.transport.write(part)
            await deferLater(reactor, pause)


class World:
    """A raw server on loopback, and one who calls it."""

    def __init__(self):
        self.throttle = Throttle(reactor)
        self.client = make_client(make_agent(reactor, connections=1))
        self.caller = Caller(self.client, reactor, NODE, self.throttle)
        self.factory = Factory.forProtocol(Answering)
        self.factory.requests, self.factory.made = DeferredQueue(), []
        self.port = reactor.listenTCP(0, self.factory, interface="127.0.0.1")
        self.url = f"http://127.0.0.1:{self.port.getHost().port}/"

    async def ask(self, *parts, **options):
        """The response to a request, whose server has sent these parts, and that server."""
        asking = Deferred.fromCoroutine(self.caller.send("GET", self.url))
        server = await self.factory.requests.get()
        await server.send(*parts, **options)
        return await asking, server

    async def close(self):
        await self.client._agent._pool.closeCachedConnections()
        for server in self.factory.made:
            if not server.lost.called:
                server.transport.abortConnection()
        await self.port.stopListening()
        await deferLater(reactor, 0.01)


@pytest.fixture
def world():
    made = World()
    yield made
    pytest_twisted.blockon(Deferred.fromCoroutine(made.close()))


def begin(*arguments):
    """Receive, for some seconds at most."""
    return receive(*arguments).addTimeout(5, reactor)


async def seconds(count):
    await deferLater(reactor, count)


async def until(condition):
    for _ in range(500):
        if condition():
            return
        await seconds(0.01)
    raise AssertionError("it never came to that")


def watermark(connection):
    return connection.transport.socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT)


def reads_directly(connection):
    return "doRead" in vars(connection.transport)


def cut(data, *places):
    bounds = (0, *places, len(data))
    return [data[start:stop] for start, stop in pairwise(bounds)]


# -- over sockets


@pytest.mark.parametrize(
    "parts",
    [
        [head() + BODY],
        [head(), BODY],
        [head() + BODY[:1], BODY[1:]],
        [head()[:-1], head()[-1:] + BODY[:5000], BODY[5000:]],
        [head(), *cut(BODY, 1, 2, 4095, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE + 7)],
        [head() + BODY[: PIECE + 1], *cut(BODY[PIECE + 1 :], PIECE, 2 * PIECE - 2)],
        [head(), *cut(BODY, len(BODY) - 1)],
        [head(more=b"Connection: close\r\n"), BODY],
    ],
    ids=range(8),
)
async def test_the_body_goes_into_the_rooms_whole(world, parts):
    response, server = await world.ask(*parts[:2])
    landed = Landed()
    receiving = begin(response, landed.rooms, world.throttle)
    await server.send(*parts[2:])
    await receiving
    assert landed.data == BODY
    assert landed.full == 3
    assert sum(landed.counts) == len(BODY)


OTHERS = (b"Server: a b\r\nDate: now\r\n", b"Content-Type: text/plain\r\n")


@pytest.mark.parametrize(
    ("fields", "body"),
    [
        (b"%bContent-Length: 2\r\n%b" % OTHERS, b"ok"),
        (b"Content-Length: 2\r\nContent-Length: 2\r\n", b"ok"),
        (b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n", b"2\r\nok\r\n0\r\n\r\n"),
        (b"Transfer-Encoding: chunked\r\nContent-Length: 9\r\n", b"2\r\nok\r\n0\r\n\r\n"),
        (b"content-length: 2\r\nX-Other: 1\r\n", b"ok"),
    ],
)
async def test_a_head_means_the_same_however_it_is_cut(world, fields, body):
    answer = b"HTTP/1.1 200 OK\r\n%b\r\n" % fields + body
    for places in ((), (3,), (20,), (len(answer) - len(body),), (len(answer) - 1,)):
        response, _ = await world.ask(*cut(answer, *places), pause=0.001)
        assert await world.caller.read(response, 10) == b"ok"
    assert len(world.factory.made) == 1


async def test_a_head_of_two_lengths_is_no_answer(world):
    lengths = b"Content-Length: 2\r\nContent-Length: 3\r\n"
    with pytest.raises(Unavailable, match="conflicting"):
        await world.ask(b"HTTP/1.1 200 OK\r\n%b\r\nok" % lengths)


async def test_who_does_not_take_a_body_is_not_sent_more_of_it(world):
    response, server = await world.ask(head() + BODY[:1000], pause=0.05)
    connection = connection_of(response)
    assert connection.transport not in reactor.getReaders()
    landed = Landed()
    receiving = begin(response, landed.rooms, world.throttle)
    assert connection.transport in reactor.getReaders()
    await server.send(BODY[1000:])
    await receiving
    assert landed.data == BODY


@pytest.mark.parametrize("with_head", [True, False])
async def test_a_body_that_comes_byte_by_byte(world, with_head):
    body, sizes = BODY[:50], (20, 1, 29)
    parts = cut(head(50) + body, *range(1, len(head(50)) + 50))
    first = len(parts) - 40 if with_head else len(parts) - 50
    response, server = await world.ask(*parts[:first], pause=0.001)
    landed = Landed(sizes)
    receiving = begin(response, landed.rooms, world.throttle)
    await server.send(*parts[first:], pause=0.001)
    await receiving
    assert landed.data == body
    assert landed.full == 3


async def test_most_of_a_body_is_read_past_the_parser(world):
    response, server = await world.ask(head() + BODY[:100])
    connection = connection_of(response)
    landed = Landed()
    receiving = begin(response, landed.rooms, world.throttle)
    assert reads_directly(connection)
    await server.send(BODY[100:])
    await receiving
    assert not reads_directly(connection)


async def test_a_room_is_asked_for_when_its_first_bytes_are_there(world):
    response, server = await world.ask(head())
    landed = Landed()
    receiving = begin(response, landed.rooms, world.throttle)
    assert landed.memory == []
    await server.send(BODY[: PIECE + 100])
    await until(lambda: sum(landed.counts) >= PIECE)
    assert len(landed.memory) <= 2
    await server.send(BODY[PIECE + 100 :])
    await receiving


async def test_the_connection_is_good_for_the_next_response(world):
    connections = set()
    for turn in range(4):
        body = BODY if turn % 2 else BODY[:PIECE]
        response, server = await world.ask(head(len(body)), body[:5])
        connections.add(connection_of(response))
        assert watermark(connection_of(response)) == 1
        landed = Landed(SIZES if turn % 2 else (PIECE,))
        receiving = begin(response, landed.rooms, world.throttle)
        for part in cut(body[5:], 60_000, 60_001):
            await server.send(part)
        await receiving
        assert landed.data == body
    assert len(world.factory.made) == len(connections) == 1
    small, server = await world.ask(head(2) + b"ok")
    assert watermark(connection_of(small)) == 1, "one byte is enough to be woken"
    assert await world.caller.read(small, 10) == b"ok"


async def test_the_socket_wakes_for_many_bytes_and_for_one_again_afterwards(world):
    response, server = await world.ask(head())
    connection = connection_of(response)
    landed = Landed()
    receiving = begin(response, landed.rooms, world.throttle)
    await server.send(BODY[:50_000])
    await until(lambda: landed.counts)
    assert watermark(connection) > 1
    await server.send(BODY[50_000:-10])
    await server.send(BODY[-10:])
    await receiving
    assert watermark(connection) == 1


@pytest.mark.parametrize("fast", [0, 150_000])
async def test_who_is_slow_or_becomes_so_is_heard_all_the_same(world, fast):
    response, server = await world.ask(head())
    landed = Landed()
    receiving = begin(response, landed.rooms, world.throttle)
    await server.send(*cut(BODY[:fast], *range(10_000, fast, 10_000)), pause=0.001)
    for start in range(fast, fast + 12_000, 1000):
        await server.send(BODY[start : start + 1000], pause=0.1)
    assert sum(landed.counts) >= fast + 5000
    await server.send(BODY[fast + 12_000 :])
    await receiving
    assert landed.data == BODY


@pytest.mark.parametrize("extra", [b"X", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno"])
async def test_what_comes_unasked_after_a_body_ends_the_connection(world, extra):
    response, server = await world.ask(head(), BODY[:1000])
    landed = Landed()
    receiving = begin(response, landed.rooms, world.throttle)
    await server.send(BODY[1000:] + extra)
    await receiving
    assert landed.data == BODY
    await server.lost
    response, _ = await world.ask(head(3) + b"yes")
    assert await world.caller.read(response, 10) == b"yes"
    assert len(world.factory.made) == 2


@pytest.mark.parametrize("sent", [0, 1, PIECE, PIECE + 50_000, len(BODY) - 1])
@pytest.mark.parametrize("how", ["loseConnection", "abortConnection"])
async def test_a_connection_that_ends_early_is_unavailable(world, sent, how):
    response, server = await world.ask(head())
    landed = Landed()
    receiving = begin(response, landed.rooms, world.throttle)
    await server.send(BODY[:sent])
    getattr(server.transport, how)()
    with pytest.raises(Unavailable, match="the connection broke"):
        await receiving
    assert landed.full == sum(landed.counts) // PIECE <= sent // PIECE
    if how == "loseConnection":
        assert sum(landed.counts) == sent, "what came before is there"


@pytest.mark.parametrize("length", [len(BODY) - 1, len(BODY) + 1])
async def test_a_body_of_another_length_is_unavailable(world, length):
    response, server = await world.ask(head(length))
    receiving = begin(response, Landed().rooms, world.throttle)
    receiving.addErrback(lambda failure: failure)
    await server.send(BODY + b"X" if length > len(BODY) else BODY[:-1])
    with pytest.raises(Unavailable, match=r"longer|ended after"):
        await receiving


async def test_after_a_cancellation_nothing_is_written_and_the_connection_is_closed(world):
    response, server = await world.ask(head() + BODY[:1000])
    landed = Landed()
    receiving = begin(response, landed.rooms, world.throttle)
    await server.send(BODY[1000:60_000])
    await until(lambda: sum(landed.counts) == 60_000)
    receiving.cancel()
    counts, data = list(landed.counts), landed.data
    with pytest.raises(CancelledError):
        await receiving
    await server.send(BODY[60_000:])
    await server.lost
    assert (landed.counts, landed.data) == (counts, data)


@pytest.mark.parametrize("when", ["on_received", "on_full"])
async def test_who_wants_no_more_says_so_while_bytes_come(world, when):
    response, server = await world.ask(head(), BODY[:PIECE])
    landed = Landed()
    cancelled = []

    def cancel():
        receiving.cancel()
        cancelled.append(len(landed.counts))

    receiving = begin(response, landed.rooms, world.throttle)
    setattr(landed, when, cancel)
    if not cancelled:
        await server.send(BODY[PIECE:])
    with pytest.raises(CancelledError):
        await receiving
    await server.lost
    assert cancelled == [len(landed.counts)]
    assert len(landed.memory) == 1


async def test_a_response_that_nobody_reads_is_cancelled_with_its_request(world):
    receiving = Deferred.fromCoroutine(world.caller.send("GET", world.url))
    server = await world.factory.requests.get()
    receiving.cancel()
    await server.lost
    receiving.addErrback(lambda failure: failure.trap(CancelledError, Unavailable))


@pytest.mark.parametrize("own", [0, 400_000])
async def test_a_body_is_read_no_faster_than_is_allowed(world, own):
    world.throttle.set_rate(0 if own else 400_000)
    limit = TokenBucket(own)
    response, server = await world.ask(head())
    server.transport.write(BODY)
    began = reactor.seconds()
    landed = Landed()
    await receive(response, landed.rooms, world.throttle, limit)
    took = reactor.seconds() - began
    assert landed.data == BODY
    burst = 0.1 * 400_000
    assert (len(BODY) - burst) / 400_000 <= took < 2


async def test_a_limit_that_is_set_midway_holds_from_then_on_and_stalls_nothing(world):
    response, server = await world.ask(head())
    landed = Landed()
    receiving = begin(response, landed.rooms, world.throttle)
    for part in cut(BODY[:150_000], 30_000, 60_000, 90_000, 120_000):
        await server.send(part, pause=0.001)
    await until(lambda: sum(landed.counts) > 40_000)
    world.throttle.set_rate(500_000)
    began = reactor.seconds()
    server.transport.write(BODY[150_000:])
    await receiving.addTimeout(5, reactor)
    assert landed.data == BODY
    assert reactor.seconds() - began >= 0.15
    assert watermark(connection_of(response)) == 1


async def test_a_limit_that_is_lifted_midway_is_not_waited_out(world):
    world.throttle.set_rate(20_000)
    response, server = await world.ask(head())
    landed = Landed()
    server.transport.write(BODY)
    receiving = begin(response, landed.rooms, world.throttle)
    await seconds(0.1)
    world.throttle.set_rate(0)
    await receiving.addTimeout(5, reactor)
    assert landed.data == BODY


async def test_a_cancelled_body_leaves_the_line_and_gives_its_turn_to_others(world):
    world.throttle.set_rate(100_000)
    response, server = await world.ask(head())
    server.transport.write(BODY)
    receiving = begin(response, Landed().rooms, world.throttle)
    await seconds(0.1)
    receiving.cancel()
    with pytest.raises(CancelledError):
        await receiving
    await server.lost
    assert not world.throttle._calls


# -- through the parser, as over TLS


class Chunks(Resource):
    """Writes what the test lets it."""

    isLeaf = True

    def __init__(self, length):
        super().__init__()
        self.length = length

    def render(self, request):
        request.setHeader(b"Content-Length", b"%d" % self.length)
        request.write(b"")
        self.request = request
        return NOT_DONE_YET


class InMemory:
    """A body that comes through the parser, on a clock that is moved by hand."""

    def __init__(self, sizes=SIZES, rate=0, length=None, limit=0):
        self.clock = Clock()
        self.clock.advance(1000)
        self.server = Chunks(sum(sizes) if length is None else length)
        self.stub = StubTreq(self.server)
        self.throttle = Throttle(self.clock, rate)
        self.limit = TokenBucket(limit)
        self.landed = Landed(sizes)
        self.caller = Caller(self.stub, self.clock, NODE, self.throttle)
        self.results = []
        self.receiving = Deferred.fromCoroutine(self._receive())
        self.receiving.addBoth(self.results.append)
        self.stub.flush()

    async def _receive(self):
        response = await self.caller.send("GET", "http://127.0.0.1:1/")
        assert connection_of(response) is None
        await self.caller.receive(response, self.landed.rooms, self.limit)

    def send(self, *parts):
        for part in parts:
            self.server.request.write(part)
            self.stub.flush()

    def end(self):
        if self.server.request.channel is not None:
            self.server.request.finish()
        self.stub.flush()

    def advance(self, seconds, step=0.005):
        for _ in range(round(seconds / step)):
            self.clock.advance(step)
            self.stub.flush()


@pytest.mark.parametrize(
    "places", [(), (1,), (PIECE,), (PIECE - 1, PIECE + 1), range(1, len(BODY), 7777)]
)
def test_in_memory_too_the_body_goes_into_the_rooms_whole(places):
    made = InMemory()
    made.send(*cut(BODY, *places))
    made.end()
    assert made.results == [None]
    assert made.landed.data == BODY
    assert made.landed.full == 3


def test_in_memory_too_one_that_is_longer_or_shorter_is_unavailable():
    for length, word in ((len(BODY) + 1, "longer"), (len(BODY) - 1, "ended after")):
        made = InMemory(length=length)
        made.send((BODY + b"X")[:length])
        made.end()
        assert made.results[0].check(Unavailable)
        assert word in made.results[0].value.reason


@pytest.mark.parametrize(("rate", "limit"), [(100_000, 0), (0, 100_000), (100_000, 1_000_000)])
def test_in_memory_too_the_rate_holds(rate, limit):
    made = InMemory(rate=rate, limit=limit)
    for part in cut(BODY, *range(16_384, len(BODY), 16_384)):
        made.send(part)
    made.end()
    made.advance(2.5)
    assert not made.results
    made.advance(1)
    assert made.results == [None]
    assert made.landed.data == BODY
    assert not made.clock.getDelayedCalls()


def test_in_memory_too_even_the_end_of_a_body_is_paid_for():
    made = InMemory((1000,), rate=100)
    made.send(BODY[:1000])
    made.end()
    made.advance(8)
    assert not made.results
    made.advance(3)
    assert made.results == [None]


@pytest.mark.parametrize("when", ["on_received", "on_full"])
def test_in_memory_too_nothing_is_written_after_a_cancellation(when):
    made = InMemory()
    setattr(made.landed, when, made.receiving.cancel)
    made.send(BODY[: PIECE + 10])
    assert made.results[0].check(CancelledError)
    made.send(BODY[PIECE + 10 :])
    assert len(made.landed.memory) == 1, "no room is asked for in vain"
    assert len(made.landed.counts) == 1


def test_a_cancelled_one_in_memory_leaves_the_line():
    made = InMemory(rate=1000)
    made.send(BODY[:50_000])
    assert made.throttle._calls
    made.receiving.cancel()
    assert made.results[0].check(CancelledError)
    assert not made.throttle._calls
    assert not made.clock.getDelayedCalls()
