"""Which of a swarm's clients are named, where networks have names."""

import random
from ipaddress import ip_network

import pytest

from p2pd.tracker.access import Access
from p2pd.tracker.announcing import Announcing
from p2pd.tracker.peer_table import CompactTable
from p2pd.tracker.records import NONE
from p2pd.tracker.zones import Zones

INFOHASH = bytes(20)
ZONES = Zones([(ip_network("10.1.0.0/16"), "one"), (ip_network("10.2.0.0/16"), "two")])


def client(zone, number):
    return bytes([10, zone, number // 256, number % 256, 26, 225])


def announced(announcing, address, wanted):
    peer_id = b"-XX0001-" + address + address
    *counts, peers = announcing.announce((), INFOHASH, address, peer_id, 1, 0, 0, NONE, wanted)
    assert counts == [0, 400, 0]
    return [peers[at : at + 6] for at in range(0, len(peers), 6)]


@pytest.fixture
def table():
    table = CompactTable(lifetime=2700, now=0, rng=random.Random(1))
    for number in range(400):
        address = client(1 + number % 4, number)
        peer_id = b"-XX0001-" + address + address
        table.announce(INFOHASH, address, peer_id, 1, 0, 0, NONE, 0)
    return table


def made(table, zones):
    access = Access(mode="open", require_keys=False, users=False, clock=lambda: 0.0)
    announcing = Announcing(table, access, zones=zones, rng=random.Random(1))
    announcing.open = True
    return announcing


def test_clients_hear_first_of_those_in_their_zone(table):
    announcing = made(table, ZONES)
    own = client(1, 0)
    for wanted in (0, 1, 8, 50):
        peers = announced(announcing, own, wanted)
        assert len(set(peers)) == len(peers) == wanted
        assert own not in peers
    near = sum(peer[1] == 1 for peer in announced(announcing, own, 50))
    assert 30 <= near <= 37
    assert len(announced(announcing, own, 200)) == 200


def test_without_zones_all_are_equal(table):
    peers = announced(made(table, None), client(1, 0), 50)
    assert sum(peer[1] == 1 for peer in peers) < 25
