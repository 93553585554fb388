"""Swarms in few bytes, and large ones in shards."""

import random
import sys
from collections import Counter

import pytest

from p2pd.tracker.compact import Client, PeerIds, Swarm, Swarm6
from p2pd.tracker.sharded import ShardedSwarm, fitted

OTHER = b"\xff" * 14


def client(number, left=0, width=6):
    return Client(number.to_bytes(width, "big"), number.to_bytes(14, "big"), 7, 1.0, 2.0, left)


def filled(size, leeches=0, kind=Swarm):
    swarm = kind()
    for number in range(size):
        swarm.add(client(number, left=number < leeches, width=kind.width))
        swarm = fitted(swarm)
    return swarm


@pytest.mark.parametrize(("kind", "size"), [(Swarm, 33), (Swarm6, 45)])
def test_nothing_is_allocated_beyond_what_is_used(kind, size):
    empty = sys.getsizeof(kind())
    swarm = kind()
    for number in range(40):
        swarm.add(client(number, left=number % 2, width=kind.width))
        assert sys.getsizeof(swarm) - empty <= size * (number + 1) + 1
    for number in range(39):
        swarm.discard(client(number, width=kind.width).address)
        assert sys.getsizeof(swarm) - empty <= size * (39 - number) + 1
    swarm.expire(b"\7")
    assert list(swarm.clients()) == [client(39, left=1, width=kind.width)]
    swarm.expire(b"\6")
    assert len(swarm) == 0
    assert sys.getsizeof(swarm) - empty <= 1


def test_programs_are_numbered_and_ids_come_back_whole():
    ids = PeerIds()
    for peer_id in (b"-TR4050-abcdefghijkl", b"-qB4520-abcdefghijkl", b"-TR4050-ABCDEFGHIJKL"):
        short_id = ids.shorten(peer_id)
        assert len(short_id) == 14
        assert ids.expand(short_id) == peer_id


def test_a_swarm_is_spread_when_it_grows_and_put_together_when_it_shrinks():
    swarm = filled(256)
    assert not isinstance(swarm, ShardedSwarm)
    swarm = filled(5000)
    assert isinstance(swarm, ShardedSwarm)
    assert max(shard.seeds for shard in swarm.shards()) < 400
    for number in range(5000):
        assert swarm.discard(client(number).address) is True
        swarm = fitted(swarm)
        if number == 4000:
            assert sum(shard.seeds for shard in swarm.shards()) == 999
            assert len(swarm.shards()) < 25
    assert not isinstance(swarm, ShardedSwarm)
    assert len(swarm) == 0


def test_parts_of_a_large_swarm_stay_what_they_are_while_it_grows():
    swarm = filled(2000)
    shards = swarm.shards()
    before = {known.address for shard in shards for known in shard.clients()}
    swarm.add(client(5000))
    for number in range(10_000, 12_000):
        swarm.add(client(number))
        swarm = fitted(swarm)
    after = {known.address for shard in shards for known in shard.clients()}
    assert before <= after


def test_a_hand_out_of_a_large_swarm_asks_few_shards():
    swarm = filled(20_000, leeches=3)
    asked = []
    for shard in swarm.shards():
        assert shard.leeches + shard.seeds < 400
    rng = random.Random(2)
    for _ in range(300):
        peers = swarm.others(client(4).address, OTHER, False, 50, rng.random)
        asked.append(len(peers) // 6)
    assert max(asked) <= 3
    assert Counter(asked)[0] > 50
    assert len(swarm.others(client(4).address, OTHER, True, 200, rng.random)) == 1200
