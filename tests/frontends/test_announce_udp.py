"""The UDP door: what it answers to whom, in memory; and over real sockets, in batches or not."""

import random
import select
import socket
import struct
import tracemalloc
from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.interfaces import IReadDescriptor
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from p2pd.frontends.datagram_batches import Batches
from p2pd.frontends.datagrams import LARGEST, MOST, OneByOne, exchange_over
from p2pd.protocol import udp
from p2pd.tracker.access import Access
from p2pd.tracker.announcing import Announcing, Tally
from p2pd.tracker.records import COMPLETED, NONE, STARTED, STOPPED, UserRecord
from tests.announces import PURE, Current, each_twin  # noqa: F401 - the last by being there

START = 1_800_000_000.0
TRANSACTION = b"\x12\x34\x56\x78"
TORRENT, OTHER = b"t" * 20, b"o" * 20
IPV4 = socket.inet_pton(socket.AF_INET, "192.0.2.1")
IPV6 = socket.inet_pton(socket.AF_INET6, "2001:db8::1")
MAPPED = socket.inet_pton(socket.AF_INET6, "::ffff:192.0.2.1")
CONNECT = udp.MAGIC + udp.CONNECT + TRANSACTION
KEY, PASSKEY = "5e" * 20, "9a" * 20


class Tracker:
    """A door, and all that is behind it."""

    def __init__(self, over=exchange_over, **policy):
        self.now = START
        policy = {"mode": "open", "require_keys": False, "users": False} | policy
        self.access = Access(clock=lambda: self.now, **policy)
        self.table = Current.twin.table(lifetime=2700.0, now=START, rng=random.Random(1))
        self.announcing = Announcing(self.table, self.access)
        self.announcing.open = True
        # The compiled door has its own way to exchange datagrams.
        how = {"over": over} if Current.twin is PURE else {}
        self.door = Current.twin.udp_door(self.announcing, clock=lambda: self.now, **how)

    def close(self):
        self.door.close()

    def connect(self, address=IPV4):
        return self.door.answer(CONNECT, address)[8:]

    def announce(self, address=IPV4, **fields):
        return self.door.answer(announce(self.connect(address), **fields), address)

    def scrape(self, *infohashes, address=IPV4):
        return self.door.answer(scrape(self.connect(address), *infohashes), address)


@pytest.fixture
def tracker():
    with ExitStack() as stack:

        def make(**policy):
            made = Tracker(**policy)
            stack.callback(made.close)
            return made

        yield make


def announce(
    connection,
    port=6881,
    infohash=TORRENT,
    peer_id=None,
    left=1,
    event=NONE,
    wanted=-1,
    options=b"",
    ip=0,
):
    peer_id = peer_id or b"%020d" % port
    fields = struct.pack(">QQQIIIiH", 0, left, 0, event, ip, 0, wanted, port)
    return connection + udp.ANNOUNCE + TRANSACTION + infohash + peer_id + fields + options


def scrape(connection, *infohashes):
    return connection + udp.SCRAPE + TRANSACTION + b"".join(infohashes)


def url_data(path):
    return bytes([2, len(path)]) + path.encode()


def read(reply, size=6):
    """Interval, leechers, seeders and ports of the peers, of a reply to an announce."""
    action, transaction, interval, leechers, seeders = struct.unpack(">4s4sIII", reply[:20])
    assert (action, transaction) == (udp.ANNOUNCE, TRANSACTION)
    peers = [reply[start : start + size] for start in range(20, len(reply), size)]
    return interval, leechers, seeders, [int.from_bytes(peer[-2:], "big") for peer in peers]


def failure(reply):
    assert reply[:8] == udp.FAILED + TRANSACTION
    return reply[8:].decode()


# -- connect, announce, scrape


def test_a_client_connects_and_hears_of_the_others(tracker):
    tracker = tracker()
    assert tracker.door.answer(CONNECT, IPV4)[:8] == udp.CONNECT + TRANSACTION
    assert read(tracker.announce(port=1))[1:] == (1, 0, [])
    assert read(tracker.announce(port=2, left=0, event=STARTED))[1:] == (1, 1, [1])
    interval, *rest = read(tracker.announce(port=1))
    assert rest == [1, 1, [2]]
    assert interval in tracker.announcing.intervals


def test_the_intervals_differ(tracker):
    tracker = tracker()
    assert len({read(tracker.announce())[0] for _ in range(20)}) > 10


def test_peers_are_addresses_and_ports(tracker):
    tracker = tracker()
    tracker.announce(IPV4, port=0x1234)
    reply = tracker.announce(socket.inet_pton(socket.AF_INET, "192.0.2.9"), port=1)
    assert reply[20:] == IPV4 + b"\x12\x34"


def test_ipv6_clients_hear_of_ipv6_clients(tracker):
    tracker = tracker()
    tracker.announce(IPV4, port=4)
    tracker.announce(IPV6, port=0x1234)
    reply = tracker.announce(IPV6, port=1)
    assert reply[20:] == IPV6 + b"\x12\x34"
    assert read(reply, 18)[1:] == (3, 0, [0x1234])


def test_an_ipv4_client_at_an_ipv6_socket_is_an_ipv4_client(tracker):
    tracker = tracker()
    tracker.announce(IPV4, port=0x1234)
    assert tracker.connect(MAPPED) == tracker.connect(IPV4)
    assert tracker.announce(MAPPED, port=1)[20:] == IPV4 + b"\x12\x34"
    assert tracker.door.tallies()[1] == Tally()


def test_the_address_that_a_client_claims_is_not_believed(tracker):
    tracker = tracker()
    tracker.announce(port=1, ip=0x01020304)
    assert tracker.announce(port=2)[20:24] == IPV4


def test_events_mean_what_they_mean(tracker):
    tracker = tracker()
    tracker.announce(port=1, event=STARTED)
    tracker.announce(port=1, event=COMPLETED, left=0)
    assert tracker.table.scrape(TORRENT) == (1, 1, 0)
    tracker.announce(port=1, event=4)
    tracker.announce(port=1, event=0xFFFFFFFF, left=0)
    assert tracker.table.scrape(TORRENT) == (1, 1, 0)
    assert read(tracker.announce(port=1, event=STOPPED))[1:] == (0, 0, [])


@pytest.mark.parametrize(
    ("address", "wanted", "told"),
    [
        (IPV4, -1, 50),
        (IPV4, -2, 50),
        (IPV4, 0, 0),
        (IPV4, 7, 7),
        (IPV4, 196, 196),
        (IPV4, 2**31 - 1, 196),
        (IPV6, -1, 50),
        (IPV6, 66, 65),
    ],
)
def test_as_many_peers_are_told_as_are_wanted_and_fit(tracker, address, wanted, told):
    tracker = tracker()
    for port in range(1, 300):
        tracker.announce(address, port=port)
    reply = tracker.announce(address, port=300, wanted=wanted)
    assert len(read(reply, len(address) + 2)[3]) == told
    assert len(reply) <= udp.LARGEST_REPLY <= LARGEST


def test_a_scrape_tells_the_counts_of_each_torrent(tracker):
    tracker = tracker()
    tracker.announce(port=1, left=0)
    tracker.announce(port=2)
    tracker.announce(port=2, left=0, event=COMPLETED)
    reply = tracker.scrape(OTHER, TORRENT)
    assert reply == udp.scraped(TRANSACTION, [(0, 0, 0), (2, 1, 0)])
    assert len(tracker.scrape(*[TORRENT] * 74)) == 8 + 74 * 12


def test_numbers_of_any_size_are_taken(tracker):
    tracker = tracker()
    connection = tracker.connect()
    head = connection + udp.ANNOUNCE + TRANSACTION + TORRENT
    largest = head + b"\xff" * (98 - len(head))
    assert read(tracker.door.answer(largest, IPV4))[1:] == (1, 0, [])


# -- what is refused


def test_port_0_and_too_many_torrents_are_refused_with_a_reason(tracker):
    tracker = tracker()
    assert failure(tracker.announce(port=0)) == "missing or invalid port"
    assert failure(tracker.scrape(*[TORRENT] * 75)) == "at most 74 torrents in a scrape"
    assert tracker.table.totals() == (0, 0, 0, 0)
    assert tracker.door.tallies()[0].failures == 2


def test_nothing_is_answered_before_the_tables_are_loaded(tracker):
    tracker = tracker()
    tracker.announcing.open = False
    assert "starting" in failure(tracker.announce())
    assert "starting" in failure(tracker.scrape(TORRENT))


def test_the_lists_govern(tracker):
    whitelist, blacklist = tracker(mode="whitelist"), tracker(mode="blacklist")
    whitelist.access.lists["whitelist"].put(TORRENT)
    blacklist.access.lists["blacklist"].put(TORRENT)
    assert failure(whitelist.announce(infohash=OTHER)) == "torrent not on whitelist"
    assert read(whitelist.announce())
    assert failure(blacklist.announce()) == "torrent blacklist"
    assert read(blacklist.announce(infohash=OTHER))


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (f"/announce/{KEY}", None),
        (f"/announce/{KEY}?x=y", None),
        (f"/{KEY}/announce", None),
        ("/announce", "unknown key"),
        ("", "unknown key"),
        ("/announce/" + "00" * 20, "unknown key"),
        ("/announce/short", "invalid authentication key"),
        ("/short/announce", "invalid authentication key"),
    ],
)
def test_a_key_stands_in_the_url_data(tracker, path, text):
    tracker = tracker(require_keys=True)
    tracker.access.keys.put(bytes.fromhex(KEY), 0)
    reply = tracker.announce(options=url_data(path))
    assert text is None or failure(reply) == text
    assert text is not None or read(reply)
    assert failure(tracker.scrape(TORRENT)) == "unknown key"  # nowhere to put it


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (f"/announce/{KEY}/{PASSKEY}", None),
        (f"/{KEY}/{PASSKEY}/announce", None),
        (f"/announce/{KEY}", "unknown user key"),
        (f"/announce/{KEY}/{KEY}", "unknown user key"),
        (f"/announce/{KEY}/short", "invalid user key"),
    ],
)
def test_a_passkey_stands_behind_the_key(tracker, path, text):
    tracker = tracker(require_keys=True, users=True)
    tracker.access.keys.put(bytes.fromhex(KEY), 0)
    user = UserRecord(b"u" * 20, "1", bytes.fromhex(PASSKEY))
    tracker.access.users.put(user)
    reply = tracker.announce(options=url_data(path))
    assert text is None or failure(reply) == text
    assert text is not None or read(reply)


def test_an_inactive_user_is_refused(tracker):
    tracker = tracker(users=True)
    user = UserRecord(b"u" * 20, "1", bytes.fromhex(PASSKEY), active=False)
    tracker.access.users.put(user)
    reply = tracker.announce(options=url_data(f"/announce/{PASSKEY}"))
    assert failure(reply) == "inactive user"


def test_options_that_break_off_are_refused_with_a_reason(tracker):
    assert "break off" in failure(tracker().announce(options=b"\x02\x30/announce"))


class Broken:
    def announce(self, *told):
        raise ZeroDivisionError

    scrape = announce


def test_a_failure_of_ours_is_logged_and_the_door_stays_open(tracker, logged_errors):
    tracker = tracker()
    whole, tracker.announcing.table = tracker.announcing.table, Broken()
    tracker.announcing.zones = True  # compiled code leaves those to Python
    assert "its log tells why" in failure(tracker.announce())
    assert "its log tells why" in failure(tracker.scrape(TORRENT))
    assert len(logged_errors.flush(ZeroDivisionError)) == 2
    tracker.announcing.table = whole
    tracker.announcing.zones = None
    assert read(tracker.announce())


# -- who has not proven its address


def forged(datagram):
    return b"\x55" * 8 + datagram[8:]


def test_a_forged_or_foreign_id_is_refused_and_changes_nothing(tracker):
    tracker = tracker()
    others = tracker.connect(socket.inet_pton(socket.AF_INET, "192.0.2.9"))
    for connection in (b"\x55" * 8, others):
        assert failure(tracker.door.answer(announce(connection), IPV4)) == "connection id expired"
        reply = tracker.door.answer(scrape(connection, TORRENT), IPV4)
        assert failure(reply) == "connection id expired"
    assert tracker.table.totals() == (0, 0, 0, 0)
    assert tracker.door.tallies()[0] == Tally(connections=1, failures=4)


def test_an_id_serves_for_two_minutes_at_least_and_four_at_most(tracker):
    tracker = tracker()
    connection = tracker.connect()
    tracker.now += 120
    assert read(tracker.door.answer(announce(connection), IPV4))
    tracker.now += 120
    assert failure(tracker.door.answer(announce(connection), IPV4))
    assert failure(tracker.door.answer(scrape(connection, TORRENT), IPV4))


@pytest.mark.parametrize(
    "datagram",
    [
        b"",
        b"x",
        CONNECT[:15],
        CONNECT[:8] + b"\0\0\0\7" + TRANSACTION,
        bytes(16),
        bytes(8) + udp.SCRAPE + TRANSACTION,
        bytes(8) + udp.FAILED + TRANSACTION + bytes(90),
        announce(bytes(8))[:97],
    ],
)
def test_what_is_no_request_gets_silence(tracker, datagram):
    tracker = tracker()
    for address in (IPV4, IPV6, MAPPED):
        assert tracker.door.answer(datagram, address) == b""
    assert [tally.malformed for tally in tracker.door.tallies()] == [2, 1]


datagrams = st.one_of(
    st.binary(max_size=LARGEST),
    st.builds(
        lambda connection, action, rest: connection + action + rest,
        st.sampled_from([udp.MAGIC, b"\x55" * 8]) | st.binary(min_size=8, max_size=8),
        st.sampled_from([udp.CONNECT, udp.ANNOUNCE, udp.SCRAPE, udp.FAILED]),
        st.binary(max_size=LARGEST - 12),
    ),
)
addresses = st.sampled_from([IPV4, IPV6, MAPPED])


@given(datagrams, addresses)
def is_sent_no_more_than_came(datagram, address):
    tracker = Tracker()
    try:
        assert len(tracker.door.answer(datagram, address)) <= len(datagram)
        assert tracker.table.totals() == (0, 0, 0, 0)
    finally:
        tracker.close()


def test_nobody_is_sent_more_than_came_from_there_without_proof():
    is_sent_no_more_than_came()  # apart, as pytest-twisted takes no @given with parameters


@given(datagrams, addresses)
def is_sent_what_fits(datagram, address):
    tracker = Tracker()
    try:
        reply = tracker.door.answer(tracker.connect(address) + datagram[8:], address)
        assert len(reply) <= udp.LARGEST_REPLY
    finally:
        tracker.close()


def test_who_has_proven_its_address_may_send_anything():
    is_sent_what_fits()


def test_a_flood_of_forged_datagrams_takes_no_memory(tracker):
    door = tracker().door

    def flood(first):
        for number in range(first, first + 6000):
            address = number.to_bytes(4, "big")
            assert len(door.answer(CONNECT, address)) == 16
            assert len(door.answer(announce(b"\x55" * 8), address)) < 98

    flood(0)
    tracemalloc.start()
    try:
        flood(10_000)
        grown, _ = tracemalloc.get_traced_memory()
        flood(20_000)
        again, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert again - grown < 10_000


def test_what_came_is_counted_by_family(tracker):
    tracker = tracker()
    for address in (IPV4, IPV6, IPV6):
        tracker.announce(address)
        tracker.scrape(TORRENT, address=address)
    ipv4, ipv6 = tracker.door.tallies()
    assert ipv4 == Tally(connections=2, announces=1, scrapes=1)
    assert ipv6 == Tally(connections=4, announces=2, scrapes=2)


# -- over sockets


class Sockets:
    """A door that serves real sockets, and clients of it."""

    def __init__(self, tracker, stack):
        self.door, self._stack = tracker.door, stack

    def bound(self, host, *, both=False):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        sock = self._stack.enter_context(socket.socket(family, socket.SOCK_DGRAM))
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not both)
        sock.bind((host, 0))
        return sock

    def serve(self, host, **options):
        sock = self.bound(host, **options)
        sock.setblocking(False)
        self.door.serve(sock)
        return sock

    def client(self, host, served):
        sock = self.bound(host)
        sock.connect((host, served.getsockname()[1]))
        sock.settimeout(5)
        return sock

    def turn(self):
        assert select.select([self.door.fileno()], [], [], 5)[0]
        self.door.doRead()

    def ask(self, client, datagram):
        client.send(datagram)
        self.turn()
        return client.recv(2048)


@pytest.fixture(params=[Batches, OneByOne])
def sockets(request, tracker):
    with ExitStack() as stack:
        yield Sockets(tracker(over=request.param), stack)


def test_batches_are_chosen_where_they_work():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        assert isinstance(exchange_over(sock), Batches)
    assert isinstance(exchange_over(sock), OneByOne)  # for it is closed


def test_it_is_a_reader(tracker):
    door = tracker().door
    assert verifyObject(IReadDescriptor, door)
    assert door.logPrefix() == "UdpDoor"
    assert door.fileno() >= 0
    door.connectionLost(Failure(OSError()))
    assert door.fileno() == -1


@pytest.mark.parametrize(
    ("bound", "both", "host", "size"),
    [
        ("127.0.0.1", False, "127.0.0.1", 6),
        ("::1", False, "::1", 18),
        ("::", True, "127.0.0.1", 6),
        ("::", True, "::1", 18),
    ],
)
def test_clients_are_answered_over_sockets_of_each_family(sockets, bound, both, host, size):
    client = sockets.client(host, sockets.serve(bound, both=both))
    connection = sockets.ask(client, CONNECT)[8:]
    sockets.ask(client, announce(connection, port=0x1234))
    reply = sockets.ask(client, announce(connection, port=2, options=url_data("/announce")))
    family = socket.AF_INET if size == 6 else socket.AF_INET6
    assert reply[20:] == socket.inet_pton(family, host) + b"\x12\x34"
    many = sockets.ask(client, scrape(connection, *[TORRENT] * 74))
    assert many == udp.scraped(TRANSACTION, [(0, 0, 2)] * 74)
    assert failure(sockets.ask(client, scrape(connection, *[TORRENT] * 75)))


def test_several_sockets_are_served_by_one_door(sockets):
    one, two = sockets.serve("127.0.0.1"), sockets.serve("::1")
    clients = [sockets.client("127.0.0.1", one), sockets.client("::1", two)]
    for client in clients:
        client.send(CONNECT)
    sockets.turn()
    assert [len(client.recv(100)) for client in clients] == [16, 16]
    sockets.door.leave(one)
    one.close()
    assert len(sockets.ask(clients[1], CONNECT)) == 16


def test_each_of_many_clients_gets_its_own_answer(sockets):
    served = sockets.serve("127.0.0.1")
    clients = [sockets.client("127.0.0.1", served) for _ in range(MOST + 10)]
    for number, client in enumerate(clients):
        # Some are not answered, and some are long.
        client.send(b"" if number % 7 == 0 else CONNECT[:12] + bytes([number] * (4 + number)))
    sockets.turn()
    for number, client in enumerate(clients):
        if number % 7:
            assert client.recv(100)[:8] == udp.CONNECT + bytes([number] * 4)
    assert not select.select(clients, [], [], 0)[0]


def test_an_answer_that_cannot_be_sent_holds_up_no_other(sockets):
    served = sockets.serve("127.0.0.1")
    clients = [sockets.client("127.0.0.1", served) for _ in range(3)]
    try:
        raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP)
    except PermissionError:
        pytest.skip("only root may send from port 0")
    with raw:
        clients[0].send(CONNECT)
        # Nothing can be sent to port 0.
        header = struct.pack(">HHHH", 0, served.getsockname()[1], 8 + len(CONNECT), 0)
        raw.sendto(header + CONNECT, ("127.0.0.1", 0))
        clients[1].send(CONNECT)
    sockets.turn()
    assert [len(client.recv(100)) for client in clients[:2]] == [16, 16]
    assert len(sockets.ask(clients[2], CONNECT)) == 16


def test_the_reactor_has_its_turn_though_datagrams_keep_coming(sockets):
    served = sockets.serve("127.0.0.1")
    client = sockets.client("127.0.0.1", served)
    sent = 6 * MOST
    for _ in range(sent):
        client.send(CONNECT)
    sockets.turn()
    answered = sockets.door.tallies()[0].connections
    assert 0 < answered < sent
