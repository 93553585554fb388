"""Both forms of what answers announces, in lock step: they answer the same and know the same."""

import random
import re
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from p2pd.daemon import twins
from p2pd.frontends.sources import Sources, packed
from p2pd.metainfo.bencode import decode
from p2pd.protocol import announce, udp
from p2pd.tracker.access import Access
from p2pd.tracker.announcing import Announcing
from p2pd.tracker.portions import unpack

CORPUS = Path(__file__).parent / "frontends/corpus"
HASHES = [bytes([number]) * 20 for number in (1, 2, 3)] + [b"&=%+ \r\n?#\\x41" + bytes(7)]
ADDRESSES = [packed(host) for host in ("1.2.3.4", "5.6.7.8", "2001::1", "2001::2")]
ADDRESSES += [bytes(10) + b"\xff\xff\1\2\3\4"]
KEY = "5e" * 20
START = 1_700_000_000.0
# What stands for the connection id that a door gave, in a datagram that is for either.
ID = b"{ given}"
# Where one request of a file ends and the next one begins.
_BETWEEN = {
    "http": re.compile(rb"(?<=\r\n\r\n)(?!\Z)"),
    "udp": re.compile(rb"(?<!\A)(?=%b|%b)" % (re.escape(ID), re.escape(udp.MAGIC + udp.CONNECT))),
}


class Tracker:
    """Doors of one kind, and all that is behind them."""

    def __init__(self, twin, policy):
        self.now = START
        self.table = twin.table(lifetime=2700.0, now=START, rng=random.Random(1))
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
        self._http = twin.http_door(announcing, Sources(), self._hand_over, clock=lambda: self.now)
        self._udp = twin.udp_door(announcing, clock=lambda: self.now)

    def close(self):
        self._http.close()
        self._udp.close()

    def _hand_over(self, descriptor, received):
        raise AssertionError

    def http(self, request, address):
        return self._http.answer(request, address)

    def udp(self, datagram, address):
        given = self._udp.answer(udp.MAGIC + udp.CONNECT + b"0000", address)[8:]
        return self._udp.answer(datagram.replace(ID, given), address)

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
        clients = sorted(
            (infohash, client)
            for portion in self.table.dump()
            for infohash, group in unpack(portion).swarms
            for client in group
        )
        return (
            self.table.totals(),
            self.table.changes(),
            clients,
            {infohash: self.table.scrape(infohash) for infohash, _ in clients},
            [
                record
                and replace(
                    record,
                    seeds=tuple(sorted(record.seeds, key=repr)),
                    leeches=tuple(sorted(record.leeches, key=repr)),
                )
                for record in records
            ],
            self._http.tallies(),
            self._udp.tallies(),
        )


class Pair:
    """Both twins; the one that is pure Python is the first."""

    def __init__(self, stack, policy="open"):
        self.twins = [Tracker(twins.choose(compiled=each), policy) for each in (False, True)]
        for twin in self.twins:
            stack.callback(twin.close)

    def do(self, what, *arguments):
        """Let both do the same, and compare what they return."""
        pure, other = (getattr(twin, what)(*arguments) for twin in self.twins)
        if what in _PLAIN:
            plain, wanted = _PLAIN[what]
            pure, other = plain(pure, arguments[1]), plain(other, arguments[1])
            if pure != other:
                # Who wants fewer than there are gets any of them.
                assert pure[0] == other[0], (pure, other)
                few = wanted(arguments[0], arguments[1])
                assert len(pure[1]) == len(other[1]) == few, (pure, other)
        assert what in _PLAIN or pure == other

    def compare(self):
        pure, other = (twin.known() for twin in self.twins)
        assert pure == other


def answer_alike(what, content, policy):
    """Let both answer the requests in a file, each of them from every address."""
    with ExitStack() as stack:
        pair = Pair(stack, policy)
        for request in _BETWEEN[what].split(content):
            for address in ADDRESSES:
                pair.do(what, request, address)
        pair.compare()


def _is_short(address):
    return len(address) == 4 or address.startswith(ADDRESSES[-1][:12])


def _plain_response(response, _address):
    """What does not depend on chance in a response: all but the peers, and those sorted."""
    if response is None or b"14:failure reason" in response:
        return response, []
    head, _, body = response.partition(b"\r\n\r\n")
    told = decode(body)
    peers = told.pop(b"peers", b"")
    if isinstance(peers, list):
        return (head, told), sorted(peers, key=repr)
    width = 18 if b"peers6" in told else 6
    peers += told.pop(b"peers6", b"")
    return (head, told), _split(peers, width)


def _wanted_by_http(request, _address):
    return announce.read_announce(announce.read_request(request)[1])[7]


def _plain_datagram(reply, address):
    if reply[:4] == udp.CONNECT:
        return reply[:8], []
    if reply[:4] != udp.ANNOUNCE:
        return reply, []
    return reply[:20], _split(reply[20:], 6 if _is_short(address) else 18)


def _wanted_by_udp(datagram, address):
    wanted = udp.read_announce(datagram)[9]
    return min(50 if wanted < 0 else wanted, udp.room_for(6 if _is_short(address) else 18))


def _split(peers, width):
    return sorted(peers[at : at + width] for at in range(0, len(peers), width))


_PLAIN = {
    "http": (_plain_response, _wanted_by_http),
    "udp": (_plain_datagram, _wanted_by_udp),
}
