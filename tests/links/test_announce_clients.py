"""Announces over HTTP and UDP on the loopback: what trackers hear, what becomes of answers."""

import base64
import socket
import struct
from ipaddress import ip_network
from urllib.parse import parse_qs, urlsplit

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.web.client import ResponseNeverReceived
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from p2pd.errors import Denied
from p2pd.links.announce_clients import make_announce_clients
from p2pd.links.announce_http import HttpAnnounces
from p2pd.links.announce_udp import UdpAnnounces
from p2pd.links.guard import Guard
from p2pd.metainfo import bencode
from p2pd.protocol import udp
from p2pd.protocol.announce_client import TOLD_FAILURE, AnnounceFailed, BitTorrentAnnounce
from p2pd.protocol.announcement import Event

ASKED = BitTorrentAnnounce(
    bytes(range(20)), b"-PD0001-" + b"x" * 12, 6881, 1, 2, 3, 7, Event.STARTED
)
REPLY = bencode.encode({"interval": 900, "complete": 1, "peers": b""})
LOOPBACK = ip_network("127.0.0.0/8")


class WebTracker(Resource):
    """Answers with `body` and `status`, and may break off before the end."""

    isLeaf = True

    def __init__(self):
        super().__init__()
        self.body = REPLY
        self.breaks_off = False
        self.status = 200
        self.headers = {}
        self.asked = []
        self.listening = reactor.listenTCP(0, Site(self), interface="127.0.0.1")
        self.port = self.listening.getHost().port
        self.url = f"http://127.0.0.1:{self.port}/announce"

    def render_GET(self, request):
        self.asked.append(request)
        request.setResponseCode(self.status)
        for name, value in self.headers.items():
            request.setHeader(name, value)
        if request.path == b"/elsewhere":
            request.setResponseCode(200)
            return REPLY
        if self.breaks_off:
            request.write(self.body)
            request.transport.loseConnection()
            return NOT_DONE_YET
        return self.body


class UdpTracker(DatagramProtocol):
    """Answers as told, but the first few datagrams not at all."""

    def __init__(self):
        self.lost = 0
        self.connects = 0
        self.announces = []
        self.options = []
        self.failure = None
        self.listening = reactor.listenUDP(0, self, interface="127.0.0.1")
        self.port = self.listening.getHost().port
        self.url = f"udp://127.0.0.1:{self.port}/announce?x=1"

    def datagramReceived(self, datagram, addr):
        if self.lost:
            self.lost -= 1
            return
        connection, action, transaction = udp.read_header(datagram)
        if action == udp.CONNECT:
            self.connects += 1
            self.transport.write(udp.connected(transaction, b"%08d" % self.connects), addr)
            return
        self.announces.append((connection, udp.read_announce(datagram)))
        self.options.append(udp.read_path(datagram[udp.ANNOUNCE_SIZE :]))
        if self.failure is None:
            peers = bytes([10, 0, 0, 1, 0, 80])
            reply = udp.announced(udp.ANNOUNCE, transaction, 900, 2, 3) + peers
        else:
            reply = udp.failed(transaction, self.failure)
        # One that nobody asked for, first.
        self.transport.write(udp.failed(b"xxxx", "not for you"), addr)
        self.transport.write(reply, addr)


@pytest.fixture
def web():
    tracker = WebTracker()
    yield tracker
    pytest_twisted.blockon(tracker.listening.stopListening())


@pytest.fixture
def datagrams():
    tracker = UdpTracker()
    yield tracker
    pytest_twisted.blockon(tracker.listening.stopListening())


@pytest.fixture
def clients():
    made = make_announce_clients(reactor, Guard([LOOPBACK], loopback_only=lambda: False))
    yield made
    made.close()


async def failure(announcing):
    with pytest.raises(AnnounceFailed) as caught:
        await announcing
    return caught.value


# -- HTTP


async def test_a_tracker_hears_an_announce_and_is_understood(web, clients):
    told = await clients.announce(web.url, ASKED, strict=True)
    assert (told.interval, told.complete) == (900, 1)
    [request] = web.asked
    assert request.getHeader("User-Agent").startswith("p2pd/")
    assert request.getHeader("Accept-Encoding") == "identity"
    asked = parse_qs(urlsplit(request.uri).query, encoding="latin-1")
    assert asked[b"info_hash"] == [ASKED.infohash]
    assert asked[b"event"] == [b"started"]


async def test_a_user_name_and_a_password_go_as_credentials(web, clients):
    url = web.url.replace("http://", "http://me:p%40ss@")
    await clients.announce(url, ASKED, strict=True)
    [request] = web.asked
    basic = base64.b64encode(b"me:p@ss").decode()
    assert request.getHeader("Authorization") == f"Basic {basic}"
    assert request.getHeader("Host") == f"127.0.0.1:{web.port}"


async def test_a_url_with_odd_letters_is_escaped(web, clients):
    await clients.announce(f"{web.url}/a b/ä%20?key=1", ASKED, strict=True)
    [request] = web.asked
    assert request.uri.startswith(b"/announce/a%20b/%C3%A4%20?key=1&info_hash=")


async def test_a_redirect_is_followed(web, clients):
    web.status = 302
    web.headers = {"Location": "/elsewhere"}
    assert (await clients.announce(web.url, ASKED, strict=True)).interval == 900


async def test_nobody_listens(taken_port, clients):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    failed = await failure(clients.announce(f"http://127.0.0.1:{port}/", ASKED, strict=True))
    assert (failed.reason, failed.message, failed.retry) == ("Connection refused", "", 0)


async def test_a_tracker_that_says_what_is_wrong(web, clients):
    web.body = bencode.encode({"failure reason": "not registered", "interval": 600})
    failed = await failure(clients.announce(web.url, ASKED, strict=True))
    assert (failed.reason, failed.message) == (TOLD_FAILURE, "not registered")
    assert failed.retry == 600


@pytest.mark.parametrize(
    ("status", "reason", "for_good"),
    [(404, "Not Found", False), (410, "Gone", True), (503, "Service Unavailable", False)],
)
async def test_a_status_that_is_not_good(web, clients, status, reason, for_good):
    web.status = status
    failed = await failure(clients.announce(web.url, ASKED, strict=True))
    assert (failed.reason, failed.message) == (f"{status} {reason}", reason)
    assert (failed.retry, failed.for_good) == (0, for_good)


@pytest.mark.parametrize("body", [b"<html>", b"", b"d8:interval"])
async def test_a_body_that_is_no_reply(web, clients, body):
    web.body = body
    assert (await failure(clients.announce(web.url, ASKED, strict=True))).retry == 1800


async def test_a_body_without_end_is_not_read_to_its_end(web, clients):
    web.body = b"1" * 1_000_000
    failed = await failure(clients.announce(web.url, ASKED, strict=True))
    assert failed.reason == "the reply has more than 256 KiB"


async def test_a_body_that_breaks_off(web, clients):
    web.breaks_off = True
    failed = await failure(clients.announce(web.url, ASKED, strict=True))
    assert "broke off" in failed.reason


class Silent:
    """An agent that never answers, and says so as agents do when it is cancelled."""

    def __init__(self):
        self.cancelled = 0

    def request(self, *_):
        def cancel(answering):
            self.cancelled += 1
            answering.errback(ResponseNeverReceived([Failure(CancelledError())]))

        return Deferred(cancel)


def test_no_answer_is_given_up_after_half_a_minute():
    clock, agent = Clock(), Silent()
    http = HttpAnnounces(agent, agent, clock)
    results = []
    asking = Deferred.fromCoroutine(http.announce("http://t.test/", ASKED, strict=True))
    asking.addErrback(results.append)
    clock.advance(29.9)
    assert not results
    clock.advance(0.2)
    assert results[0].check(AnnounceFailed)
    assert results[0].value.reason == "timed out"
    assert agent.cancelled == 1


def test_who_asks_no_more_lets_go_of_the_connection():
    clock, agent = Clock(), Silent()
    http = HttpAnnounces(agent, agent, clock)
    results = []
    asking = Deferred.fromCoroutine(http.announce("http://t.test/", ASKED, strict=True))
    asking.addErrback(results.append)
    asking.cancel()
    assert results[0].check(CancelledError)
    assert agent.cancelled == 1
    assert not clock.getDelayedCalls()


# -- whom the guard lets through


async def test_a_url_of_others_leads_to_no_loopback_address(web, datagrams):
    clients = make_announce_clients(reactor, Guard(loopback_only=lambda: True))
    for url in (web.url, datagrams.url):
        failed = await failure(clients.announce(url, ASKED, strict=True))
        assert "loopback address" in failed.reason
        assert (await clients.announce(url, ASKED, strict=False)).interval == 900
    clients.close()
    assert len(web.asked) == len(datagrams.announces) == 1


async def test_a_redirect_leads_to_no_private_address_either(web, clients):
    web.status = 302
    web.headers = {"Location": "http://10.1.2.3/announce"}
    failed = await failure(clients.announce(web.url, ASKED, strict=True))
    assert "10.1.2.3" in failed.reason


@pytest.mark.parametrize("url", ["wss://127.0.0.1/", "gopher://127.0.0.1/", "nothing", ""])
async def test_other_schemes_are_refused_for_good(clients, url):
    failed = await failure(clients.announce(url, ASKED, strict=True))
    assert failed.reason == "unsupported URL protocol"
    assert failed.for_good


@pytest.mark.parametrize(
    "url",
    ["http://", "http://[::1", "http://127.0.0.1:99999/", "udp://127.0.0.1/", "udp://x:99999/"],
)
async def test_a_url_that_leads_nowhere_fails(clients, url):
    assert (await failure(clients.announce(url, ASKED, strict=True))).reason


# -- UDP


async def test_a_tracker_hears_a_datagram_and_is_understood(datagrams, clients):
    told = await clients.announce(datagrams.url, ASKED, strict=True)
    assert (told.interval, told.min_interval) == (900, 60)
    assert (told.complete, told.incomplete, told.downloaded) == (3, 2, None)
    assert told.peers == (("10.0.0.1", 80),)
    [(connection, fields)] = datagrams.announces
    assert connection == b"00000001"
    assert fields[3] == ASKED.infohash
    assert datagrams.options == [b"/announce?x=1"]


async def test_a_connection_id_is_used_again(datagrams, clients):
    for _ in range(3):
        await clients.announce(datagrams.url, ASKED, strict=True)
    assert datagrams.connects == 1
    assert [connection for connection, _ in datagrams.announces] == [b"00000001"] * 3


async def test_a_tracker_says_what_is_wrong_and_is_greeted_anew(datagrams, clients):
    datagrams.failure = "connection id expired"
    failed = await failure(clients.announce(datagrams.url, ASKED, strict=True))
    assert (failed.reason, failed.message) == (TOLD_FAILURE, "connection id expired")
    assert failed.retry == 30
    datagrams.failure = None
    await clients.announce(datagrams.url, ASKED, strict=True)
    assert datagrams.connects == 2


class Port:
    def __init__(self):
        self.sent = []
        self.open = True

    def write(self, datagram, where):
        if ":" in where[0]:
            raise OSError(101, "Network is unreachable")
        self.sent.append((datagram, where))

    def stopListening(self):
        self.open = False


class Datagrams(Clock):
    """A reactor's time and datagrams, in memory."""

    def listenUDP(self, port, protocol, interface=""):
        self.protocol = protocol
        self.port = protocol.transport = Port()
        return self.port

    def receive(self, datagram, where):
        self.protocol.datagramReceived(datagram, where)


WHERE = ("192.0.2.1", 1337)


class UdpWorld:
    def __init__(self):
        self.reactor = Datagrams()
        self.udp = UdpAnnounces(self.reactor, self.resolve, self.resolve)
        self.results = []

    async def resolve(self, host, port):
        if host == "refused.test":
            raise Denied("not there")
        if host == "unreachable.test":
            raise OSError(101, "Network is unreachable")
        if host == "both.test":
            return [IPv6Address("UDP", "2001:db8::1", port), IPv4Address("UDP", "192.0.2.1", port)]
        return [IPv4Address("UDP", "192.0.2.1", port)]

    def announce(self, url="udp://t.test:1337/"):
        asking = Deferred.fromCoroutine(self.udp.announce(url, ASKED, strict=False))
        asking.addBoth(self.results.append)
        return asking

    @property
    def sent(self):
        return [datagram for datagram, _ in self.reactor.port.sent]

    def failure(self):
        [result] = self.results
        assert result.check(AnnounceFailed), result
        return result.value


@pytest.fixture
def world():
    return UdpWorld()


def test_a_lost_datagram_is_sent_again(world):
    world.announce()
    world.reactor.advance(15)
    first, second = world.sent
    assert first == second
    world.reactor.receive(udp.connected(first[12:16], b"connect!"), WHERE)
    world.reactor.advance(15)
    lost, again = world.sent[2:]
    assert lost == again
    assert lost.startswith(b"connect!")
    world.reactor.receive(udp.announced(udp.ANNOUNCE, again[12:16], 900, 0, 0), WHERE)
    assert world.results[0].interval == 900


def test_silence_is_given_up(world):
    world.announce()
    world.reactor.pump([15, 30])
    failed = world.failure()
    assert (failed.reason, failed.retry) == ("timed out", 30)
    assert len(world.sent) == 2
    assert not world.reactor.getDelayedCalls()


def test_all_of_it_takes_a_minute_at_most(world):
    world.announce()
    world.reactor.pump([15, 29])
    world.reactor.receive(udp.connected(world.sent[0][12:16], b"connect!"), WHERE)
    world.reactor.pump([15, 1])
    assert world.failure().reason == "timed out"
    assert not world.reactor.getDelayedCalls()


def test_others_cannot_answer(world):
    world.announce()
    [sent] = world.sent
    for where in (("192.0.2.2", 1337), ("192.0.2.1", 1338)):
        world.reactor.receive(udp.connected(sent[12:16], b"connect!"), where)
    world.reactor.receive(udp.connected(b"else", b"connect!"), WHERE)
    world.reactor.receive(b"", WHERE)
    assert not world.results
    assert len(world.sent) == 1
    world.reactor.receive(udp.connected(sent[12:16], b"connect!"), WHERE)
    assert len(world.sent) == 2
    world.reactor.receive(udp.connected(sent[12:16], b"again..."), WHERE)
    assert len(world.sent) == 2


def test_a_connection_id_is_good_for_a_minute(world):
    for _ in range(3):
        world.announce()
        sent = world.sent[-1]
        if sent.startswith(udp.MAGIC):
            world.reactor.receive(udp.connected(sent[12:16], b"connect!"), WHERE)
        sent = world.sent[-1]
        world.reactor.receive(struct.pack(">4s4sIII", udp.ANNOUNCE, sent[12:16], 1, 0, 0), WHERE)
        world.reactor.advance(40)
    assert [sent.startswith(udp.MAGIC) for sent in world.sent] == [True, False, False, True, False]


@pytest.mark.parametrize(
    ("host", "reason"),
    [("refused.test", "not there"), ("unreachable.test", "Network is unreachable")],
)
def test_a_host_that_cannot_be_asked(world, host, reason):
    world.announce(f"udp://{host}:1/")
    assert world.failure().reason == reason


def test_where_there_is_no_way_by_ipv6_another_address_is_asked(world):
    world.announce("udp://both.test:1/")
    assert [where for _, where in world.reactor.port.sent] == [("192.0.2.1", 1)]
    world.reactor.pump([15, 30])
    assert world.failure().reason == "timed out"


def test_who_asks_no_more_is_forgotten_and_the_port_is_closed(world):
    world.announce().cancel()
    assert world.results[0].check(CancelledError)
    assert not world.reactor.getDelayedCalls()
    world.udp.close()
    assert not world.reactor.port.open
