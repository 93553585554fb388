import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pd.metainfo.bitfield import Bitfield
from p2pd.swarm.picker import Picker, piece_set, without

SIZE = 40
SETS = st.sets(st.integers(0, SIZE - 1))


def as_set(indexes):
    return sum(1 << index for index in indexes)


def picker(unasked=range(SIZE), holders=(), seed=0):
    made = Picker(as_set(unasked), random.Random(seed))
    for pieces in holders:
        made.add(as_set(pieces))
    return made


@given(st.integers(1, 70), st.data())
def test_a_bitfield_becomes_the_set_of_its_indexes(size, data):
    indexes = data.draw(st.sets(st.integers(0, size - 1)))
    bitfield = Bitfield(size)
    for index in indexes:
        bitfield.add(index)
    assert piece_set(bitfield) == as_set(indexes)


@given(SETS, SETS)
def test_without(pieces, others):
    assert without(as_set(pieces), as_set(others)) == as_set(pieces - others)


@given(st.lists(SETS, max_size=12), st.data())
def test_availability_is_what_counting_gives(holders, data):
    made = picker(holders=holders)
    gone = data.draw(st.lists(st.sampled_from(holders), unique_by=id)) if holders else []
    for pieces in gone:
        made.remove(as_set(pieces))
    model = Counter(index for pieces in holders for index in pieces)
    model.subtract(index for pieces in gone for index in pieces)
    assert [made.availability(index) for index in range(SIZE)] == [model[i] for i in range(SIZE)]
    assert made.held == as_set(index for index in range(SIZE) if model[index])


@given(st.lists(SETS, max_size=9), SETS, SETS, st.integers(0, 5))
def test_it_picks_one_of_the_rarest_within_reach(holders, unasked, reach, seed):
    made = picker(unasked, holders, seed)
    index = made.pick(as_set(reach))
    candidates = unasked & reach
    if not candidates:
        assert index is None
        return
    count = {i: sum(i in pieces for pieces in holders) for i in candidates}
    assert index in candidates
    assert count[index] == min(count.values())


def test_ties_are_broken_evenly():
    made = picker(unasked=[0, 1, 7, 20, 39], holders=[range(SIZE)], seed=1)
    picked = Counter(made.pick(as_set(range(SIZE))) for _ in range(5000))
    assert set(picked) == {0, 1, 7, 20, 39}
    assert all(850 < times < 1150 for times in picked.values())


def test_what_was_asked_for_is_not_picked_until_it_is_freed():
    made = picker(unasked=[3])
    made.take(3)
    made.take(3)
    assert made.pick(as_set([3])) is None
    made.free(3)
    assert made.pick(as_set([3])) == 3
    made.close(3)
    assert made.unasked == 0


def test_urgent_pieces_go_first_and_in_order():
    made = picker(holders=[range(SIZE), range(20, SIZE)])
    made.urge([30, 25, 30, 31])
    everything = as_set(range(SIZE))
    order = []
    for _ in range(4):
        order.append(made.pick(everything))
        made.take(order[-1])
    assert order[:3] == [30, 25, 31]
    assert order[3] < 20


def test_an_urgent_piece_out_of_reach_holds_up_nothing():
    made = picker()
    made.urge([5, 6])
    assert made.pick(as_set([6, 7])) == 6
    assert made.pick(as_set([7])) == 7


def test_an_urgent_piece_that_failed_is_urgent_again():
    made = picker()
    made.urge([5, 6])
    made.take(5)
    assert made.pick(as_set([5, 6])) == 6
    made.close(6)
    made.free(5)
    assert made.pick(as_set(range(SIZE))) == 5


def test_urging_anew_replaces_what_was_urged():
    made = picker()
    made.urge([5])
    made.urge([9])
    assert made.pick(as_set([5, 9])) == 9


@pytest.mark.parametrize("size", [1, 2, 3, 64, 1000])
def test_every_member_can_be_picked(size):
    made = picker(unasked=range(size))
    picked = set()
    while (index := made.pick(as_set(range(size)))) is not None:
        made.close(index)
        picked.add(index)
    assert picked == set(range(size))


@given(st.lists(SETS, max_size=9), SETS)
def test_copies_are_whole_ones_and_the_part_there_is_more_of(holders, own):
    made = picker(holders=holders)
    counts = [sum(index in pieces for pieces in (*holders, own)) for index in range(SIZE)]
    whole = min(counts)
    more = sum(count > whole for count in counts) / SIZE
    assert made.copies(as_set(own), SIZE) == pytest.approx(whole + more)
    assert [made.availability(index) for index in range(SIZE)] == [
        sum(index in pieces for pieces in holders) for index in range(SIZE)
    ], "it is only looked at"


def test_of_nothing_there_are_no_copies():
    assert picker().copies(0, 0) == 0.0
