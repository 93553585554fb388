"""What operators may look at and change, and when."""

import random

import pytest

from p2pd.errors import NotFound, Unavailable
from p2pd.tracker.access import Access
from p2pd.tracker.administration import Administration, Counts
from p2pd.tracker.peer_table import CompactTable
from p2pd.tracker.records import STARTED, Changes, KeyRecord, SwarmRecord, UserRecord
from p2pd.tracker.users import hash_of

NOW = 1_700_000_000
A, B = b"a" * 20, b"b" * 20
USER = UserRecord(hash_of("1"), "1", b"\xcd" * 20)


@pytest.fixture
def table():
    return CompactTable(lifetime=2700.0, now=NOW, rng=random.Random(1))


@pytest.fixture
def access():
    return Access(mode="whitelist", require_keys=True, clock=lambda: NOW)


@pytest.fixture
def administration(table, access):
    return Administration(table, access)


def test_torrents(administration, table):
    with pytest.raises(NotFound, match="61616161"):
        administration.torrent(A)
    assert administration.put_torrent(A, None)
    assert not administration.put_torrent(A, 7)
    table.announce(A, b"\x7f\0\0\1\x1a\xe1", b"p" * 20, 0, 0, 0, STARTED, 50)
    assert administration.torrent(A).completed == 7
    assert [peer.address for peer in administration.torrent(A).seeds] == ["127.0.0.1:6881"]
    assert administration.remove_torrent(A)
    assert not administration.remove_torrent(A)


@pytest.mark.parametrize("which", ["whitelist", "blacklist"])
def test_lists(administration, which):
    assert not administration.is_listed(which, A)
    assert administration.put_listed(which, A)
    assert not administration.put_listed(which, A)
    assert administration.is_listed(which, A)
    assert administration.remove_listed(which, A)
    assert not administration.remove_listed(which, A)


def test_changes_act_at_once(administration, access):
    administration.put_listed("whitelist", A)
    administration.put_key(B, 60)
    access.check(A)
    access.admit((B.hex(),))
    assert administration.key(B) == KeyRecord(60, NOW + 60)
    assert administration.remove_key(B)
    assert administration.key(B) is None


def test_users(administration):
    assert administration.put_user(USER)
    assert administration.user(USER.user_hash) == USER
    assert administration.remove_user(USER.user_hash)
    assert administration.user(USER.user_hash) is None


def test_all_at_once(administration):
    administration.put_torrent(B, 3)
    administration.merge(
        Changes(
            counts={A: 5, B: None},
            whitelist={A: True},
            blacklist={A: True, B: True},
            keys={A: KeyRecord(0, 0)},
            users={USER.user_hash: USER},
        )
    )
    assert administration.torrent(A) == SwarmRecord(5)
    assert administration.counts() == Counts(
        torrents=1, seeds=0, leeches=0, completed=5, whitelist=1, blacklist=2, keys=1, users=1
    )


def test_nothing_is_missing_or_changed_before_all_is_loaded(table, access):
    loaded = []
    administration = Administration(table, access, loaded=lambda: bool(loaded))
    for attempt in (
        lambda: administration.torrent(A),
        lambda: administration.put_listed("whitelist", A),
        lambda: administration.key(A),
        lambda: administration.merge(Changes(counts={A: 1})),
    ):
        with pytest.raises(Unavailable, match="still loading"):
            attempt()
    assert administration.counts().torrents == 0
    loaded.append(True)
    assert administration.put_torrent(A, 1)
