"""The door for announces by HTTP: what it answers, and how it keeps its connections."""

import os
import select
import socket
import struct
from contextlib import closing, suppress
from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.interfaces import IReadDescriptor
from twisted.logger import capturedLogs
from zope.interface.verify import verifyObject

from p2pd.frontends.sources import Sources, packed
from p2pd.metainfo.bencode import decode
from tests.announces import (
    INFOHASH,
    PEER_ID,
    Current,
    each_twin,  # noqa: F401 - by being there
    escaped,
    get,
    make_announcing,
    query,
)

ASKER = b"\1\2\3\4"
KEY, PASSKEY = "a" * 40, "b" * 40


class Time:
    now = 1000.0

    def __call__(self):
        return self.now


def make_door(announcing=None, sources=None, hand_over=None, **settings):
    settings.setdefault("clock", Time())
    make = Current.twin.http_door
    return make(announcing or make_announcing(), sources or Sources(), hand_over, **settings)


def body(response):
    head, _, rest = response.partition(b"\r\n\r\n")
    status, *lines = head.split(b"\r\n")
    assert status == b"HTTP/1.1 200 OK"
    headers = dict(line.split(b": ") for line in lines)
    assert headers[b"Content-Type"] == b"text/plain"
    assert int(headers[b"Content-Length"]) == len(rest)
    return decode(rest)


@pytest.fixture
def door():
    with closing(make_door()) as made:
        yield made


def announce(door, address=ASKER, path="/announce", headers=(), **fields):
    return body(door.answer(get(f"{path}?{query(**fields)}", *headers), address))


def test_clients_find_each_other(door):
    assert announce(door, left=0)[b"peers"] == b""
    found = announce(door, b"\5\6\7\x08", peer_id="x" * 20, port=80)
    assert found[b"peers"] == ASKER + (51413).to_bytes(2, "big")
    assert (found[b"complete"], found[b"incomplete"], found[b"downloaded"]) == (1, 1, 0)
    assert found[b"external ip"] == b"\5\6\7\x08"
    assert 1440 <= found[b"interval"] <= 2160
    assert found[b"min interval"] == 900


def test_intervals_differ_from_reply_to_reply(door):
    assert len({announce(door)[b"interval"] for _ in range(50)}) > 20


def test_ipv6_clients_find_each_other(door):
    announce(door, packed("2001::1"), left=0)
    found = announce(door, packed("2001::2"), peer_id="x" * 20)
    assert found[b"peers"] == b""
    assert found[b"peers6"] == packed("2001::1") + (51413).to_bytes(2, "big")
    assert found[b"external ip"] == packed("2001::2")


def test_the_old_form_lists_peers_as_dicts(door):
    announce(door, left=0)
    announce(door, packed("2001::1"), left=0)
    asked = {"peer_id": "x" * 20, "compact": 0}
    [found] = announce(door, b"\5\6\7\x08", **asked)[b"peers"]
    assert found == {b"ip": b"1.2.3.4", b"peer id": PEER_ID, b"port": 51413}
    [found] = announce(door, packed("2001::2"), **asked)[b"peers"]
    assert found == {b"ip": b"2001::1", b"peer id": PEER_ID, b"port": 51413}
    [found] = announce(door, b"\5\6\7\x08", no_peer_id=1, **asked)[b"peers"]
    assert found == {b"ip": b"1.2.3.4", b"port": 51413}


def test_a_stopped_client_is_handed_to_nobody(door):
    announce(door, left=0)
    assert announce(door, event="stopped")[b"peers"] == b""
    assert announce(door, b"\5\6\7\x08", peer_id="x" * 20)[b"peers"] == b""


def test_a_scrape_counts(door):
    announce(door, left=0)
    announce(door, b"\5\6\7\x08", peer_id="x" * 20)
    both = f"/scrape?info_hash={escaped(INFOHASH)}&info_hash={escaped(bytes(20))}"
    assert body(door.answer(get(both), ASKER)) == {
        b"files": {
            INFOHASH: {b"complete": 1, b"downloaded": 0, b"incomplete": 1},
            bytes(20): {b"complete": 0, b"downloaded": 0, b"incomplete": 0},
        },
        b"flags": {b"min_request_interval": 900},
    }


@pytest.mark.parametrize("path", [f"/announce/{KEY}", f"/{KEY.upper()}/announce"])
def test_a_key_in_the_path_admits(path):
    announcing = make_announcing(require_keys=True)
    announcing.access.keys.put(bytes.fromhex(KEY), 0)
    with closing(make_door(announcing)) as door:
        assert b"peers" in announce(door, path=path)
        assert door.answer(get(path.replace("announce", "scrape")), ASKER)


@pytest.mark.parametrize(
    ("path", "reason", "retry_in"),
    [
        ("/announce", b"missing key", b"never"),
        ("/announce/1", b"invalid key", b"never"),
        ("/1/announce", b"invalid key", b"never"),
        (f"/{KEY}0/{PASSKEY}/scrape", b"invalid key", b"never"),
        (f"/announce/{KEY}", b"unknown key", None),
        (f"/{KEY}/{PASSKEY}/announce", b"unknown key", None),
        (f"/{KEY}/scrape", b"unknown key", None),
    ],
)
def test_refusals_are_failures_that_the_client_shows(path, reason, retry_in):
    with closing(make_door(make_announcing(require_keys=True))) as door:
        told = announce(door, path=path)
        assert (told[b"failure reason"], told.get(b"retry in")) == (reason, retry_in)
        assert door.tallies()[0].failures == 1


def test_lists_govern():
    with closing(make_door(make_announcing(mode="whitelist"))) as door:
        assert announce(door) == {b"failure reason": b"unknown info_hash"}


def test_what_is_malformed_stays_so(door):
    told = announce(door, port=0)
    assert told == {b"failure reason": b"missing or invalid port", b"retry in": b"never"}


def test_while_the_tables_are_loaded_clients_are_asked_to_come_again():
    announcing = make_announcing()
    announcing.open = False
    with closing(make_door(announcing)) as door:
        assert announce(door)[b"retry in"] == 1


def test_a_defect_is_answered_and_logged(door, logged_errors):
    door._announces._announcing = None
    assert b"log" in announce(door, compact=0)[b"failure reason"]
    assert logged_errors.flush(AttributeError)


@pytest.mark.parametrize(
    ("sender", "headers", "client"),
    [
        ("10.0.0.1", ["X-Forwarded-For: 8.8.8.8"], "8.8.8.8"),
        ("10.0.0.1", ["X-Forwarded-For: 6.6.6.6, 8.8.8.8, 10.0.0.2"], "8.8.8.8"),
        ("10.0.0.1", ["X-Forwarded-For: 8.8.8.8, ::ffff:10.0.0.2"], "8.8.8.8"),
        ("10.0.0.1", ["X-Forwarded-For: 8.8.8.8, unknown"], "10.0.0.1"),
        ("10.0.0.1", ["X-Real-IP: 2001::8"], "2001::8"),
        ("fd00::1", ["X-Forwarded-For: 8.8.8.8"], "8.8.8.8"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("11.0.0.1", ["X-Forwarded-For: 8.8.8.8", "X-Real-IP: 8.8.8.8"], "11.0.0.1"),
        ("2001::1", ["X-Forwarded-For: 8.8.8.8"], "2001::1"),
    ],
)
def test_only_proxies_are_believed_about_others(sender, headers, client):
    sources = Sources(proxies=[ip_network("10.0.0.0/8"), ip_network("fd00::/8")])
    with closing(make_door(sources=sources)) as door:
        told = announce(door, packed(sender), headers=headers)
        assert told[b"external ip"] == packed(client)


@pytest.mark.parametrize(
    ("sender", "ip", "client"),
    [
        ("10.0.0.1", "8.8.8.8", "8.8.8.8"),
        ("10.0.0.1", "2001%3A%3a8", "2001::8"),
        ("10.0.0.1", "tracker.example", "10.0.0.1"),
        ("10.0.0.1", "1.2", "10.0.0.1"),
        ("10.0.0.1", "%00", "10.0.0.1"),
        ("11.0.0.1", "8.8.8.8", "11.0.0.1"),
    ],
)
def test_only_tellers_are_believed_about_themselves(sender, ip, client):
    with closing(make_door(sources=Sources(tellers=[ip_network("10.0.0.0/8")]))) as door:
        assert announce(door, packed(sender), ip=ip)[b"external ip"] == packed(client)


def test_each_kind_of_request_is_counted_by_family(door):
    announce(door)
    announce(door, packed("2001::1"))
    announce(door, packed("2001::1"), port=None)
    door.answer(get("/scrape?info_hash=" + "a" * 20), ASKER)
    v4, v6 = door.tallies()
    assert (v4.announces, v4.scrapes, v4.failures) == (1, 1, 0)
    assert (v6.announces, v6.scrapes, v6.failures) == (1, 0, 1)


PIECES = [
    *(b"GET ", b"/announce", b"/scrape", b"/", b"?", b"&", b"=", b" HTTP/1.1\r\n", b"\r\n"),
    *(b"\r\n\r\n", b"\n", b"Connection: close", b"X-Forwarded-For: ", b"1.2.3.4,", b"%", b"%00"),
    *(b"info_hash=", b"a" * 20, b"peer_id=", b"port=", b"80", b"left=", b"ip=", b"compact=0"),
    *(query().encode(), KEY.encode(), b"Content-Length: ", b"\0", b"\xff", b"9" * 30),
]


@given(
    st.lists(st.sampled_from(PIECES) | st.binary(max_size=4), max_size=25).map(b"".join)
    | st.lists(st.sampled_from(PIECES), max_size=12).map(
        lambda parts: b"GET /announce?" + b"".join(parts) + b" HTTP/1.1\r\n\r\n"
    ),
    st.sampled_from([ASKER, packed("2001::1")]),
)
def is_answered_well_or_left_alone(request_bytes, address):
    networks = [ip_network("0.0.0.0/0"), ip_network("::/0")]
    with closing(make_door(sources=Sources(networks, networks))) as door:
        response = door.answer(request_bytes, address)
        if response is not None:
            told = body(response)
            assert b"failure reason" in told or b"peers" in told or b"files" in told


def test_whatever_comes_is_answered_well_or_left_alone():
    is_answered_well_or_left_alone()  # apart, as pytest-twisted takes no @given with parameters


class Served:
    """A door on a real socket of the loopback interface, turned by hand."""

    def __init__(self, family=socket.AF_INET, host="127.0.0.1", **settings):
        self.time = Time()
        self.handed_over = []
        self.door = make_door(hand_over=self._keep, clock=self.time, **settings)
        self.listening = socket.create_server(
            (host, 0), family=family, dualstack_ipv6=host == "::", backlog=100
        )
        self.port = self.listening.getsockname()[1]
        self.door.serve(self.listening)
        self.clients = []

    def _keep(self, descriptor, received):
        self.handed_over.append((socket.socket(fileno=descriptor), received))

    def turn(self):
        while select.select([self.door], [], [], 0.05)[0]:
            self.door.doRead()

    def connect(self, sent=b"", host="127.0.0.1"):
        client = socket.create_connection((host, self.port), timeout=2)
        self.clients.append(client)
        if sent:
            self.send(client, sent)
        return client

    def send(self, client, sent):
        client.sendall(sent)
        self.turn()

    def stop(self):
        self.door.close()
        self.listening.close()
        for client in [*self.clients, *(taken for taken, _ in self.handed_over)]:
            client.close()


def read(client, responses=1):
    """Read whole responses; fewer if the connection ends before."""
    received = b""
    while received.count(b"\r\n\r\n") < responses or not received.endswith(b"e"):
        chunk = client.recv(65536)
        if not chunk:
            break
        received += chunk
    return received


def get_congestion(sock):
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16)


def ended(client):
    client.settimeout(2)
    with suppress(ConnectionResetError):
        return client.recv(65536) == b""
    return True


@pytest.fixture
def serve():
    made = []

    def make(**settings):
        made.append(Served(**settings))
        return made[-1]

    yield make
    for served in made:
        served.stop()


ANNOUNCE = get("/announce?" + query())
LAST = get("/announce?" + query(), "Connection: close")


def test_it_is_a_reader_of_the_reactor(door):
    assert verifyObject(IReadDescriptor, door)


def test_a_connection_is_kept_for_more(serve):
    served = serve()
    client = served.connect(ANNOUNCE)
    assert b"external ip4:\x7f\0\0\1" in read(client)
    served.send(client, ANNOUNCE)
    assert b"peers" in body(read(client))
    assert served.door.connections == 1
    assert served.door.tallies()[0].connections == 1
    client.close()
    served.turn()
    assert served.door.connections == 0


@pytest.mark.parametrize("head", [LAST, get("/announce?" + query(), version="1.0")])
def test_a_connection_ends_when_the_client_wants(serve, head):
    served = serve()
    client = served.connect(head)
    assert b"\r\nConnection: close\r\n" in (response := read(client))
    assert b"peers" in body(response)
    assert ended(client)
    assert served.door.connections == 0


def test_an_old_connection_ends_likewise(serve):
    served = serve()
    client = served.connect(ANNOUNCE)
    read(client)
    served.send(client, LAST)
    assert b"peers" in body(read(client))
    assert ended(client)
    assert served.door.connections == 0


def test_requests_may_come_many_at_once_and_bit_by_bit(serve):
    served = serve()
    client = served.connect(ANNOUNCE * 3 + ANNOUNCE[:30])
    assert read(client, 3).count(b"200 OK") == 3
    served.send(client, ANNOUNCE[30:60])
    served.send(client, ANNOUNCE[60:] + ANNOUNCE[:4])
    assert read(client).count(b"200 OK") == 1
    served.send(client, ANNOUNCE[4:-1])
    served.send(client, ANNOUNCE[-1:])
    assert read(client).count(b"200 OK") == 1


def test_clients_of_both_families_come_by_one_socket(serve):
    served = serve(family=socket.AF_INET6, host="::")
    assert body(read(served.connect(ANNOUNCE)))[b"external ip"] == b"\x7f\0\0\1"
    assert body(read(served.connect(ANNOUNCE, "::1")))[b"external ip"] == bytes(15) + b"\1"
    assert [tally.connections for tally in served.door.tallies()] == [1, 1]


@pytest.mark.parametrize(
    "sent",
    [
        b"POST /api/v1/heart_beat HTTP/1.1\r\nContent-Le",
        b"\x16\x03\x01",
        b"GET /api/ ",
        get("/api/v1/info"),
        get("/api/announce"),
        get("/origin/announce"),
        get("/announce", "Content-Length: 3") + b"abc",
        b"GET /announce HTTP/1.1\nHost: a\n\n",
    ],
)
def test_what_is_no_announce_is_handed_over_as_soon_as_that_is_told(serve, sent):
    served = serve()
    client = served.connect(sent)
    [(taken, received)] = served.handed_over
    assert received == sent
    assert served.door.connections == 0
    congestion = {get_congestion(taken), get_congestion(socket.socket())}
    assert len(congestion) == 1
    taken.sendall(b"mine now")
    assert client.recv(100) == b"mine now"
    served.time.now += 1000
    served.door.sweep()
    taken.sendall(b"and still")
    assert client.recv(100) == b"and still"


def test_a_connection_may_ask_for_something_else_later(serve):
    served = serve()
    client = served.connect(ANNOUNCE)
    served.send(client, ANNOUNCE + get("/stats") + ANNOUNCE)
    assert read(client, 2).count(b"200 OK") == 2
    assert [received for _, received in served.handed_over] == [get("/stats") + ANNOUNCE]
    assert served.door.connections == 0


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET /announce?" + b"a" * 8192, b"414"),
        (get("/announce?" + "a" * 8192), b"414"),
        (b"GET /announce HTTP/1.1\r\nX: " + b"a" * 8192, b"431"),
        (get("/announce", "X: " + "a" * 8192), b"431"),
    ],
)
def test_an_overlong_head_is_refused(serve, sent, status):
    served = serve()
    client = served.connect()
    for start in range(0, len(sent), 5000):
        served.send(client, sent[start : start + 5000])
    response = client.recv(65536)
    assert response.startswith(b"HTTP/1.1 " + status)
    assert b"Connection: close" in response
    assert ended(client)
    assert served.door.connections == 0
    assert served.door.tallies()[0].malformed == 1


def test_idle_and_slow_connections_are_closed(serve):
    served = serve(patience=60.0)
    slow, idle, busy = served.connect(ANNOUNCE[:9]), served.connect(ANNOUNCE), served.connect()
    read(idle)
    served.send(busy, ANNOUNCE[:9])
    served.time.now += 40
    served.send(slow, ANNOUNCE[9:20])
    served.send(busy, ANNOUNCE[9:])
    read(busy)
    served.door.sweep()
    assert served.door.connections == 3
    served.time.now += 40
    served.door.sweep()
    assert served.door.connections == 1
    assert ended(slow)
    assert ended(idle)
    assert served.door.tallies()[0].malformed == 1
    served.send(busy, ANNOUNCE)
    assert b"peers" in body(read(busy))


def test_there_are_only_so_many_connections(serve):
    served = serve(most=2)
    with capturedLogs() as logged:
        kept = [served.connect(ANNOUNCE) for _ in range(2)]
        assert all(ended(served.connect(ANNOUNCE)) for _ in range(3))
    assert len([event for event in logged if event["log_level"].name == "warn"]) == 1
    assert served.door.connections == 2
    kept.pop().close()
    served.turn()
    assert b"peers" in body(read(served.connect(ANNOUNCE)))


def test_a_client_that_reads_nothing_is_dropped(serve):
    served = serve()
    served.listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    client = socket.socket()
    served.clients.append(client)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(("127.0.0.1", served.port))
    client.setblocking(False)
    for _ in range(100):
        with suppress(OSError):
            client.send(ANNOUNCE * 20)
        served.turn()
        if not served.door.connections:
            break
    assert served.door.connections == 0


def test_a_client_that_resets_is_forgotten(serve):
    served = serve()
    client = served.connect(ANNOUNCE[:9])
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    served.turn()
    assert served.door.connections == 0


def test_no_more_is_accepted_on_a_socket_that_it_left(serve):
    served = serve()
    client = served.connect(ANNOUNCE)
    served.door.leave(served.listening)
    late = served.connect(ANNOUNCE)
    assert served.door.connections == 1
    served.send(client, ANNOUNCE)
    assert read(client)
    served.door.serve(served.listening)
    served.turn()
    assert b"peers" in body(read(late))


def test_accepting_is_tried_again_when_descriptors_ran_out(serve, scarce_descriptors):
    served = serve()
    client = served.connect()
    with scarce_descriptors(), capturedLogs() as logged:
        served.send(client, ANNOUNCE)
    assert served.door.connections == 0
    assert [event["log_level"].name for event in logged] == ["warn"]
    served.door.sweep()
    served.turn()
    assert b"peers" in body(read(client))


@pytest.fixture
def scarce_descriptors():
    """Take all descriptors there are while the context lasts."""
    resource = pytest.importorskip("resource")

    class Scarce:
        def __enter__(self):
            self.limits = resource.getrlimit(resource.RLIMIT_NOFILE)
            highest = max(int(path.name) for path in Path("/proc/self/fd").iterdir())
            resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, self.limits[1]))
            self.taken = []
            with suppress(OSError):
                while True:
                    self.taken.append(os.dup(0))

        def __exit__(self, *_):
            for descriptor in self.taken:
                os.close(descriptor)
            resource.setrlimit(resource.RLIMIT_NOFILE, self.limits)

    return Scarce


def test_closing_ends_every_connection(serve):
    served = serve()
    clients = [served.connect(ANNOUNCE), served.connect(ANNOUNCE[:9])]
    read(clients[0])
    served.door.connectionLost()
    assert served.door.fileno() == -1
    assert all(ended(client) for client in clients)
    assert served.door.connections == 0
    served.door.connectionLost()
