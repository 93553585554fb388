"""The access policy: who is admitted, and which torrents are."""

import pytest

from p2pd.errors import Conflict
from p2pd.tracker.access import Access
from p2pd.tracker.records import AccessDenied, Changes, KeyRecord, UserRecord, Why
from p2pd.tracker.users import hash_of

NOW = 1_700_000_000
A, B = b"a" * 20, b"b" * 20
KEY, PASSKEY = b"\xab" * 20, b"\xcd" * 20


def make(**options):
    return Access(clock=lambda: NOW, **options)


def user(name="1", passkey=PASSKEY, **fields):
    return UserRecord(hash_of(name), name, passkey, **fields)


def why(access, *credentials):
    with pytest.raises(AccessDenied) as refused:
        access.admit(credentials)
    return refused.value.why


def test_everybody_may_announce_everything_at_first():
    access = make()
    assert not access.named
    assert access.listed is None
    assert access.allows(A)
    access.check(A)


@pytest.mark.parametrize("given", ["ab" * 20, "AB" * 20])
def test_a_key_admits(given):
    access = make(require_keys=True)
    access.keys.put(KEY, 0)
    assert access.named
    assert access.admit((given,)) is None
    assert access.admit((given, "anything")) is None


def test_a_key_is_missed():
    access = make(require_keys=True)
    assert why(access) is Why.MISSING_KEY
    for malformed in ("ab", "x" * 40, "ab " * 13 + "a", "ab" * 21, "\u0661" * 40):
        assert why(access, malformed) is Why.INVALID_KEY
    assert why(access, "ab" * 20) is Why.UNKNOWN_KEY
    access.keys.put(KEY, 0)
    access.keys.remove(KEY)
    assert why(access, "ab" * 20) is Why.UNKNOWN_KEY


def test_an_expired_key_is_unknown():
    access = make(require_keys=True)
    access.keys.restore(KEY, KeyRecord(60, NOW))
    assert why(access, "ab" * 20) is Why.UNKNOWN_KEY


def test_a_passkey_names_its_user():
    access = make(users=True)
    access.users.put(user())
    assert access.admit(("cd" * 20,)).name == "1"


def test_a_passkey_is_missed():
    access = make(users=True)
    assert why(access) is Why.MISSING_USER_KEY
    assert why(access, "cd") is Why.INVALID_USER_KEY
    assert why(access, "cd" * 20) is Why.UNKNOWN_USER_KEY
    access.users.put(user(active=False))
    assert why(access, "cd" * 20) is Why.INACTIVE_USER
    access.users.put(user())
    assert access.admit(("cd" * 20,))


def test_the_key_comes_before_the_passkey():
    access = make(require_keys=True, users=True)
    access.keys.put(KEY, 0)
    access.users.put(user())
    assert access.admit(("ab" * 20, "cd" * 20)).name == "1"
    assert why(access, "cd" * 20, "ab" * 20) is Why.UNKNOWN_KEY
    assert why(access, "ab" * 20) is Why.MISSING_USER_KEY


def test_a_whitelist_lets_in_what_is_on_it():
    access = make(mode="whitelist")
    doors_copy = access.listed  # changes must reach who holds the set itself
    with pytest.raises(AccessDenied, match="unknown info_hash"):
        access.check(A)
    access.lists["whitelist"].put(A)
    access.check(A)
    assert A in doors_copy
    access.lists["whitelist"].remove(A)
    assert not access.allows(A)
    assert A not in doors_copy


def test_a_blacklist_keeps_out_what_is_on_it():
    access = make(mode="blacklist")
    doors_copy = access.banned
    access.lists["blacklist"].put(A)
    with pytest.raises(AccessDenied, match="forbidden info_hash"):
        access.check(A)
    assert A in doors_copy
    assert access.allows(B)


def test_a_list_that_does_not_govern_is_kept_all_the_same():
    access = make()
    assert access.lists["blacklist"].put(A)
    assert not access.lists["blacklist"].put(A)
    assert access.allows(A)
    assert access.changes() == Changes(blacklist={A: True})


def test_changes_are_told_once():
    access = make()
    access.lists["whitelist"].put(A)
    access.lists["whitelist"].put(B)
    access.lists["whitelist"].remove(B)
    access.keys.put(KEY, 0)
    access.users.put(user())
    assert access.changes() == Changes(
        whitelist={A: True, B: False}, keys={KEY: KeyRecord(0, 0)}, users={hash_of("1"): user()}
    )
    assert not access.changes()


def test_what_was_loaded_governs_and_is_no_change():
    access = make(mode="whitelist", require_keys=True, users=True)
    access.load(
        Changes(whitelist={A: True}, keys={KEY: KeyRecord(0, 0)}, users={hash_of("1"): user()})
    )
    assert access.allows(A)
    assert access.admit(("ab" * 20, "cd" * 20)).name == "1"
    assert not access.changes()


def test_what_is_merged_is_a_change():
    access = make(mode="whitelist")
    changes = Changes(
        whitelist={A: True, B: False},
        blacklist={B: True},
        keys={KEY: KeyRecord(60, NOW + 3), B: None},
        users={hash_of("1"): user(uploaded=3), hash_of("2"): None},
    )
    access.users.put(user("2", b"2" * 20))
    access.keys.put(B, 0)
    access.merge(changes)
    assert access.changes() == changes


def test_a_merge_that_is_refused_changes_nothing():
    access = make()
    access.users.put(user("1"))
    access.changes()
    with pytest.raises(Conflict):
        access.merge(Changes(whitelist={A: True}, users={hash_of("2"): user("2")}))
    assert not access.changes()
