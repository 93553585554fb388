"""A node with many entries keeps its tracker told, without keeping both of them busy."""

import random
from collections import Counter
from types import SimpleNamespace

import pytest

from p2pd.errors import Unavailable
from p2pd.metainfo.bitfield import Bitfield
from p2pd.metainfo.ids import Address, InfoHash, NodeId
from p2pd.node.announcer import Announcer
from p2pd.protocol.announcement import Handout
from p2pd.sim.clock import HeapClock
from p2pd.swarm.lifecycle import State

BEAT = 3.0
INTERVAL = 30.0


class Tracker:
    """What one node tells, as (time, infohash); nothing reaches it while it is `away`."""

    url = "http://tracker.example"

    def __init__(self, clock):
        self._clock = clock
        self.away = False
        self.told = []

    async def beat(self, node_id, address):
        if self.away:
            raise Unavailable("no answer")
        return "the only instance"

    async def announce(self, announcement):
        self.told.append((self._clock.seconds(), announcement.infohash))
        return Handout((), INTERVAL)

    def between(self, begin, end):
        return Counter(infohash for time, infohash in self.told if begin <= time < end)


def entry(number, state):
    return SimpleNamespace(
        torrent=SimpleNamespace(infohash=InfoHash(number.to_bytes(20, "big"))),
        filename=f"file {number}",
        state=state,
        held=Bitfield(8),
        uploaded=0,
        downloaded=0,
        bytes_left=0,
    )


@pytest.fixture
def announced():
    """`announced(state, count)` is a clock, and a tracker of a node with so many entries."""
    started = []

    def start(state, count):
        clock = HeapClock()
        tracker = Tracker(clock)
        announcer = Announcer(
            tracker,
            [entry(number, state) for number in range(count)],
            clock=clock,
            node_id=NodeId("node"),
            zone="",
            address=lambda: Address("node.example:1"),
            interval=BEAT,
            rng=random.Random(3),
            met=lambda entry, peers: None,
            eager=lambda entry: entry.state is State.DOWNLOADING,
        )
        announcer.startService()
        started.append(announcer)
        return clock, tracker

    yield start
    for announcer in started:
        announcer.stopService()


def test_few_entries_look_for_peers_with_each_beat(announced):
    clock, tracker = announced(State.DOWNLOADING, 3)
    clock.run(10**6, 31.0)
    assert {*tracker.between(1, 31).values()} == {10}


def test_many_entries_look_for_peers_in_turn(announced):
    clock, tracker = announced(State.DOWNLOADING, 200)
    clock.run(10**6, 160.0)
    assert len(tracker.between(0, 1)) == 200, "at first all are told"
    turns = tracker.between(1, 160)
    assert len(turns) == 200
    assert max(turns.values()) <= 2
    assert turns.total() < 160 * 2


def test_many_seeds_are_told_more_seldom_than_few(announced):
    few_clock, few = announced(State.COMPLETE, 20)
    many_clock, many = announced(State.COMPLETE, 500)
    for clock in (few_clock, many_clock):
        clock.run(10**6, 1000.0)
    assert min(few.between(1, 1000).values()) > 25
    assert many.between(1, 1000).total() <= 1000


def test_a_tracker_that_could_not_be_reached_hears_all_again_soon(announced):
    clock, tracker = announced(State.COMPLETE, 500)
    clock.run(10**6, 10.0)
    tracker.away = True
    clock.run(10**6, 20.0)
    tracker.away = False
    clock.run(10**6, 110.0)
    assert len(tracker.between(20, 110)) == 500
