"""Announces that come through the web site: answered as by the door, wherever they stand."""

import pytest
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.web.resource import Resource

from p2pd.frontends import fleet, fleet_tracker
from p2pd.frontends.announce_resource import AnnounceResource
from p2pd.frontends.authorisation import Gate
from p2pd.frontends.root import Root
from p2pd.frontends.site import Site
from p2pd.frontends.sources import Sources
from p2pd.metainfo.bencode import decode
from p2pd.protocol.announce import NO_KEYS
from tests.administered import Administered
from tests.announces import INFOHASH, escaped, get, make_announcing, query

KEY, PASSKEY = "a" * 40, "b" * 40
V4 = IPv4Address("TCP", "1.2.3.4", 5)


class App(Resource):
    isLeaf = True

    def render(self, request):
        return b"the application"


class Tracker:
    def __init__(self, **access):
        self.announcing = make_announcing(**access)
        self.resource = AnnounceResource(self.announcing, Sources())
        raw = {b"announce": self.resource, b"scrape": self.resource}
        gate = Gate(b"a token that only the fleet has")
        self.site = Site(Root(gate, fleet.error, App(), raw, self.resource), reactor=Clock())

    def ask(self, head, peer=V4):
        channel = self.site.buildProtocol(peer)
        transport = StringTransport(peerAddress=peer)
        channel.makeConnection(transport)
        channel.dataReceived(head)
        head, _, body = transport.value().partition(b"\r\n\r\n")
        return head, body

    def announce(self, path="/announce", peer=V4, headers=(), **fields):
        head, body = self.ask(get(f"{path}?{query(**fields)}", *headers), peer)
        assert b"\r\nContent-Type: text/plain\r\n" in head
        return decode(body)


@pytest.mark.parametrize(
    "path",
    [
        "/announce",
        "/announce/x",
        f"/announce/{KEY}/{PASSKEY}",
        f"/{KEY}/announce",
        f"/{KEY}/{PASSKEY}/announce",
        f"/{KEY}/{PASSKEY}announce",
        "/x/announce",
    ],
)
def test_an_announce_is_answered_at_all_its_paths_without_a_token(path):
    assert Tracker().announce(path)[b"external ip"] == b"\1\2\3\4"


def test_credentials_in_the_path_are_asked_for():
    tracker = Tracker(require_keys=True)
    assert tracker.announce(f"/{KEY}/announce")[b"failure reason"] == b"unknown key"
    tracker.announcing.access.keys.put(bytes.fromhex(KEY), 0)
    assert b"peers" in tracker.announce(f"/{KEY}/announce")
    assert b"peers" in tracker.announce(f"/announce/{KEY}")
    for path in ("/short/announce", f"/{KEY}0/{PASSKEY}/announce"):
        assert tracker.announce(path)[b"failure reason"] == b"invalid key"


def test_raw_bytes_of_the_query_are_kept():
    tracker = Tracker()
    tracker.announce(info_hash="%2b+;" + "%ff" * 17, left=0)
    target = "/scrape?info_hash=%2B%2b%3b" + "%FF" * 17
    assert decode(tracker.ask(get(target))[1])[b"files"] == {
        b"++;" + b"\xff" * 17: {b"complete": 1, b"downloaded": 0, b"incomplete": 0}
    }


@pytest.mark.parametrize("path", ["/scrape", f"/{KEY}/scrape", f"/scrape/{KEY}"])
def test_a_scrape_is_answered(path):
    _, body = Tracker().ask(get(f"{path}?info_hash={escaped(INFOHASH)}"))
    assert list(decode(body)[b"files"]) == [INFOHASH]


@pytest.mark.parametrize("path", [f"/{KEY}", f"/{KEY}/x", "/announce/a/b/c"])
def test_beside_them_there_is_nothing(path):
    head, body = Tracker().ask(get(path))
    assert head.startswith(b"HTTP/1.1 404")
    assert decode(body) == {b"failure reason": b"unknown request"}


@pytest.mark.parametrize("path", ["/", "/announces", f"/{KEY[1:]}", f"/{KEY}0/x", "/api/announce"])
def test_other_paths_are_the_applications(path):
    assert Tracker().ask(get(path))[1] == b"the application"


def test_no_key_is_called_as_what_the_site_has_beside_announces():
    apis = [fleet_tracker.api, fleet_tracker.top, *(api for api, _ in Administered().apis)]
    firsts = {route.path.split("/")[1] for api in apis for route in api.routes}
    assert firsts - NO_KEYS == {"", "stats.json"}  # below which there is nothing
    assert NO_KEYS - firsts == {"announce", "origin", "scrape"}  # which are no routes


def test_other_methods_are_refused():
    head, body = Tracker().ask(get("/announce").replace(b"GET", b"PUT"))
    assert head.startswith(b"HTTP/1.1 405")
    assert b"\r\nAllow: GET, HEAD" in head
    assert decode(body) == {b"failure reason": b"use GET"}
    head, body = Tracker().ask(get("/announce").replace(b"GET", b"HEAD"))
    assert (head[:12], body) == (b"HTTP/1.1 200", b"")


@pytest.mark.parametrize(
    ("peer", "headers", "told"),
    [
        (IPv6Address("TCP", "2001::1", 5), [], b"\x20\1" + bytes(13) + b"\1"),
        (IPv6Address("TCP", "::ffff:1.2.3.4", 5), [], b"\1\2\3\4"),
        (V4, ["X-Forwarded-For: 5.6.7.8"], b"\1\2\3\4"),
        (UNIXAddress(None), ["X-Forwarded-For: 5.6.7.8"], b"\5\6\7\x08"),
        (UNIXAddress(None), ["X-Real-IP: 5.6.7.8"], b"\5\6\7\x08"),
    ],
)
def test_the_address_of_a_client_is_found(peer, headers, told):
    assert Tracker().announce(peer=peer, headers=headers)[b"external ip"] == told


def test_a_proxy_by_a_unix_socket_must_tell_whom_it_speaks_for():
    told = Tracker().announce(peer=UNIXAddress(None))
    assert told[b"failure reason"] == b"the proxy did not tell your address"


def test_a_body_is_read_and_ignored():
    tracker = Tracker()
    first = get(f"/announce?{query()}", "Content-Length: 5") + b"GET /"
    head, body = tracker.ask(first + get("/announce", "Connection: close"))
    assert body.count(b"200 OK") == 1
    v4, v6 = tracker.resource.tallies()
    assert (v4.announces, v4.failures, v6.announces) == (1, 1, 0)
    assert head.startswith(b"HTTP/1.1 200")
