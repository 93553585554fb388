"""UDP lets anyone claim any address: what such datagrams may cost others, and us."""

import ipaddress
import random
import socket
import struct

import psutil
import pytest

from tests.real.announces import (
    ANNOUNCE,
    CONNECT,
    PROTOCOL,
    SCRAPE,
    Announce,
    PublicTracker,
    UdpDoor,
    can_use_ipv6,
)

pytestmark = pytest.mark.real

IP_PKTINFO = 8  # Linux's; the socket module does not have it
FLOOD = 200_000
# What a flood may add to the memory in use: buffers and caches of fixed size.
ALLOWANCE = 2 << 20
HOSTS = ["127.0.0.1", *(["::1"] if can_use_ipv6() else [])]


@pytest.fixture(params=["yes", "no"], ids=["compiled", "pure"])
def tracker(request, twistd, tmp_path):
    return PublicTracker(twistd, tmp_path / "tracker", "--compiled", request.param)


def connect(transaction, rest=b""):
    return struct.pack("!QII", PROTOCOL, CONNECT, transaction) + rest


def forged(action, rest, connection_id=b"\x01" * 8):
    return connection_id + struct.pack("!II", action, 2) + rest


def hostile(rng):
    """Datagrams of somebody who has not shown that an address is his."""
    announce = rng.randbytes(20 + 20 + 8 * 3 + 4 * 4 + 2)
    yield from (connect(2, b"\0" * more) for more in (0, 1, 100, 1400))
    for connection_id in (bytes(8), b"\xff" * 8, struct.pack("!Q", PROTOCOL), rng.randbytes(8)):
        yield forged(ANNOUNCE, announce, connection_id)
        yield forged(ANNOUNCE, announce + b"\x02\x5a/announce/" + b"1a" * 40, connection_id)
        yield forged(ANNOUNCE, announce[:30], connection_id)
        yield from (forged(SCRAPE, rng.randbytes(20 * n), connection_id) for n in (0, 1, 74, 75))
        yield from (forged(action, b"", connection_id) for action in (0, 1, 2, 3, 4, 1 << 31))
    yield from (rng.randbytes(size) for size in range(150))
    # The same with a head that is nearly right.
    yield from (connect(2)[:size] for size in range(1, 16))
    yield from (forged(rng.randrange(4), rng.randbytes(size)) for size in range(150))


@pytest.mark.parametrize("host", HOSTS)
def test_who_has_proved_nothing_gets_no_more_than_it_sent(host, tracker):
    door = tracker.doors["udp-6" if ":" in host else "udp-4"]
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sentinel = connect(1)
    answered = 0
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.settimeout(10)
        sock.connect(UdpDoor(door).where)
        for datagram in hostile(random.Random(3)):
            sock.send(datagram)
            sock.send(sentinel)
            got = 0
            while (answer := sock.recv(65536))[4:8] != sentinel[12:16]:
                got += len(answer)
            assert len(answer) <= len(sentinel)
            assert got <= len(datagram), datagram
            answered += bool(got)
    assert answered > 10


def test_a_connection_id_is_good_for_one_address_only(tracker):
    with UdpDoor(tracker.doors["udp-4"]) as door:
        door.announce(Announce(bytes(20), 5000))
        _, connection_id = door.connected["127.0.0.1"]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(10)
        sock.bind(("127.0.0.2", 0))
        sock.sendto(forged(SCRAPE, bytes(20), connection_id), door.where)
        assert sock.recv(65536)[8:] == b"connection id expired"


def flood(door, count):
    """Send so many datagrams, each from another address of 127.0.0.0/8.

    `door` is asked something between them, so that none are dropped unread.
    """
    base = int(ipaddress.ip_address("127.1.0.0"))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("0.0.0.0", 0))
        for number in range(count):
            # struct in_pktinfo: the interface, the address to send from, one that is for replies
            origin = struct.pack("=I4s4s", 0, (base + number).to_bytes(4), bytes(4))
            datagram = connect(number) if number % 4 else forged(ANNOUNCE, bytes(82))
            control = [(socket.IPPROTO_IP, IP_PKTINFO, origin)]
            sock.sendmsg([datagram], control, 0, door.where)
            if not number % 500:
                door.scrape(bytes(20))


def test_a_flood_of_forged_connects_costs_bounded_memory(tracker):
    process = psutil.Process(tracker.daemon.process.pid)
    with UdpDoor(tracker.doors["udp-4"]) as door:
        door.announce(Announce(bytes(20), 5000))
        flood(door, FLOOD // 10)  # fills what has a fixed size
        before = process.memory_info().rss
        flood(door, FLOOD)
        grown = process.memory_info().rss - before
        heard = door.announce(Announce(bytes(20), 5001, left=1))
    assert heard.peers == {("127.0.0.1", 5000)}
    assert grown < ALLOWANCE
