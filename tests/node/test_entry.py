"""What one entry offers to those who ask for its pieces, and what it tells of that."""

from types import SimpleNamespace

import pytest

from p2pd.node.entry import BEHIND, Entry, Offer
from p2pd.node.job import Job
from p2pd.node.options import DownloadOptions
from tests.samples import torrent

PIECES = 6


@pytest.fixture
def partial():
    """An entry that holds pieces 0 to 3 of 6."""
    content = SimpleNamespace(torrent=torrent(pieces=PIECES))
    made = Entry(content, filename="a.bin", job=Job(DownloadOptions(), added=0.0))
    for index in range(4):
        made.got(index)
    return made


@pytest.fixture
def seed(partial):
    partial.hold_all()
    return partial


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        ([0], [0]),
        ([3, 1, 2], [3, 1, 2]),
        ([2, 4, 1], [2]),
        ([0, 1, 5], [0, 1]),
        ([4], []),
        ([5, 0, 1], []),
        ([], []),
    ],
)
def test_what_is_here_is_offered_up_to_the_first_piece_that_is_not(partial, asked, given):
    assert partial.offer(asked) == Offer(given, behind=BEHIND)


def test_who_holds_some_gives_a_piece_as_often_as_it_is_asked_for(partial):
    for index in (0, 1):
        partial.asked_for(index)
    assert not partial.promised
    partial.promise(2)  # it comes from afar, and everybody here needs it
    assert partial.offer([2, 0, 3]) == Offer([2, 0, 3], behind=BEHIND)


@pytest.mark.parametrize(
    ("asked", "given", "behind"),
    [
        ([0, 3, 5], [0, 3, 5], BEHIND),
        ([0, 1, 3], [0], BEHIND),
        ([0, 3, 2, 4], [0, 3], BEHIND),
        ([1], [1], 0),
        ([1, 2], [1, 2], 0),
        ([2, 1, 0, 1], [2, 1], 0),
        ([], [], BEHIND),
    ],
)
def test_a_seed_gives_new_pieces_first_and_old_ones_apart_if_nobody_waits(
    seed, asked, given, behind
):
    seed.asked_for(1)
    seed.asked_for(2)
    assert seed.offer(asked) == Offer(given, behind)


def test_an_offer_is_no_promise(seed):
    assert seed.offer([0, 1]) == seed.offer([0, 1]) == Offer([0, 1], behind=BEHIND)
    assert not seed.promised


def test_a_leech_that_becomes_a_seed_has_sent_nothing_as_one(partial):
    partial.asked_for(0)
    for index in (4, 5):
        partial.got(index)
    assert partial.offer([0, 5]) == Offer([0, 5], behind=BEHIND)
    partial.asked_for(0)
    assert partial.offer([0, 5]) == Offer([0], behind=0)
