"""Announces beside the site on its listeners, and by UDP, inside this process."""

import random
import socket
import struct
import time

import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol
from twisted.web.resource import Resource

from p2pd.daemon.announce_doors import HttpAnnounces, UdpAnnounces
from p2pd.daemon.listening import Listening
from p2pd.daemon.site import Site
from p2pd.frontends.announce_http import HttpDoor
from p2pd.frontends.announce_udp import UdpDoor
from p2pd.frontends.sources import Sources
from p2pd.tracker.access import Access
from p2pd.tracker.announcing import Announcing
from p2pd.tracker.peer_table import CompactTable

ANNOUNCE = (
    b"GET /announce?info_hash=aaaaaaaaaaaaaaaaaaaa&peer_id=-XX0000-bbbbbbbbbbbb&port=%d&left=0"
    b" HTTP/1.1\r\nHost: localhost\r\n\r\n"
)
OTHER = b"GET /elsewhere HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Elsewhere(Resource):
    isLeaf = True

    def render(self, request):
        return b"from the site: " + request.uri + request.content.read()


@pytest.fixture
def announcing():
    made = Announcing(
        CompactTable(lifetime=2700.0, now=time.time(), rng=random.Random(1)),
        Access(clock=time.time),
    )
    made.open = True
    return made


class Started:
    """A site on some endpoints with a door beside it."""

    def __init__(self, announcing, *endpoints):
        self.announces = HttpAnnounces(
            reactor,
            lambda hand_over: HttpDoor(
                announcing, Sources((), ()), hand_over, clock=time.monotonic
            ),
        )
        self.site = Site(Elsewhere(), reactor=reactor)
        self.listening = Listening(
            reactor,
            endpoints,
            self.site,
            guarded=False,
            on_bound=lambda _: None,
            announces=self.announces,
        )
        self.services = [self.announces, self.listening]
        for service in self.services:
            service.privilegedStartService()
        for service in self.services:
            service.startService()
        self.bound = self.listening.bound

    async def stop(self):
        for service in reversed(self.services):
            await service.stopService()


class Client(Protocol):
    """Says when what it waits for has come, or the connection was closed."""

    def __init__(self):
        self.data = b""
        self.until = None
        self.waiting = None

    async def ask(self, request, until):
        self.until, self.waiting = until, Deferred()
        self.transport.write(request)
        await self.waiting
        data, self.data = self.data, b""
        return data

    def dataReceived(self, data):
        self.data += data
        if self.until and self.until in self.data:
            self.until = None
            self.waiting.callback(None)

    def connectionLost(self, _reason):
        if self.until:
            self.waiting.callback(None)


async def connect(bound):
    where = f"unix:{bound.host}" if bound.port is None else f"tcp:{bound.host}:{bound.port}"
    endpoint = clientFromString(reactor, where.replace("tcp:::1:", r"tcp:host=\:\:1:port="))
    return await endpoint.connect(Factory.forProtocol(Client))


async def test_the_first_bytes_decide_who_answers(announcing, tmp_path):
    started = Started(
        announcing,
        "tcp:0:interface=127.0.0.1",
        r"tcp6:0:interface=\:\:1",
        f"unix:{tmp_path / 'http'}",
    )
    for bound in started.bound:
        client = await connect(bound)
        assert b"from the site: /elsewhere" in await client.ask(OTHER, b"elsewhere")
        client.transport.loseConnection()
    for bound in started.bound[:2]:
        client = await connect(bound)
        for port in (1001, 1002):
            assert b"8:completei" in await client.ask(ANNOUNCE % port, b":peers")
        client.transport.loseConnection()
    assert announcing.table.scrape(b"a" * 20) == (4, 0, 0)
    await started.stop()


async def test_a_connection_goes_to_the_site_with_all_that_came(announcing):
    started = Started(announcing, "tcp:0:interface=127.0.0.1")
    client = await connect(started.bound[0])
    post = b"POST /%b HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nbody"
    answer = await client.ask(ANNOUNCE % 1001 + post % b"first" + post % b"second", b"second")
    assert answer.index(b"8:complete") < answer.index(b"from the site: /firstbody")
    assert b"from the site: /secondbody" in await client.ask(post % b"second", b"secondbody")
    assert len(started.site.connections) == 1
    client.transport.loseConnection()
    await started.stop()


async def test_a_port_that_wraps_the_site_stays_the_sites(announcing):
    started = Started(announcing, "haproxy:tcp:0:interface=127.0.0.1")
    client = await connect(started.bound[0])
    proxied = b"PROXY TCP4 1.2.3.4 127.0.0.1 1001 80\r\n" + ANNOUNCE % 1001
    assert b"from the site: /announce" in await client.ask(proxied, b"left=0")
    client.transport.loseConnection()
    await started.stop()


async def test_stopping_closes_what_is_open(announcing):
    started = Started(announcing, "tcp:0:interface=127.0.0.1")
    kept = [await connect(started.bound[0]) for _ in range(2)]
    await kept[0].ask(ANNOUNCE % 1001, b":peers")
    await kept[1].ask(OTHER, b"elsewhere")
    waiting = [client.ask(b"", b"nothing more") for client in kept]
    ends = [Deferred.fromCoroutine(one) for one in waiting]
    await started.stop()
    for end in ends:
        assert await end == b""


class Asking(DatagramProtocol):
    """Sends one datagram and waits for the answer."""

    def __init__(self):
        self.answered = Deferred()

    def datagramReceived(self, data, _address):
        self.answered.callback(data)


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "localhost"])
async def test_announces_by_udp(announcing, host):
    door = UdpDoor(announcing, clock=time.monotonic)
    service = UdpAnnounces(reactor, [f"{host}:0"], door)
    service.privilegedStartService()
    service.startService()
    (listening,) = service._sockets
    address = listening.getsockname()
    asking = Asking()
    port = reactor.listenUDP(0, asking, interface=address[0])
    port.write(struct.pack(">QII", 0x41727101980, 0, 7), address[:2])
    assert struct.unpack_from(">II", await asking.answered) == (0, 7)
    await port.stopListening()
    service.stopService()
    assert sum(tally.connections for tally in door.tallies()) == 1


def test_a_taken_udp_port_ends_it(announcing):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        door = UdpDoor(announcing, clock=time.monotonic)
        service = UdpAnnounces(reactor, ["127.0.0.1:0", address], door)
        with pytest.raises(SystemExit) as end:
            service.privilegedStartService()
        assert end.value.code == f"cannot listen on udp {address}: Address already in use"
        assert service._sockets == []
        door.close()
