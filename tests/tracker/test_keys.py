"""Keys: good until they expire, and then swept."""

import tracemalloc

import pytest
from twisted.internet.task import Clock

from p2pd.tracker.keys import Keys
from p2pd.tracker.records import KeyRecord

NOW = 1_700_000_000
KEY, OTHER = b"k" * 20, b"o" * 20


@pytest.fixture
def clock():
    clock = Clock()
    clock.advance(NOW)
    return clock


@pytest.fixture
def keys(clock):
    return Keys(clock.seconds)


def test_a_key_is_good_until_it_expires(keys, clock):
    assert keys.put(KEY, 60)
    assert keys.get(KEY) == KeyRecord(60, NOW + 60)
    clock.advance(59)
    assert KEY in keys
    clock.advance(1)
    assert KEY not in keys
    assert keys.get(KEY) is None


def test_a_key_for_no_time_is_good_for_ever(keys, clock):
    keys.put(KEY, 0)
    clock.advance(10**9)
    keys.sweep()
    assert keys.get(KEY) == KeyRecord(0, 0)


def test_a_timeout_beyond_all_time_is_bounded(keys):
    keys.put(KEY, 2**63 - 1)
    assert keys.get(KEY) == KeyRecord(2**63 - 1, 2**63 - 1)


def test_tells_whether_a_key_is_new_or_was_known(keys, clock):
    assert keys.put(KEY, 60)
    assert not keys.put(KEY, 30)
    clock.advance(30)
    assert keys.put(KEY, 60)
    assert keys.remove(KEY)
    assert not keys.remove(KEY)


def test_a_sweep_forgets_what_has_expired(keys, clock):
    keys.put(KEY, 60)
    keys.put(OTHER, 90)
    keys.changes()
    clock.advance(60)
    keys.sweep()
    assert list(keys) == [OTHER]
    assert keys.changes() == {KEY: None}


def test_a_key_whose_time_was_prolonged_is_not_swept(keys, clock):
    keys.put(KEY, 60)
    keys.put(KEY, 600)
    clock.advance(60)
    keys.sweep()
    assert KEY in keys
    clock.advance(540)
    keys.sweep()
    assert len(keys) == 0


def test_a_key_that_is_prolonged_again_and_again_takes_no_more_room(keys, clock):
    def room():
        tracemalloc.start()
        for _ in range(3_000):
            clock.advance(1)
            keys.put(KEY, 10**9)
            keys.put(OTHER, 10**9)
        size = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        return size

    keys.put(KEY, 60)
    assert room() < 20_000
    assert keys.get(KEY) == KeyRecord(10**9, NOW + 3_000 + 10**9)
    clock.advance(10**9)
    keys.sweep()
    assert len(keys) == 0


def test_what_has_expired_while_stored_is_not_good(keys):
    keys.load([(KEY, KeyRecord(60, NOW - 1)), (OTHER, KeyRecord(60, NOW + 1))])
    assert keys.changes() == {}
    assert KEY not in keys
    assert OTHER in keys
    keys.sweep()
    assert keys.changes() == {KEY: None}


def test_changes_are_told_once(keys):
    keys.put(KEY, 60)
    keys.restore(OTHER, KeyRecord(5, NOW + 3))
    assert keys.changes() == {KEY: KeyRecord(60, NOW + 60), OTHER: KeyRecord(5, NOW + 3)}
    keys.remove(KEY)
    assert keys.changes() == {KEY: None}
    assert keys.changes() == {}
