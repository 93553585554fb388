"""One fetch of several pieces: who hears of them, and where their memory goes."""

import pytest

from p2pd.node.fetch import Fetch
from p2pd.node.rooms import Rooms
from p2pd.swarm.rates import TokenBucket
from p2pd.swarm.transfer import Request


@pytest.fixture
def rooms():
    return Rooms(1000)


class Making:
    def __init__(self, rooms, *indexes):
        self.received = []
        self.arrived = []
        self.limit = TokenBucket(5)
        self.fetch = Fetch(
            [Request("a", index, 10 + index) for index in indexes],
            rooms,
            self.limit,
            received=lambda request, count: self.received.append((request.index, count)),
            arrived=lambda _, request, room: self.arrived.append((request.index, room)),
        )

    def land(self, index):
        room = self.fetch.room(index)
        room[:] = bytes([index]) * len(room)
        self.fetch.received(index, len(room))
        self.fetch.landed(index)


def test_each_piece_is_passed_on_with_its_room(rooms):
    made = Making(rooms, 3, 1)
    assert made.fetch.peer == "a"
    assert made.fetch.indexes == [3, 1]
    assert made.fetch.limit is made.limit
    made.land(3)
    assert [request.index for request in made.fetch.wanted] == [1]
    made.land(1)
    made.fetch.close()
    assert made.received == [(3, 13), (1, 11)]
    assert [(index, bytes(room)) for index, room in made.arrived] == [
        (3, b"\3" * 13),
        (1, b"\1" * 11),
    ]
    assert not list(made.fetch.wanted)
    assert rooms.lent == 24, "they are the listener's to give back"


def test_the_room_of_a_piece_that_did_not_arrive_is_given_back_once(rooms):
    made = Making(rooms, 3, 1)
    made.land(3)
    made.fetch.room(1)
    made.fetch.received(1, 5)
    made.fetch.close()
    made.fetch.close()
    assert rooms.lent == 13
    assert [index for index, _ in made.arrived] == [3]
    assert [request.index for request in made.fetch.wanted] == [1]


def test_only_the_last_that_is_dropped_ends_it(rooms):
    made = Making(rooms, 1, 2, 3)
    made.land(1)
    assert not made.fetch.drop(1), "it is here"
    assert not made.fetch.drop(2)
    assert not made.fetch.drop(2)
    assert made.fetch.drop(3)
    assert not made.fetch.drop(3)


def test_one_that_was_dropped_and_comes_all_the_same_is_kept(rooms):
    made = Making(rooms, 1, 2)
    made.fetch.drop(1)
    made.land(1)
    assert [index for index, _ in made.arrived] == [1]
    assert made.fetch.drop(2)


def test_the_next_piece_is_told_even_if_nobody_wants_it_any_more(rooms):
    made = Making(rooms, 4, 1, 2)
    assert made.fetch.next == 4
    made.land(4)
    made.fetch.drop(1)
    assert made.fetch.next == 1
    made.land(1)
    made.land(2)
    assert made.fetch.next is None


def test_what_was_asked_for_is_planned_until_it_comes_or_will_not(rooms):
    made = Making(rooms, 1, 2)
    assert (rooms.planned, rooms.lent) == (23, 0)
    made.fetch.room(1)
    assert (rooms.planned, rooms.lent) == (12, 11)
    made.fetch.close()
    assert (rooms.planned, rooms.lent) == (0, 0)
