"""Which addresses are called for the sake of a URL."""

import ipaddress

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.web.client import URI, readBody
from twisted.web.http_headers import Headers

from p2pd.errors import Denied, Unavailable
from p2pd.links.guard import Guard, GuardedEndpoints
from p2pd.links.redirects import _next, make_guarded_agent
from tests.web_server import Named


def guard(*allowed, loopback_only=False):
    return Guard(map(ipaddress.ip_network, allowed), loopback_only=lambda: loopback_only)


NEVER = [
    "169.254.169.254",
    "169.254.0.1",
    "fe80::1",
    "fe80::1%eth0",
    "fd00:ec2::254",
    "100.100.100.200",
    "168.63.129.16",
    "0.0.0.0",
    "0.1.2.3",
    "::",
    "224.0.0.1",
    "ff02::1",
    "255.255.255.255",
    "240.0.0.1",
    "::ffff:169.254.169.254",
    "::169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "2002:a9fe:a9fe::1",
    "2001:0:a9fe:a9fe::1",
]


@pytest.mark.parametrize("address", NEVER)
@pytest.mark.parametrize("strict", [True, False])
def test_some_addresses_are_never_called(address, strict):
    everything = guard("0.0.0.0/0", "::/0", loopback_only=True)
    with pytest.raises(Denied, match="nothing is fetched from there"):
        everything.check(address, strict=strict)


INSIDE = ["10.0.0.1", "192.168.1.1", "172.16.0.1", "100.64.0.1", "fd00::1", "fec0::1"]
OWN = ["127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::"]


@pytest.mark.parametrize("address", [*INSIDE, *OWN, "::ffff:10.0.0.1", "64:ff9b:1::1"])
def test_strictly_no_private_address_is_called(address):
    with pytest.raises(Denied, match="--allow-source-net"):
        guard(loopback_only=True).check(address, strict=True)


@pytest.mark.parametrize("address", INSIDE)
def test_who_operates_a_node_may_name_private_addresses(address):
    guard().check(address, strict=False)


@pytest.mark.parametrize("address", OWN)
def test_loopback_is_for_daemons_on_loopback_alone(address):
    guard(loopback_only=True).check(address, strict=False)
    with pytest.raises(Denied, match="--allow-source-net"):
        guard().check(address, strict=False)


@pytest.mark.parametrize("address", ["10.1.2.3", "127.0.0.1", "::ffff:10.1.2.3", "fd12::1"])
def test_allowed_nets_are_called_whatever_the_rule(address):
    allowing = guard("10.0.0.0/8", "127.0.0.0/8", "fd12::/16")
    for strict in (True, False):
        allowing.check(address, strict=strict)


@pytest.mark.parametrize("address", ["1.1.1.1", "2606:4700::1111", "::ffff:1.1.1.1"])
def test_public_addresses_are_called(address):
    guard().check(address, strict=True)


# -- names


def endpoints(named, *allowed, strict=True):
    return GuardedEndpoints(named, guard(*allowed), strict=strict, policy=None)


async def test_one_bad_address_is_enough_to_refuse_a_name():
    named = Named(a_test=["1.1.1.1", "169.254.169.254"])
    with pytest.raises(Denied, match=r"a\.test is 169\.254\.169\.254"):
        await endpoints(named).resolve("a.test", 80)


async def test_a_name_without_addresses_is_unavailable():
    with pytest.raises(Unavailable, match="no host nowhere"):
        await endpoints(Named()).resolve("nowhere.test", 80)


@pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "0177.0.0.1", "127.1", "localhost"])
async def test_odd_spellings_are_judged_by_what_they_mean(host):
    with pytest.raises((Denied, Unavailable)):
        await endpoints(reactor).resolve(host, 80)


@pytest.fixture
def agent(server):
    """Makes agents, and lets go of their connections."""
    made = []

    def make(named, *allowed, strict=False):
        one = make_guarded_agent(named, guard(*allowed), strict=strict)
        made.append(one)
        return one

    yield make
    for one in made:
        pytest_twisted.blockon(one._agent._pool.closeCachedConnections())


async def ask(agent, url):
    response = await agent.request(b"GET", url.encode())
    return response.code, await readBody(response)


async def test_the_address_that_was_judged_is_called_under_its_name(server, agent):
    server.pages["/a"] = 200, {}, b"found"
    named = Named(a_test=["127.0.0.1"])
    calling = agent(named, "127.0.0.1/32")
    assert await ask(calling, server.url("/a", "a.test")) == (200, b"found")
    assert server.headers()["host"] == f"a.test:{server.number}"
    assert named.asked == ["a.test"], "it is resolved once, and nobody resolves it again"


async def test_a_name_that_leads_elsewhere_the_next_time_is_judged_again(server, agent):
    server.pages["/a"] = 200, {"Connection": "close"}, b"found"
    named = Named(a_test=["127.0.0.1"])
    calling = agent(named, "127.0.0.1/32")
    await ask(calling, server.url("/a", "a.test"))
    named.hosts["a.test"] = ["127.0.0.2"]
    with pytest.raises(Denied, match=r"127\.0\.0\.2"):
        await ask(calling, server.url("/a", "a.test"))


async def test_another_address_is_tried_if_one_does_not_answer(server, agent):
    server.pages["/a"] = 200, {}, b"found"
    calling = agent(Named(a_test=["127.0.0.2", "127.0.0.1"]), "127.0.0.0/8")
    assert await ask(calling, server.url("/a", "a.test")) == (200, b"found")


@pytest.mark.parametrize("strict", [True, False])
async def test_nobody_is_called_who_must_not_be(server, agent, strict):
    with pytest.raises(Denied, match="loopback"):
        await ask(agent(Named(), strict=strict), server.url("/a"))
    assert server.asked == []


# -- redirects


async def test_redirects_are_followed_and_judged(server, agent):
    server.pages["/a"] = 302, {"Location": "b?c"}, b""
    server.pages["/b"] = 307, {"Location": f"http://c.test:{server.number}/d"}, b""
    server.pages["/d"] = 200, {}, b"found"
    named = Named(a_test=["127.0.0.1"], c_test=["127.0.0.1"])
    response = await agent(named, "127.0.0.1/32").request(
        b"GET", server.url("/a", "a.test").encode()
    )
    assert await readBody(response) == b"found"
    assert response.final_url == server.url("/d", "c.test")
    assert [uri for uri, _ in server.asked] == ["/a", "/b?c", "/d"]
    named.hosts["c.test"] = ["127.0.0.9"]
    with pytest.raises(Denied, match=r"c\.test is 127\.0\.0\.9"):
        await ask(agent(named, "127.0.0.1/32"), server.url("/a", "a.test"))


@pytest.mark.parametrize("location", ["file:///etc/passwd", "gopher://a/", "http://:1/", "//[::/"])
async def test_a_redirect_to_no_web_server_is_refused(server, agent, location):
    server.pages["/a"] = 301, {"Location": location}, b""
    with pytest.raises(Denied, match="redirects"):
        await ask(agent(Named(), "127.0.0.1/32"), server.url("/a"))


async def test_redirects_come_to_an_end(server, agent):
    server.pages["/a"] = 302, {"Location": "/a"}, b""
    with pytest.raises(Unavailable, match="again and again"):
        await ask(agent(Named(), "127.0.0.1/32"), server.url("/a"))
    assert len(server.asked) == 6


async def test_from_tls_no_redirect_leads_to_none():
    with pytest.raises(Denied, match="https to http"):
        _next("https://a.test/", "http://a.test/", Headers())


async def test_credentials_stay_with_their_origin(server, agent):
    server.pages["/a"] = 302, {"Location": "/b"}, b""
    server.pages["/b"] = 302, {"Location": server.url("/c", "b.test")}, b""
    server.pages["/c"] = 200, {}, b""
    named = Named(a_test=["127.0.0.1"], b_test=["127.0.0.1"])
    secret = Headers({b"Authorization": [b"Basic eDp5"], b"Cookie": [b"a=b"]})
    response = await agent(named, "127.0.0.1/32").request(
        b"GET", server.url("/a", "a.test").encode(), secret
    )
    await readBody(response)
    assert ["authorization" in server.headers(at) for at in range(3)] == [True, True, False]
    assert "cookie" not in server.headers(2)


def test_tls_is_told_the_name():
    seen = []

    class Policy:
        def creatorForNetloc(self, host, port):
            seen.append((host, port))

    making = GuardedEndpoints(Named(), guard(), strict=True, policy=Policy())
    making.endpointForURI(URI.fromBytes(b"https://a.test/"))
    assert seen == [(b"a.test", 443)]
