import random
from collections import Counter

import pytest

from p2pd.swarm.peers import Limits, Peers
from p2pd.swarm.picker import Picker
from p2pd.swarm.sources import Ready, Sources

SIZE = 8


@pytest.fixture
def pool():
    made = Peers(SIZE, Limits(), random.Random(0))
    ready = Ready(random.Random(1))
    for key in ("fast", "slow", "new"):
        peer = made.join(key, origin=False, near=True)
        peer.held = 0b10
        ready.add(peer)
    made.get("fast").pace.rate = 1000.0
    made.get("slow").pace.rate = 100.0
    return made, ready


def chosen(ready):
    """Whom one is told to ask for piece 1, or for anything: this must not matter."""
    sources = {ready.source(1, ()).key for _ in range(50)}
    assert {ready.best(0b10).key for _ in range(50)} == sources
    return sources


def test_a_new_peer_gets_its_chance_beside_the_best(pool):
    _, ready = pool
    assert chosen(ready) == {"fast", "new"}


def test_the_less_busy_is_preferred(pool):
    made, ready = pool
    made.get("new").in_flight = 1
    assert chosen(ready) == {"fast"}
    made.get("fast").in_flight = 3
    assert chosen(ready) == {"new"}


def test_one_that_is_only_somewhat_slower_is_as_good(pool):
    made, ready = pool
    made.get("slow").pace.rate = 125.0
    assert chosen(ready) == {"fast", "slow", "new"}


def test_one_that_is_slower_by_far_comes_last_however_busy_the_others_are(pool):
    made, ready = pool
    made.get("fast").in_flight = 10
    made.get("new").in_flight = 12
    assert chosen(ready) == {"fast"}
    for key in ("fast", "new"):
        ready.remove(made.get(key))
    assert chosen(ready) == {"slow"}


def test_near_ones_are_preferred_even_if_slow(pool):
    made, ready = pool
    for key in ("fast", "new"):
        made.get(key).near = False
    assert chosen(ready) == {"slow"}
    assert ready.source(1, {"slow"}).key in ("fast", "new")


def test_no_one_is_asked_twice_or_for_what_it_lacks(pool):
    _, ready = pool
    assert ready.source(1, {"fast", "slow", "new"}) is None
    assert ready.source(2, ()) is None
    assert ready.best(0b100) is None
    assert Ready(random.Random()).source(1, ()) is None
    assert Ready(random.Random()).best(0b10) is None


def test_one_that_has_nothing_unasked_is_looked_at_again_when_that_changes(pool):
    made, ready = pool
    assert ready.best(0b100) is None
    assert all(peer.idle for peer in made)
    made.get("slow").held |= 0b100
    ready.gained(made.get("slow"), 0b100)
    assert ready.best(0b100) is made.get("slow")
    assert ready.best(0b10) is made.get("slow"), "the others are not looked at"
    ready.freed()
    assert chosen(ready) == {"fast", "new"}


def test_reach_is_what_the_ready_hold_together(pool):
    made, ready = pool
    assert ready.reach(0xFF) == 0b10
    slow = made.get("slow")
    slow.held |= 0b100
    ready.gained(slow, 0b100)
    assert ready.reach(0xFF) & 0xFF == 0b110
    ready.remove(slow)
    assert ready.reach(0xFF) == 0b10
    ready.remove(made.get("fast"))
    assert ready.reach(0b1) == 0
    assert made.get("new").idle
    ready.freed()
    assert ready.reach(0b10) == 0b10


class Swarm:
    """Sources of eight pieces, and a picker of them, in step."""

    def __init__(self, **holdings):
        self.peers = Peers(SIZE, Limits(), random.Random(2))
        self.picker = Picker((1 << SIZE) - 1, random.Random(3))
        self.sources = Sources(random.Random(4))
        for key, indexes in holdings.items():
            origin = key.startswith("origin")
            peer = self.peers.join(key, origin=origin, near=not key.startswith("far"))
            if not origin:
                peer.held = sum(1 << index for index in indexes)
                self.picker.add(peer.held)
            self.ready(key)

    def ready(self, key, *, ready=True):
        self.sources.set_ready(self.peers.get(key), ready=ready)

    def next(self, now=0.0):
        """Whom to ask for what; nothing is asked yet."""
        peer, index = self.sources.next(self.picker, now) or (None, None)
        return peer and peer.key, index

    def often(self, now=0.0):
        """Count what would be next, for it is random."""
        return Counter(self.next(now) for _ in range(100))


def test_there_may_be_nobody_and_nothing_to_ask():
    assert Swarm().next() == (None, None)
    assert Swarm(a=[]).next() == (None, None)
    swarm = Swarm(a=[1], origin=())
    for index in range(SIZE):
        swarm.picker.take(index)
    assert swarm.next() == (None, None)


def test_the_peer_comes_first_and_then_the_rarest_that_it_holds():
    swarm = Swarm(a=[0, 1, 2], b=[0, 1], c=[0])
    assert set(swarm.often()) == {("a", 2), ("b", 1), ("c", 0)}
    swarm.peers.get("a").in_flight = swarm.peers.get("c").in_flight = 1
    assert set(swarm.often()) == {("b", 1)}
    swarm.picker.take(1)
    assert set(swarm.often()) == {("b", 0)}, "2 is rarer, but with one that has more to do"
    swarm.picker.take(0)
    assert set(swarm.often()) == {("a", 2)}, "b and c have nothing else"


def test_one_slower_by_far_is_asked_when_no_other_can_be():
    swarm = Swarm(a=[0, 1], slow=[1, 2])
    swarm.peers.get("a").pace.rate = 1000.0
    swarm.peers.get("slow").pace.rate = 100.0
    swarm.peers.get("a").in_flight = 5
    assert set(swarm.often()) == {("a", 0)}
    swarm.ready("a", ready=False)
    assert set(swarm.often()) == {("slow", 2)}


def test_a_far_one_is_asked_when_no_near_one_can_be():
    swarm = Swarm(near=[0, 1], far=[1, 2])
    swarm.peers.get("near").in_flight = 5
    assert set(swarm.often()) == {("near", 0)}
    swarm.ready("near", ready=False)
    assert set(swarm.often()) == {("far", 2)}


def test_urgent_pieces_go_first_whoever_holds_them():
    swarm = Swarm(a=[0, 1, 2], b=[0, 1], origin=())
    swarm.peers.get("a").in_flight = 5
    swarm.picker.urge([2, 7, 0])
    assert swarm.next() == ("a", 2)
    swarm.picker.take(2)
    assert swarm.next() == ("origin", 7)
    swarm.ready("origin", ready=False)
    assert swarm.next() == ("b", 0)


def test_urgent_pieces_that_cannot_be_asked_hold_up_nothing():
    swarm = Swarm(a=[0, 1], busy=[2], origin=())
    swarm.ready("busy", ready=False)
    swarm.picker.urge([2])
    for _ in range(3, SIZE):
        peer, index = swarm.next()
        assert peer == "origin"
        assert index >= 3
        swarm.picker.take(index)
    assert swarm.next()[0] == "a"


def test_what_only_an_origin_has_goes_first_and_nothing_else_is_asked_of_it():
    swarm = Swarm(a=[0, 1, 2], busy=[3, 4], origin=(), origin2=())
    swarm.ready("busy", ready=False)
    often = swarm.often()
    assert {index for _, index in often} == {5, 6, 7}
    assert {peer for peer, _ in often} == {"origin", "origin2"}
    for index in (5, 6, 7):
        swarm.picker.take(index)
    assert {peer for peer, _ in swarm.often()} == {"a"}
    swarm.ready("a", ready=False)
    assert swarm.next() == (None, None)


def test_while_no_origin_can_be_asked_the_others_are():
    swarm = Swarm(a=[0], origin=())
    swarm.ready("origin", ready=False)
    assert swarm.next() == ("a", 0)


def test_what_was_promised_is_not_asked_of_an_origin_until_the_promise_runs_out():
    swarm = Swarm(a=[0], origin=())
    swarm.sources.promised(0b1111_1100, 0.0, 30.0)
    swarm.sources.promised(0b0000_0110, 1.0, 11.0)
    assert set(swarm.often(5.0)) == {("a", 0)}
    assert swarm.sources.next_broken(5.0) == 11.0
    assert swarm.next(11.0) == ("origin", 1), "the second promise is over, the first is not"
    assert swarm.sources.next_broken(11.0) == 30.0
    assert {index for _, index in swarm.often(30.0)} == set(range(1, SIZE))
    assert swarm.sources.next_broken(30.0) is None


def test_a_promise_does_not_keep_a_piece_from_who_holds_it():
    swarm = Swarm(a=[0], origin=())
    swarm.sources.promised((1 << SIZE) - 1, 0.0, 10.0)
    assert set(swarm.often()) == {("a", 0)}


def test_promises_matter_only_to_an_origin_that_can_be_asked():
    swarm = Swarm(a=[0], origin=())
    swarm.sources.promised(0b10, 0.0, 10.0)
    swarm.ready("origin", ready=False)
    assert swarm.sources.next_broken(0.0) is None


def test_promises_that_ran_out_are_forgotten():
    swarm = Swarm(a=[0])
    for number in range(1000):
        swarm.sources.promised(1, float(number), number + 10.0)
    assert len(swarm.sources._promises) == 10


def test_any_number_of_promises_takes_little_memory():
    sources = Sources(random.Random(0))
    for number in range(10_000):
        sources.promised(1 << number, number / 1000, number / 1000 + 10.0)
    assert len(sources._promises) <= 11
