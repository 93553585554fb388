"""Whom to name."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pd.tracker.handout import MOST_PEERS, Bag, choose


def bag(*nodes):
    made = Bag()
    for node in nodes:
        made.add(node)
    return made


def named(seeds, leeches, **options):
    defaults = {
        "seeding": False,
        "wanted": 50,
        "acceptable": lambda _: True,
        "rng": random.Random(1),
    }
    return choose(seeds, leeches, **{**defaults, **options})


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
