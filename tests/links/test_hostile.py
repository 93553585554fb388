"""Servers that mean harm: no wait on them is endless, and no answer takes more than its bound."""

from pathlib import Path

import pytest
from treq.testing import StubTreq
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock, deferLater
from twisted.internet.threads import deferToThread
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from p2pd.errors import Denied, Unavailable
from p2pd.links.agent import make_agent, make_client
from p2pd.links.dialer import HttpDialer
from p2pd.links.guard import Guard
from p2pd.links.http import Caller
from p2pd.links.http_peer import HttpPeer
from p2pd.links.http_tracker import HttpTracker
from p2pd.links.redirects import make_guarded_agent
from p2pd.metainfo.ids import Address, NodeId
from p2pd.node.throttle import Throttle
from p2pd.swarm.rates import TokenBucket
from tests.samples import torrent
from tests.web_server import Server

NODE = NodeId("asking")


class Endless(Resource):
    """Answers with a status and half a body, and then with nothing more."""

    isLeaf = True

    def __init__(self, code):
        super().__init__()
        self.code = code

    def render(self, request):
        request.setResponseCode(self.code)
        request.setHeader(b"Content-Length", b"100")
        request.write(b"half")
        return NOT_DONE_YET


class Follower:
    def __init__(self):
        self.gone = []
        self.heard = 0

    def peer_has_bitfield(self, peer, bitfield):
        self.heard += 1

    def peer_gone(self, peer, reason):
        self.gone.append((peer, reason))


class Landing:
    """Takes bytes of the sample, at any rate."""

    def __init__(self):
        self.limit = TokenBucket()

    def room(self, index):
        return memoryview(bytearray(1024))

    def received(self, index, count):
        pass

    def landed(self, index):
        raise AssertionError("nothing should land")


class Babbling(Resource):
    """Says again and again what it holds."""

    isLeaf = True

    def render(self, request):
        line = b"bitfield f0\n" if b"/have" in request.path else b""
        request.write(line * 100_000)
        return NOT_DONE_YET


class Answering(Resource):
    """Answers with so many bytes, and with what length it is told to claim."""

    isLeaf = True

    def __init__(self, count, claimed):
        super().__init__()
        self.count, self.claimed = count, claimed

    def render(self, request):
        if self.claimed is not None:
            request.setHeader(b"Content-Length", b"%d" % self.claimed)
        request.write(bytes(self.count))
        request.finish()
        return NOT_DONE_YET


@pytest.fixture
def clock():
    return Clock()


def test_a_peer_that_repeats_itself_without_end_is_let_go(clock):
    stub = StubTreq(Babbling())
    follower = Follower()
    HttpPeer(Address("127.0.0.1:1"), Caller(stub, clock, NODE, Throttle(clock))).follow(
        torrent(), follower
    )
    stub.flush()
    assert follower.gone == [("127.0.0.1:1", "it repeats itself without end")]
    assert follower.heard < 10_000


def test_a_peer_whose_refusal_never_ends_is_let_go(clock):
    stub = StubTreq(Endless(503))
    follower = Follower()
    peer = HttpPeer(Address("127.0.0.1:1"), Caller(stub, clock, NODE, Throttle(clock)))
    peer.follow(torrent(), follower)
    stub.flush()
    assert not follower.gone
    clock.advance(31)
    assert follower.gone == [("127.0.0.1:1", "the body did not end in 30 s")]


def test_a_tracker_whose_answer_never_ends_is_unavailable(clock):
    stub = StubTreq(Endless(200))
    tracker = HttpTracker("http://127.0.0.1:1", Caller(stub, clock, NODE, Throttle(clock)))
    failures = []
    Deferred.fromCoroutine(tracker.resolve("image")).addErrback(failures.append)
    stub.flush()
    clock.advance(31)
    assert failures[0].check(Unavailable)


class Flood(Protocol):
    """Sends heads without end, as long as someone takes them."""

    def dataReceived(self, _):
        self.transport.write(self.factory.begin)
        self.transport.registerProducer(self, False)

    def resumeProducing(self):
        self.factory.sent += len(self.factory.again)
        self.transport.write(self.factory.again)

    def stopProducing(self):
        pass

    def connectionLost(self, _):
        self.factory.lost.callback(None)


@pytest.mark.parametrize(
    ("begin", "again"),
    [
        (b"HTTP/1.1 200 OK\r\n", b"X-Header: value\r\n" * 1000),
        (b"HTTP/1.1 200 OK\r\nX-Header: value\r\n", b" folded\r\n" * 1000),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
    ],
)
async def test_a_head_without_end_is_broken_off(begin, again):
    factory = Factory.forProtocol(Flood)
    factory.begin, factory.again, factory.sent, factory.lost = begin, again, 0, Deferred()
    port = reactor.listenTCP(0, factory, interface="127.0.0.1")
    client = make_client(make_agent(reactor, connections=1))
    url = f"http://127.0.0.1:{port.getHost().port}/"
    with pytest.raises(Unavailable):
        await Caller(client, reactor, NODE, Throttle(reactor)).send("GET", url)
    await factory.lost
    assert factory.sent < 32 * 1024 * 1024, "what fits the buffers of the sockets, no more"
    await port.stopListening()
    await deferLater(reactor, 0.01)


async def test_who_asks_a_silent_server_can_give_up():
    server = Server()
    server.pages["/"] = lambda _: NOT_DONE_YET
    client = make_client(make_agent(reactor, connections=1))
    caller = Caller(client, reactor, NODE, Throttle(reactor))
    asking = Deferred.fromCoroutine(caller.send("GET", server.url()))
    while not server.asked:
        await deferLater(reactor, 0.01)
    asking.cancel()
    with pytest.raises(CancelledError):
        await asking
    await server.close()


@pytest.mark.parametrize("url", ["http://[", "http://[::g]/x", "gopher://host/x"])
def test_a_web_seed_that_is_no_url_is_refused(clock, url):
    dialer = HttpDialer(Caller(None, clock, NODE, Throttle(clock)), threads=deferToThread)
    with pytest.raises(Denied):
        dialer.web_seed(url, strict=False)


class Recorder:
    """Keeps the headers it is asked with."""

    def request(self, method, url, *, headers, **_):
        self.headers = headers
        return Deferred()


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://tracker/origin/image", True),
        ("http://tracker/origin/image", False),
        ("https://other/origin/image", False),
    ],
)
def test_the_token_goes_to_the_tracker_as_configured_only(clock, url, shown):
    client = Recorder()
    dialer = HttpDialer(
        Caller(client, clock, NODE, Throttle(clock), b"secret"),
        trackers=("https://tracker",),
        threads=None,
    )
    Deferred.fromCoroutine(dialer.web_seed(url, strict=False).fetch(torrent(), [0], Landing()))
    assert ("Authorization" in client.headers) is shown


def strict_dialer(guarded):
    return HttpDialer(
        Caller(None, reactor, NODE, Throttle(reactor), b"secret"),
        guarded=guarded,
        trackers=("http://127.0.0.1:1",),
        origin_dir=Path("/"),
        threads=deferToThread,
    )


@pytest.mark.parametrize("url", ["file:///etc/passwd", "gopher://a.test/", "http://["])
def test_strictly_no_other_web_seeds_than_of_web_servers_are_called(clock, url):
    caller = Caller(Recorder(), clock, NODE, Throttle(clock), b"secret")
    with pytest.raises(Denied):
        strict_dialer(caller).web_seed(url, strict=True)
    with pytest.raises(Denied):
        strict_dialer(None).web_seed("http://a.test/", strict=True)


async def test_strictly_no_web_seed_leads_inside(clock):
    """Not even to a tracker, and without the token."""
    agent = make_guarded_agent(reactor, Guard(loopback_only=lambda: True), strict=True)
    guarded = Caller(make_client(agent), reactor, NODE, Throttle(reactor), b"secret")
    seed = strict_dialer(guarded).web_seed("http://127.0.0.1:1/origin/image", strict=True)
    with pytest.raises(Unavailable, match="--allow-source-net"):
        await seed.fetch(torrent(), [0], Landing())
    recorder = Recorder()
    caller = Caller(recorder, clock, NODE, Throttle(clock), b"secret")
    seed = strict_dialer(caller).web_seed("http://127.0.0.1:1/origin/image", strict=True)
    Deferred.fromCoroutine(seed.fetch(torrent(), [0], Landing()))
    assert not {"Authorization", "P2pd-Node"} & recorder.headers.keys()


def test_a_url_that_cannot_be_asked_for_is_unavailable(clock):
    caller = Caller(make_client(make_agent(reactor, connections=1)), clock, NODE, Throttle(clock))
    failures = []
    for url in ("http://host\n/", "http://host:port/", "http://a b/", "http://\ud800/"):
        Deferred.fromCoroutine(caller.send("GET", url)).addErrback(failures.append)
    assert [failure.type for failure in failures] == [Unavailable] * 4


async def test_a_file_url_leads_nowhere_outside_the_origin(tmp_path):
    origin = tmp_path / "origin"
    origin.mkdir()
    secret = tmp_path / "secret"
    secret.write_bytes(b"x" * 4096)
    (origin / "link").symlink_to(secret)
    caller = Caller(None, reactor, NODE, Throttle(reactor))
    dialer = HttpDialer(caller, origin_dir=origin, threads=deferToThread)
    for url in (f"file://{origin}/../secret", f"file://{origin}/link", f"file://{origin}"):
        with pytest.raises(Denied):
            await dialer.web_seed(url, strict=False).fetch(torrent(), [0], Landing())


@pytest.mark.parametrize(
    ("count", "claimed"),
    [(1024, None), (0, 0), (1500, 1500), (1023, 1023), (2047, 2047), (3072, 3072), (10, 1 << 60)],
)
def test_a_body_that_is_no_sum_of_the_pieces_is_unavailable(clock, count, claimed):
    stub = StubTreq(Answering(count, claimed))
    peer = HttpPeer(Address("127.0.0.1:1"), Caller(stub, clock, NODE, Throttle(clock)))
    failures = []
    fetching = Deferred.fromCoroutine(peer.fetch(torrent(), [0, 1], Landing()))
    fetching.addErrback(failures.append)
    stub.flush()
    assert [failure.type for failure in failures] == [Unavailable]
