"""Whom an agent believes over TLS, over real sockets."""

import pytest
import treq
from twisted.internet import reactor
from twisted.internet.endpoints import serverFromString
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.web.resource import Resource

from p2pd.errors import Invalid, Unavailable
from p2pd.frontends.site import Site
from p2pd.links.agent import make_agent, make_client
from p2pd.links.http import Caller
from p2pd.links.tls import read_authority
from p2pd.metainfo.ids import NodeId
from p2pd.node.throttle import Throttle
from tests.certificates import Authority, endpoint


class Hello(Resource):
    isLeaf = True

    def render_GET(self, _request):
        return b"hello"


class World:
    """Servers with certificates, and one who calls them."""

    def __init__(self, path):
        self.path = path
        self.fleet = self.authority("fleet")
        self._clients = []
        self._ports = []

    def authority(self, name):
        (self.path / name).mkdir()
        return Authority(self.path / name, name)

    async def serve(self, where, factory=None):
        factory = factory or Site(Hello(), reactor=reactor)
        self._ports.append(await serverFromString(reactor, where).listen(factory))
        return self._ports[-1].getHost().port

    async def call(self, url, authority=None):
        policy = read_authority((authority or self.fleet).path.read_bytes())
        client = make_client(make_agent(reactor, connections=1, policy=policy))
        self._clients.append(client)
        caller = Caller(client, reactor, NodeId("asking"), Throttle(reactor, 0))
        return await caller.ask("GET", url)

    async def close(self):
        for client in self._clients:
            await client._agent._pool.closeCachedConnections()
        for port in self._ports:
            await port.stopListening()
        await deferLater(reactor, 0.01)


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_who_proves_to_be_the_host_that_was_called_is_believed(world, host):
    port = await world.serve(endpoint(world.fleet.issue("node", host)))
    assert await world.call(f"https://{host}:{port}/") == b"hello"
    await world.close()


async def test_a_certificate_can_be_for_an_ipv6_address(world):
    port = await world.serve(endpoint(world.fleet.issue("node", "::1"), "::1"))
    policy = read_authority(world.fleet.path.read_bytes())
    agent = make_agent(reactor, connections=1, policy=policy)
    response = await agent.request(b"GET", f"https://[::1]:{port}/".encode())
    assert await treq.content(response) == b"hello"
    await agent._pool.closeCachedConnections()
    await world.close()


async def test_one_of_several_authorities_is_enough(world):
    port = await world.serve(endpoint(world.fleet.issue("node", "127.0.0.1")))
    both = world.authority("other")
    both.path.write_bytes(both.path.read_bytes() + b"\n" + world.fleet.path.read_bytes())
    assert await world.call(f"https://127.0.0.1:{port}/", both) == b"hello"
    await world.close()


async def test_a_certificate_of_another_authority_is_not_believed(world):
    port = await world.serve(endpoint(world.authority("other").issue("node", "127.0.0.1")))
    with pytest.raises(Unavailable, match=r"no answer from .*: TLS failed: .*verify failed"):
        await world.call(f"https://127.0.0.1:{port}/")
    await world.close()


@pytest.mark.parametrize("hosts", [["127.0.0.2"], ["localhost"], ["::1", "127.0.0.1.test"]])
async def test_a_certificate_of_another_host_is_not_believed(world, hosts):
    port = await world.serve(endpoint(world.fleet.issue("node", *hosts)))
    with pytest.raises(Unavailable, match="its TLS certificate is for another host"):
        await world.call(f"https://127.0.0.1:{port}/")
    await world.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_certificate_of_no_host_is_not_believed(world, host):
    port = await world.serve(endpoint(world.fleet.issue(host)))
    with pytest.raises(Unavailable, match=r"its TLS certificate is of no use: .*subjectAltName"):
        await world.call(f"https://{host}:{port}/")
    await world.close()


class Plain(Protocol):
    """A server that talks no TLS, and says so in its way."""

    def dataReceived(self, _):
        self.transport.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        self.transport.loseConnection()


async def test_a_server_without_tls_is_told_apart(world):
    port = await world.serve("tcp:0:interface=127.0.0.1", Factory.forProtocol(Plain))
    with pytest.raises(Unavailable, match="TLS failed: "):
        await world.call(f"https://127.0.0.1:{port}/")
    await world.close()


def test_what_is_no_certificate_of_an_authority_is_refused(world):
    node = world.fleet.issue("node", "127.0.0.1").read_bytes()
    key = node[: node.index(b"-----BEGIN CERTIFICATE")]
    broken = node.replace(b"MII", b"XII")
    for pem in (b"", b"hello", key, broken):
        with pytest.raises(Invalid, match="there is no certificate in PEM format in it"):
            read_authority(pem)
    for pem in (node, world.fleet.path.read_bytes() + node):
        with pytest.raises(Invalid, match="CN=node in it is not that of an authority"):
            read_authority(pem)
