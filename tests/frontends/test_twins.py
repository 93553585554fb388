"""The compiled doors and the pure ones answer the same, request by request, and know the same."""

import random
import re
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pd.errors import Invalid
from p2pd.frontends.announce_http import HttpDoor
from p2pd.frontends.announce_udp import UdpDoor
from p2pd.frontends.sources import Sources, packed
from p2pd.metainfo.bencode import decode
from p2pd.protocol import udp
from p2pd.tracker.access import Access
from p2pd.tracker.announcing import Announcing
from p2pd.tracker.peer_table import CompactTable
from tests.announces import escaped, get, query

compiled = pytest.importorskip("p2pd.frontends._compiled")

CORPUS = sorted((Path(__file__).parent / "corpus").iterdir())
PURE = (CompactTable, HttpDoor, UdpDoor)
COMPILED = (compiled.CompiledTable, compiled.CompiledHttpDoor, compiled.CompiledUdpDoor)
HASHES = [bytes([number]) * 20 for number in (1, 2, 3)] + [b"&=%+ \r\n?#\\x41" + bytes(7)]
IDS = [b"-qB4520-abcdefghijk%c" % letter for letter in b"abcd"]
HOSTS = ["1.2.3.4", "5.6.7.8", "2001::1", "2001::2", "::ffff:1.2.3.4"]
ADDRESSES = [packed(host) for host in HOSTS[:4]] + [bytes(10) + b"\xff\xff\1\2\3\4"]
KEY = "5e" * 20
START = 1_700_000_000.0
# What stands for the connection id that a door gave, in a datagram that is for either.
ID = b"{ given}"


class Tracker:
    """Doors of one kind, and all that is behind them."""

    def __init__(self, kind, policy):
        table, http, datagrams = kind
        self.now = START
        self.table = table(lifetime=2700.0, now=START, rng=random.Random(1))
        self.access = Access(
            mode=policy, require_keys=policy == "keys", users=False, clock=lambda: self.now
        )
        for infohash in HASHES[:2]:
            self.access.lists["whitelist"].put(infohash)
            self.access.lists["blacklist"].put(infohash)
        self.access.keys.put(bytes.fromhex(KEY), 0)
        # With an interval of a second there is nothing to jitter.
        announcing = Announcing(self.table, self.access, interval=1)
        announcing.open = policy != "loading"
        self.http = http(announcing, Sources(), self._hand_over, clock=lambda: self.now)
        self.udp = datagrams(announcing, clock=lambda: self.now)

    def close(self):
        self.http.close()
        self.udp.close()

    def _hand_over(self, descriptor, received):
        raise AssertionError

    def get(self, request, address):
        return self.http.answer(request, address)

    def send(self, datagram, address):
        given = self.udp.answer(udp.MAGIC + udp.CONNECT + b"0000", address)[8:]
        return self.udp.answer(datagram.replace(ID, given), address)

    def pass_time(self, seconds):
        self.now += seconds
        self.table.tick(self.now)
        self.table.sweep(100)

    def administer(self, infohash, count):
        return self.table.put(infohash, count) if count != 3 else self.table.remove(infohash)

    def relist(self, which, infohash, listed):
        self.access.lists[which].merge({infohash: listed})

    def known(self):
        """All that can be known of the tracker from outside."""
        records = [self.table.record(infohash) for infohash in HASHES]
        return (
            self.table.totals(),
            self.table.changes(),
            [
                record
                and replace(
                    record,
                    seeds=tuple(sorted(record.seeds, key=repr)),
                    leeches=tuple(sorted(record.leeches, key=repr)),
                )
                for record in records
            ],
            self.http.tallies(),
            self.udp.tallies(),
        )


class Pair:
    """Both twins, in lock step."""

    def __init__(self, stack, policy="open"):
        self.twins = [Tracker(kind, policy) for kind in (PURE, COMPILED)]
        for twin in self.twins:
            stack.callback(twin.close)

    def do(self, step):
        what, *arguments = step
        pure, other = (getattr(twin, what)(*arguments) for twin in self.twins)
        if what == "send":
            pure, other = (plain_datagram(reply) for reply in (pure, other))
        elif what == "get":
            pure, other = (plain_response(response) for response in (pure, other))
        if pure != other:
            # Who wants fewer than there are gets any of them.
            wanted = few_wanted(what, arguments[0])
            assert pure[0] == other[0]
            assert len(pure[1]) == len(other[1]) == wanted, (pure, other)

    def compare(self):
        pure, other = (twin.known() for twin in self.twins)
        assert pure == other


def few_wanted(what, request):
    if what == "send":
        return int.from_bytes(request[92:96], "big")
    return int(re.findall(rb"numwant=([123])\b", request)[-1])


def plain_response(response):
    """What does not depend on chance in a response: all but the peers, and those sorted."""
    if response is None or b"7:failure" in response:
        return response, []
    head, _, body = response.partition(b"\r\n\r\n")
    told = decode(body)
    peers = told.pop(b"peers", b"")
    if isinstance(peers, list):
        return (head, told), sorted(peers, key=repr)
    width = 18 if b"peers6" in told else 6
    peers += told.pop(b"peers6", b"")
    return (head, told), sorted(peers[at : at + width] for at in range(0, len(peers), width))


def plain_datagram(reply):
    if reply[:4] == udp.CONNECT:
        return reply[:8], []
    if reply[:4] != udp.ANNOUNCE:
        return reply, []
    # The addresses of either kind: six divides eighteen.
    return reply[:20], sorted(reply[at : at + 6] for at in range(20, len(reply), 6))


@pytest.fixture
def pair():
    with ExitStack() as stack:
        yield Pair(stack)


def part_of_query():
    """One parameter as clients write it, or as nobody should."""
    number = st.sampled_from(["0", "1", "1000", "9" * 18, "9" * 19, "9" * 30, "", "-1", "1x"])
    hashes = st.sampled_from(HASHES)
    ids = st.sampled_from(IDS)
    return st.one_of(
        st.builds("info_hash={}".format, hashes.map(escaped)),
        st.builds("peer_id={}".format, ids.map(bytes.decode)),
        st.builds("info_hash={}".format, st.sampled_from(["", "%", "%4", "%zz", "a" * 20])),
        st.builds("peer_id={}".format, st.sampled_from(["", "+" * 20, "a" * 21, "%41" * 20])),
        st.builds("{}={}".format, st.sampled_from(["uploaded", "downloaded", "left"]), number),
        st.builds("port={}".format, st.sampled_from(["1", "6881", "0", "65535", "65536", "x"])),
        st.builds("numwant={}".format, st.sampled_from(["0", "1", "2", "50", "999", "", "-1"])),
        st.builds(
            "event={}".format,
            st.sampled_from(["started", "stopped", "completed", "paused", "", "Started"]),
        ),
        st.sampled_from(
            [
                "compact=1",
                "compact=0",
                "compact=",
                "no_peer_id=1",
                "key=ABC",
                "ip=9.9.9.9",
                "corrupt=0",
                "p%6Frt=1",
                "port",
                "left",
                "=",
                "a=b=c",
                ";port=3",
                "trackerid=%00",
                "&",
            ]
        ),
    )


def announces():
    """Queries that are whole, with a few more parameters before or behind."""
    whole = st.builds(
        lambda infohash, peer_id, port, left, event: query(
            infohash, peer_id=peer_id.decode(), port=port, left=left, event=event
        ),
        st.sampled_from(HASHES),
        st.sampled_from(IDS),
        st.sampled_from([6881, 6882]),
        st.sampled_from([0, 1, 77777]),
        st.sampled_from([None, "started", "stopped", "completed", "paused"]),
    )
    few = st.lists(part_of_query(), max_size=2)
    return st.builds(lambda a, b, c: "&".join([*a, b, *c]), few, whole, few)


def requests():
    targets = st.builds(
        "{}?{}".format,
        st.sampled_from(["/announce"] * 6 + ["/scrape", f"/announce/{KEY}", "/announce/", "/x"]),
        announces() | st.lists(part_of_query(), max_size=8).map("&".join),
    )
    headers = st.lists(
        st.sampled_from(
            [
                "Connection: close",
                "Connection: close\t",
                "Connection: Close, x",
                "connection:keep-alive",
                "Content-Length: 0",
                "Content-Length: 5",
                "Transfer-Encoding: chunked",
                "X-Forwarded-For: 9.9.9.9",
                "x-real-ip: 9.9.9.9",
                "A: b",
                "A:",
                "A : b",
                "bad",
            ]
        ),
        max_size=2,
    )
    version = st.sampled_from(["1.1", "1.1", "1.1", "1.0", "2.0"])
    plain = st.builds(
        lambda target, more, version: get(target, *more, version=version),
        targets,
        headers,
        version,
    )
    return plain | st.builds(
        damaged, plain, st.integers(0, 400), st.binary(max_size=3), st.integers(0, 3)
    )


def damaged(request, at, put, cut):
    return request[:at] + put + request[at + cut :]


def announce_datagram(infohash, peer_id, left, event, wanted, port, options):
    numbers = b"".join(
        number.to_bytes(size, "big")
        for number, size in ((77, 8), (left, 8), (2**63 + 5, 8), (event, 4), (0, 4), (9, 4))
    )
    return (
        ID
        + udp.ANNOUNCE
        + b"tran"
        + infohash
        + peer_id
        + numbers
        + wanted.to_bytes(4, "big", signed=True)
        + port.to_bytes(2, "big")
        + options
    )


def datagrams():
    announced = st.builds(
        announce_datagram,
        st.sampled_from(HASHES),
        st.sampled_from(IDS),
        st.sampled_from([0, 1, 2**64 - 1]),
        st.sampled_from([0, 1, 2, 3, 4, 2**32 - 1]),
        st.sampled_from([-1, 0, 1, 2, 50, 2**31 - 1, -(2**31)]),
        st.sampled_from([0, 1, 6881, 65535]),
        st.sampled_from([b"", b"", b"\2\x09/announce", b"\2\x0a/announce", b"\0x", b"\1\1", b"\2"])
        | st.binary(max_size=8),
    )
    scraped = st.lists(st.sampled_from(HASHES), max_size=3).map(
        lambda hashes: ID + udp.SCRAPE + b"tran" + b"".join(hashes)
    )
    plain = announced | scraped | st.just(udp.MAGIC + udp.CONNECT + b"tran")
    return (
        plain
        | st.binary(max_size=120)
        | st.builds(damaged, plain, st.integers(0, 110), st.binary(max_size=3), st.integers(0, 3))
    )


def steps():
    addresses = st.sampled_from(ADDRESSES)
    return st.lists(
        st.one_of(
            st.tuples(st.just("get"), requests(), addresses),
            st.tuples(st.just("get"), announces().map(lambda q: get(f"/announce?{q}")), addresses),
            st.tuples(st.just("send"), datagrams(), addresses),
            st.tuples(
                st.just("relist"),
                st.sampled_from(["whitelist", "blacklist"]),
                st.sampled_from(HASHES),
                st.booleans(),
            ),
            st.tuples(st.just("pass_time"), st.sampled_from([1, 60, 1000, 3000])),
            st.tuples(
                st.just("administer"), st.sampled_from(HASHES), st.sampled_from([None, 0, 3, 7])
            ),
        ),
        max_size=25,
    )


@settings(deadline=None)
@given(
    policy=st.sampled_from(["open", "open", "whitelist", "blacklist", "keys", "loading"]),
    steps=steps(),
)
def test_they_answer_and_remember_the_same(policy, steps):
    with ExitStack() as stack:
        pair = Pair(stack, policy)
        for step in steps:
            pair.do(step)
        pair.compare()


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.name)
@pytest.mark.parametrize("policy", ["open", "whitelist", "keys"])
def test_they_answer_the_corpus_the_same(pair, path, policy):
    what = {".http": "get", ".udp": "send"}[path.suffix]
    for address in ADDRESSES:
        pair.do((what, path.read_bytes(), address))
    pair.compare()


def announce_many(twin, infohash, numbers, **fields):
    for number in numbers:
        own = {"peer_id": f"-XX0001-{number:012}", "left": number % 3}
        request = get(f"/announce?{query(infohash, **own, **fields)}")
        assert twin.get(request, number.to_bytes(4, "big")) is not None


def test_they_read_each_others_snapshots(pair):
    for twin in pair.twins:
        announce_many(twin, HASHES[0], range(1, 1000))
        announce_many(twin, HASHES[1], range(1, 4))
    for twin, other in zip(pair.twins, reversed(pair.twins), strict=True):
        for infohash in HASHES:
            twin.table.remove(infohash)
        for portion in other.table.dump():
            twin.table.restore(portion)
        pair.compare()
        assert twin.table.totals() == (2, 334, 668, 0)


def test_both_refuse_a_damaged_snapshot(pair):
    announce_many(pair.twins[0], HASHES[0], range(1, 4))
    [portion] = pair.twins[0].table.dump()
    for twin in pair.twins:
        with pytest.raises(Invalid, match="damaged"):
            twin.table.restore(portion[:-1])


def test_large_swarms_come_and_go_the_same(pair):
    for what in ({}, {"event": "stopped"}):
        for twin in pair.twins:
            announce_many(twin, HASHES[0], range(1, 3000), **what)
        pair.compare()
    assert pair.twins[0].table.totals() == (0, 0, 0, 0)
