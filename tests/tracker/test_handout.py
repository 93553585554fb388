"""Whom to name."""

import random
from collections import Counter
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pd.tracker.handout import MOST_PEERS, Bag, Crowd, choose, nearest
from p2pd.tracker.zones import Zones


def bag(*nodes):
    made = Bag()
    for node in nodes:
        made.add(node)
    return made


def named(seeds, leeches, zone=(), **options):
    defaults = {
        "seeding": False,
        "wanted": 50,
        "acceptable": lambda _: True,
        "rng": random.Random(1),
    }
    near = Crowd()
    for node in zone:
        near.put(node, complete=node in seeds)
    return choose(Crowd(seeds, leeches), near, **{**defaults, **options})


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5))))
def test_a_bag_is_a_set(steps):
    made, expected = Bag(), set()
    for add, number in steps:
        if add:
            made.add(number)
            expected.add(number)
        else:
            made.discard(number)
            expected.discard(number)
        assert set(made) == expected
        assert len(made) == len(expected)
        assert {made[at] for at in range(len(made))} == expected


def test_a_leech_hears_of_all_kinds_and_a_seed_of_leeches():
    seeds, leeches = bag("s1", "s2"), bag("l1", "l2")
    assert set(named(seeds, leeches)) == {"s1", "s2", "l1", "l2"}
    assert set(named(seeds, leeches, seeding=True)) == {"l1", "l2"}


def test_nobody_is_named_twice_and_no_more_than_wanted():
    many = bag(*range(1000))
    for wanted in (0, 1, 7, 50):
        nodes = named(many, bag(), wanted=wanted)
        assert len(nodes) == len(set(nodes)) == wanted
    assert len(named(many, bag(), wanted=10**9)) == MOST_PEERS


def test_the_one_who_asks_makes_the_sample_no_smaller():
    for seed in range(50):
        nodes = named(
            bag(),
            bag(*range(5)),
            wanted=3,
            acceptable=lambda node: node not in {0, 1},
            rng=random.Random(seed),
        )
        assert len(nodes) == 3
        assert not {0, 1} & set(nodes)


def test_an_empty_swarm_has_nobody():
    assert named(bag(), bag()) == []


def test_everybody_is_named_about_as_often():
    rng = random.Random(3)
    seeds, leeches = bag(*range(10)), bag(*range(10, 40))
    counts = Counter()
    for _ in range(4000):
        counts.update(named(seeds, leeches, wanted=4, rng=rng))
    assert sum(counts.values()) == 16000
    assert min(counts.values()) > 300
    assert max(counts.values()) < 500


@pytest.mark.parametrize("size", [100, 100_000])
def test_costs_no_more_in_a_large_swarm(size):
    seen = []
    named(bag(*range(size)), bag(), wanted=50, acceptable=lambda node: seen.append(node) or True)
    assert len(seen) == 52


def zones(nodes):
    return Counter("near" if node < 100 else "far" for node in nodes)


def test_the_own_zone_comes_first_but_not_alone():
    many, near = bag(*range(1000)), range(100)
    nodes = named(bag(), many, near)
    assert len(nodes) == len(set(nodes)) == 50
    assert zones(nodes[:37]) == {"near": 37}
    assert zones(nodes[37:]) == {"far": 13}
    assert zones(named(many, bag(), near, wanted=8)) == {"near": 6, "far": 2}


@pytest.mark.parametrize(
    ("everyone", "expected"),
    [
        (range(99, 1000), {"near": 1, "far": 49}),
        (range(105), {"near": 45, "far": 5}),
        (range(30, 110), {"near": 40, "far": 10}),
        (range(100), {"near": 50}),
        (range(20), {"near": 20}),
        (range(100, 1000), {"far": 50}),
    ],
)
def test_where_a_zone_has_too_few_the_others_fill_up(everyone, expected):
    for seed in range(20):
        zone = [node for node in everyone if node < 100]
        nodes = named(bag(), bag(*everyone), zone, rng=random.Random(seed))
        assert len(nodes) == len(set(nodes))
        assert zones(nodes) == expected


def test_a_seed_hears_of_the_leeches_of_its_zone():
    nodes = named(bag(1, 2, 101), bag(3, 4, 102), [1, 2, 3, 4], seeding=True)
    assert set(nodes[:2]) == {3, 4}
    assert nodes[2:] == [102]


def test_everybody_of_a_zone_and_of_the_others_is_named_about_as_often():
    rng = random.Random(3)
    counts = Counter()
    for _ in range(2000):
        counts.update(named(bag(), bag(*range(60, 160)), range(60, 100), wanted=8, rng=rng))
    near = [counts[node] for node in range(60, 100)]
    far = [counts[node] for node in range(100, 160)]
    assert sum(near) + sum(far) == 16000
    assert 3900 < sum(far) <= 4000
    assert 200 < min(near) < max(near) < 400
    assert 30 < min(far) < max(far) < 110


def test_a_large_zone_in_a_large_swarm_costs_little():
    seen = []
    everyone = bag(*range(10_000))
    zone = range(9_990)
    for _ in range(10):
        named(bag(), everyone, zone, acceptable=lambda node: seen.append(node) or True)
    assert len(seen) < 10 * 300


RACKS = Zones([(ip_network("10.1.0.0/16"), "one"), (ip_network("10.2.0.0/16"), "two")])


def client(rack, number):
    return bytes([10, rack, number // 256, number % 256, 26, 225])


def near_and_far(peers):
    each = [peers[at : at + 6] for at in range(0, len(peers), 6)]
    assert len(set(each)) == len(each)
    return [sum(peer[1] == 1 for peer in each), sum(peer[1] != 1 for peer in each)]


@pytest.mark.parametrize(
    ("near", "far", "expected"),
    [
        (100, 100, [37, 13]),
        (5, 100, [5, 45]),
        (100, 4, [46, 4]),
        (0, 100, [0, 50]),
        (100, 0, [50, 0]),
        (3, 4, [3, 4]),
        (0, 0, [0, 0]),
    ],
)
def test_clients_hear_of_their_zone_first_but_not_only(near, far, expected):
    peers = [client(1, number) for number in range(near)]
    peers += [client(2 + number % 2, number) for number in range(far)]
    for seed in range(10):
        rng = random.Random(seed)
        rng.shuffle(peers)
        named = nearest(client(1, 999), b"".join(peers), 50, RACKS, rng)
        assert near_and_far(named) == expected
        assert near_and_far(named[: 6 * expected[0]]) == [expected[0], 0]


def test_a_client_of_no_zone_hears_of_any():
    peers = b"".join(client(number % 4, number) for number in range(100))
    counts = Counter()
    for seed in range(50):
        named = nearest(client(9, 1), peers, 20, RACKS, random.Random(seed))
        assert len(named) == 120
        counts.update(named[at : at + 6] for at in range(0, 120, 6))
    assert len(counts) == 100


def test_everybody_of_a_zone_is_named_now_and_then():
    peers = b"".join(client(1 + number % 2, number) for number in range(200))
    named = set()
    for seed in range(100):
        chosen = nearest(client(1, 999), peers, 8, RACKS, random.Random(seed))
        assert near_and_far(chosen) == [6, 2]
        named.update(chosen[at : at + 6] for at in range(0, 48, 6))
    assert len(named) > 180
