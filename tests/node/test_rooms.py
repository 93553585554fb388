"""Memory for pieces: lent, taken back, used again, and no more of it kept than is allowed."""

from hypothesis import given
from hypothesis import strategies as st

from p2pd.node.rooms import Rooms


def test_a_room_is_used_again():
    rooms = Rooms(1000)
    first = rooms.take(100)
    first[:] = b"x" * 100
    owner = first.obj
    rooms.give(first)
    again = rooms.take(100)
    assert again.obj is owner
    assert len(again) == 100
    assert not again.readonly
    assert rooms.take(100).obj is not owner


def test_rooms_of_other_sizes_are_others():
    rooms = Rooms(1000)
    rooms.give(rooms.take(100))
    assert len(rooms.take(99)) == 99


def test_a_room_larger_than_all_that_is_kept_is_let_go():
    rooms = Rooms(100)
    large = rooms.take(101)
    owner = large.obj
    rooms.give(large)
    assert rooms.lent == 0
    assert rooms.take(101).obj is not owner


@given(
    st.lists(st.tuples(st.booleans(), st.sampled_from([1, 30, 100, 150])), max_size=60),
    st.sampled_from([0, 100, 200]),
)
def test_what_is_lent_is_counted_and_what_is_kept_is_bounded(steps, most):
    rooms = Rooms(most)
    lent = []
    for take, size in steps:
        if take:
            lent.append(rooms.take(size))
        elif lent:
            rooms.give(lent.pop(size % len(lent)))
        assert rooms.lent == sum(map(len, lent))
        kept = [owner for owners in rooms._free.values() for owner in owners]
        assert sum(map(len, kept)) == rooms._kept <= most
        in_use = [*map(id, kept), *(id(room.obj) for room in lent)]
        assert len(in_use) == len(set(in_use)), "nothing is lent twice"
