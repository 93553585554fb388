"""The compiled doors and the pure ones answer the same, request by request, and know the same."""

from contextlib import ExitStack

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pd.errors import Invalid
from p2pd.protocol import udp
from tests.announces import escaped, get, query
from tests.twins import ADDRESSES, CORPUS, HASHES, ID, KEY, Pair, answer_alike

pytest.importorskip("p2pd.frontends._compiled")

IDS = [b"-qB4520-abcdefghijk%c" % letter for letter in b"abcd"]


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
            st.tuples(st.just("http"), requests(), addresses),
            st.tuples(
                st.just("http"), announces().map(lambda q: get(f"/announce?{q}")), addresses
            ),
            st.tuples(st.just("udp"), datagrams(), addresses),
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
            pair.do(*step)
        pair.compare()


@pytest.mark.parametrize("policy", ["open", "whitelist", "keys"])
@pytest.mark.parametrize(
    "path",
    sorted(path for path in CORPUS.iterdir() if path.suffix in {".http", ".udp"}),
    ids=lambda path: path.name,
)
def test_they_answer_the_corpus_the_same(path, policy):
    answer_alike(path.suffix[1:], path.read_bytes(), policy)


def announce_many(twin, infohash, numbers, **fields):
    for number in numbers:
        own = {"peer_id": f"-XX0001-{number:012}", "left": number % 3}
        request = get(f"/announce?{query(infohash, **own, **fields)}")
        assert twin.http(request, number.to_bytes(4, "big")) is not None


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
