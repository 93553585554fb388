"""Users: whose passkey is whose, and accounting exact to the byte."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from p2pd.errors import Conflict
from p2pd.tracker.records import COMPLETED, NONE, PAUSED, STARTED, STOPPED, UserRecord
from p2pd.tracker.users import Users, hash_of

NOW = 1_700_000_000
PATIENCE = 5400.0
MOST = 2**63 - 1
A, B = b"a" * 20, b"b" * 20
PEER, OTHER = b"p" * 20, b"q" * 20


@pytest.fixture
def clock():
    clock = Clock()
    clock.advance(NOW)
    return clock


@pytest.fixture
def users(clock):
    return Users(clock.seconds, patience=PATIENCE)


def record(name="1", passkey=b"1" * 20, **fields):
    return UserRecord(hash_of(name), name, passkey, **fields)


@pytest.fixture
def one(users):
    """`one(uploaded, downloaded, event)`: a client of the user 1 announces."""
    users.put(record())

    def announce(uploaded, downloaded=0, event=NONE, *, infohash=A, peer_id=PEER):
        user = users.of(b"1" * 20)
        users.account(user, infohash, peer_id, uploaded, downloaded, event)
        return user.uploaded, user.downloaded

    return announce


def test_the_hash_of_a_user_is_the_sha1_of_its_name():
    assert hash_of("42").hex() == "92cfceb39d57d914ed8b14d0e37643de0797ae56"


def test_users_are_put_found_and_removed(users):
    assert users.put(record())
    assert not users.put(record(passkey=b"2" * 20, uploaded=7))
    assert users.of(b"1" * 20) is None
    assert users.of(b"2" * 20).uploaded == 7
    assert users.record(hash_of("1")) == record(passkey=b"2" * 20, uploaded=7)
    assert users.remove(hash_of("1"))
    assert not users.remove(hash_of("1"))
    assert users.of(b"2" * 20) is users.record(hash_of("1")) is None
    assert len(users) == 0


def test_no_two_users_have_one_passkey(users):
    users.put(record("1"))
    with pytest.raises(Conflict, match="another user's"):
        users.put(record("3", b"3" * 20), record("2", b"1" * 20))
    with pytest.raises(Conflict):
        users.put(record("2", b"2" * 20), record("3", b"2" * 20))
    assert len(users) == 1


def test_a_passkey_is_whose_it_was_assigned_to_last(users):
    users.put(record("1", b"1" * 20, uploaded=7))
    assert users.assign(record("2", b"1" * 20))
    assert users.of(b"1" * 20).name == "2"
    former = users.record(hash_of("1"))
    assert (former.uploaded, users.of(former.passkey).name) == (7, "1")
    assert users.changes().keys() == {hash_of("1"), hash_of("2")}
    assert not users.assign(record("2", b"1" * 20, uploaded=8))
    assert users.record(hash_of("1")) == former


def test_users_may_swap_passkeys(users):
    users.put(record("1", b"1" * 20), record("2", b"2" * 20))
    users.put(record("1", b"2" * 20), record("2", b"1" * 20))
    assert users.of(b"2" * 20).name == "1"
    assert users.of(b"1" * 20).name == "2"


def test_differences_between_announces_are_accounted(one):
    assert one(0, 0, STARTED) == (0, 0)
    assert one(100, 7) == (100, 7)
    assert one(100, 7) == (100, 7)
    assert one(150, 7, PAUSED) == (150, 7)
    assert one(151, 9, STOPPED) == (151, 9)


def test_a_stop_that_is_told_twice_counts_once(one):
    one(0, 0, STARTED)
    assert one(100, 5, STOPPED) == (100, 5)
    assert one(100, 5, STOPPED) == (100, 5)


def test_a_client_that_starts_again_counts_from_zero(one):
    one(0, 0, STARTED)
    one(100, 50, STOPPED)
    assert one(0, 0, STARTED) == (100, 50)
    assert one(30, 0) == (130, 50)


def test_what_a_client_moved_until_its_start_was_heard_counts(one):
    assert one(40, 3, STARTED) == (40, 3)


def test_a_client_that_is_not_known_goes_on_from_what_it_tells(one):
    assert one(1_000_000, 5_000) == (0, 0)
    assert one(1_000_010, 5_001) == (10, 1)


def test_a_lower_total_begins_anew_and_the_other_total_still_counts(one):
    one(0, 0, STARTED)
    one(100, 100)
    assert one(40, 110) == (100, 110)
    assert one(45, 110) == (105, 110)


def test_clients_and_torrents_are_accounted_apart(one):
    one(0, 0, STARTED)
    one(0, 0, STARTED, peer_id=OTHER)
    one(0, 0, STARTED, infohash=B)
    one(10)
    one(20, peer_id=OTHER)
    assert one(5, infohash=B) == (35, 0)


def test_a_total_has_a_limit(one):
    one(0, 0, STARTED)
    one(2**64)
    assert one(2**64 + 5) == (MOST, 0)


def test_completed_counts_once_for_a_client(users, one):
    for event in (STARTED, COMPLETED, COMPLETED, NONE):
        one(0, 0, event)
    one(0, 0, COMPLETED, infohash=B)
    assert users.record(hash_of("1")).completed == 2


def test_tells_when_and_where_a_user_was_active(users, one, clock):
    one(0, 0, STARTED)
    clock.advance(10)
    one(0, 0, STARTED, infohash=B)
    found = users.record(hash_of("1"))
    assert found.updated == NOW + 10
    assert found.torrents == {A: NOW, B: NOW + 10}
    one(0, 0, STOPPED)
    assert users.record(hash_of("1")).torrents == {B: NOW + 10}


def test_overwriting_a_user_leaves_its_clients(users, one):
    one(0, 0, STARTED)
    users.put(record(uploaded=5))
    assert users.record(hash_of("1")).torrents == {A: NOW}
    assert one(10) == (15, 0)


def test_silent_clients_are_forgotten(users, one, clock):
    one(10, 0, STARTED)
    clock.advance(PATIENCE / 2)
    one(10, 0, STARTED, infohash=B)
    clock.advance(PATIENCE / 2 + 1)
    users.sweep()
    assert users.record(hash_of("1")).torrents == {B: NOW + PATIENCE / 2}
    assert one(15) == (20, 0)
    assert one(15, infohash=B) == (25, 0)


def test_one_silent_client_does_not_hide_another_of_the_same_torrent(users, one, clock):
    one(0, 0, STARTED)
    clock.advance(PATIENCE / 2)
    one(0, 0, STARTED, peer_id=OTHER)
    clock.advance(PATIENCE / 2 + 1)
    users.sweep()
    assert users.record(hash_of("1")).torrents == {A: NOW + PATIENCE / 2}


def test_remembers_so_many_clients(clock):
    users = Users(clock.seconds, patience=PATIENCE, most_sessions=2)
    users.put(record())
    user = users.of(b"1" * 20)
    for infohash in (A, B, A, b"c" * 20):  # b has been silent longest then
        users.account(user, infohash, PEER, 10, 0, STARTED)
    assert users.record(hash_of("1")).torrents.keys() == {A, b"c" * 20}
    users.account(user, A, PEER, 11, 0, NONE)
    assert user.uploaded == 31
    users.account(user, B, PEER, 11, 0, NONE)
    assert user.uploaded == 31


def test_forgets_clients_of_users_that_are_gone(users, one, clock):
    one(0, 0, STARTED)
    users.remove(hash_of("1"))
    clock.advance(PATIENCE + 1)
    users.sweep()
    users.put(record())
    assert one(5) == (0, 0)


def test_changes_are_told_once(users, one):
    users.put(record("2", b"2" * 20))
    assert users.changes() == {hash_of("1"): record(), hash_of("2"): record("2", b"2" * 20)}
    assert users.changes() == {}
    one(5, 0, STARTED)
    assert users.changes() == {hash_of("1"): record(uploaded=5, updated=NOW)}
    users.remove(hash_of("2"))
    assert users.changes() == {hash_of("2"): None}


def test_what_was_loaded_is_no_change(users):
    users.load([record(), record("2", b"2" * 20, active=False)])
    assert users.changes() == {}
    assert not users.of(b"2" * 20).active


@given(st.integers(), st.lists(st.sampled_from(range(6)), max_size=60))
def test_the_sum_is_what_all_clients_moved(seed, steps):
    """Clients that announce in any order, some twice, some vanishing without a word."""
    rng = random.Random(seed)
    users = Users(lambda: NOW, patience=PATIENCE)
    users.put(record())
    user = users.of(b"1" * 20)
    moved, told = Counter(), Counter()
    for which in steps:
        name = bytes([which]) * 20
        fresh = which not in moved
        moved[which] += rng.randrange(2**40)
        for _ in range(rng.choice((1, 1, 2))):
            event = STARTED if fresh else rng.choice((NONE, PAUSED, COMPLETED))
            users.account(user, A, name, moved[which], 0, event)
        told[which] = moved[which]
    assert user.uploaded == told.total()
