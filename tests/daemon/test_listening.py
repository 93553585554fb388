"""Listening inside this process."""

import socket

import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString
from twisted.internet.protocol import Factory, Protocol
from twisted.web.resource import Resource

from p2pd.daemon import listening
from p2pd.daemon.listening import Listening
from p2pd.daemon.site import Site


class Hello(Resource):
    isLeaf = True

    def render_GET(self, _request):
        return b"hello"


class Client(Protocol):
    """Collects what comes until the connection is closed."""

    def __init__(self):
        self.data = b""
        self.some = Deferred()
        self.closed = Deferred()

    def dataReceived(self, data):
        self.data += data
        if not self.some.called:
            self.some.callback(None)

    def connectionLost(self, _reason):
        self.closed.callback(None)


async def connect(bound):
    where = f"unix:{bound.host}" if bound.port is None else f"tcp:{bound.host}:{bound.port}"
    endpoint = clientFromString(reactor, where.replace("tcp:::1:", r"tcp:host=\:\:1:port="))
    return await endpoint.connect(Factory.forProtocol(Client))


async def fetch(bound):
    client = await connect(bound)
    client.transport.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    await client.closed
    return client.data


class Started:
    """A started Listening, what it bound, and its site."""

    def __init__(self, *endpoints, guarded=False, **options):
        self.heard = []
        self.site = Site(Hello(), reactor=reactor, **options)
        self.service = Listening(
            reactor, endpoints, self.site, guarded=guarded, on_bound=self.heard.extend
        )
        self.service.privilegedStartService()
        self.service.startService()

    @property
    def bound(self):
        return self.service.bound

    async def stop(self):
        await self.service.stopService()


async def test_every_endpoint_serves_and_is_logged(tmp_path, caught_log):
    path = tmp_path / "http"
    started = Started("tcp:0:interface=127.0.0.1", r"tcp6:0:interface=\:\:1", f"unix:{path}")
    assert started.heard == started.bound
    for bound in started.bound:
        assert (await fetch(bound)).endswith(b"\r\n\r\nhello")
        assert f"listening on {bound.url}" in caught_log().splitlines()
    assert [bound.url for bound in started.bound] == [
        f"http://127.0.0.1:{started.bound[0].port}",
        f"http://[::1]:{started.bound[1].port}",
        f"unix:{path}",
    ]
    await started.stop()
    assert "GET" not in caught_log()


async def test_auto_is_the_first_free_port(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setattr(listening, "AUTO_PORTS", [port, 0])
        started = Started("auto", "auto")
    assert {bound.host for bound in started.bound} == {"127.0.0.1"}
    assert port not in {bound.port for bound in started.bound}
    await started.stop()


def test_auto_has_an_end(monkeypatch, taken_port):
    monkeypatch.setattr(listening, "AUTO_PORTS", [taken_port])
    with pytest.raises(SystemExit, match="every port of 48000-48999"):
        Started("auto")


def test_the_ports_of_auto():
    assert (listening.AUTO_PORTS[0], listening.AUTO_PORTS[-1]) == (48000, 48999)


async def test_a_taken_port_ends_it_and_nothing_stays_open(taken_port):
    endpoint = f"tcp:{taken_port}:interface=127.0.0.1"
    with pytest.raises(SystemExit) as end:
        Started("tcp:0:interface=127.0.0.1", endpoint)
    assert end.value.code == f"cannot listen on {endpoint}: Address already in use"


@pytest.mark.parametrize(
    ("endpoint", "why"),
    [
        ("carrier-pigeon:1", "ValueError: Unknown endpoint type: 'carrier-pigeon'"),
        ("tcp:eighty", "ValueError: invalid literal"),
        ("tcp:", "ValueError: invalid literal"),
        ("unix:/nonexistent/http", "No such file or directory"),
        ("ssl:0:privateKey=/nonexistent.pem", "No such file or directory"),
        ("systemd:domain=INET:name=http", "systemd passed no such socket"),
        ("systemd:domain=INET:index=0", "systemd passed no such socket"),
    ],
)
def test_a_bad_endpoint_ends_it(endpoint, why):
    with pytest.raises(SystemExit) as end:
        Started(endpoint)
    assert end.value.code.startswith(f"cannot listen on {endpoint}: ")
    assert why in end.value.code
    assert "\n" not in end.value.code


async def test_off_loopback_it_must_be_guarded(caught_log):
    with pytest.raises(
        SystemExit, match=r"refusing to listen on http://0.0.0.0:\d+.*--token-file"
    ):
        Started("tcp:0:interface=0.0.0.0")
    assert "listening on" not in caught_log()
    started = Started("tcp:0:interface=0.0.0.0", guarded=True)
    assert started.bound[0].host == "0.0.0.0"
    await started.stop()


async def test_connections_beyond_the_limit_are_closed(caught_log):
    started = Started("tcp:0:interface=127.0.0.1", max_connections=2)
    first, second = [await connect(started.bound[0]) for _ in range(2)]
    for client in (first, second):
        client.transport.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await client.some
    third = await connect(started.bound[0])
    await third.closed
    assert third.data == b""
    assert "2 connections are open: no more are accepted" in caught_log()
    first.transport.loseConnection()
    await first.closed
    assert b"hello" in await fetch(started.bound[0])
    await started.stop()


async def test_stopping_closes_connections():
    started = Started("tcp:0:interface=127.0.0.1")
    client = await connect(started.bound[0])
    client.transport.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    await client.some
    await started.stop()
    await client.closed
    assert not started.site.connections


async def test_idle_connections_are_closed():
    started = Started("tcp:0:interface=127.0.0.1", timeout=0.05)
    client = await connect(started.bound[0])
    await client.closed
    await started.stop()


def test_tls_clients_are_not_offered_http2():
    assert Site(Hello(), reactor=reactor).acceptableProtocols() == [b"http/1.1"]
