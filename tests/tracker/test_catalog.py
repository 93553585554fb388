"""Torrents by infohash, filename and piece."""

import pytest

from p2pd.errors import NotFound, Unavailable
from p2pd.metainfo.ids import InfoHash
from p2pd.tracker.catalog import Catalog
from p2pd.tracker.ports import NameRow
from tests.samples import torrent


def catalog(*, max_torrents=100, max_pieces=1000):
    return Catalog(max_torrents=max_torrents, max_pieces=max_pieces)


def add(made, sample, filename, *, web_seeds=(), now=0.0):
    entry = made.put(sample, made.draft(sample, web_seeds, now))
    made.name(NameRow(filename, sample.infohash, from_origin=False))
    return entry


def never_used(infohash):
    return True


def test_the_newest_publication_has_the_name_and_the_older_its_infohash():
    made = catalog()
    old, new = torrent("a", seed=1), torrent("a", seed=2)
    first = add(made, old, "a")
    second = add(made, new, "a")
    assert made.named("a") is second
    assert made.entry(old.infohash) is first
    assert first.filename == "a"
    assert not first.names
    add(made, old, "a")
    assert made.named("a") is first
    assert list(made.names()) == [("a", first)]


def test_a_torrent_goes_by_its_newest_name():
    made = catalog()
    entry = add(made, torrent("a"), "b")
    add(made, torrent("a"), "c")
    assert entry.filename == "c"
    assert made.named("b") is made.named("c") is entry


def test_the_unknown_is_not_found():
    made = catalog()
    with pytest.raises(NotFound, match="7878"):
        made.entry(InfoHash(b"x" * 20))
    assert made.named("a") is None


def test_web_seeds_gather():
    made = catalog()
    sample = torrent()
    add(made, sample, "a", web_seeds=("http://x",), now=1)
    entry = add(made, sample, "a", web_seeds=("http://y", "http://x"), now=2)
    assert entry.web_seeds == ("http://x", "http://y")
    assert entry.added == 1


def test_pieces_are_found_by_content_in_every_torrent():
    made = catalog()
    first, same, other = torrent("a", 4), torrent("b", 6), torrent("c", 4, seed=9)
    entries = [add(made, sample, sample.name) for sample in (first, same, other)]
    shared = first.piece_ids[0]
    assert shared == same.piece_ids[0]
    assert made.containing(shared) == (entries[0], entries[1])
    assert made.containing(same.piece_ids[5]) == (entries[1],)
    assert made.containing(b"x" * 32) == ()
    made.remove(entries[0])
    assert made.containing(shared) == (entries[1],)
    made.remove(entries[1])
    assert made.containing(shared) == ()
    assert [entry.torrent for entry in made] == [other]


def test_superseded_torrents_make_room_oldest_first():
    made = catalog(max_torrents=3)
    entries = [add(made, torrent("a", seed=seed), "a") for seed in range(3)]
    new = torrent("a", seed=9)
    assert made.superseded(new, "a", never_used) == entries[:1]
    used = entries[0].torrent.infohash
    assert made.superseded(new, "a", lambda infohash: infohash != used) == [entries[1]]
    assert made.superseded(entries[1].torrent, "a", never_used) == []


def test_the_torrent_that_will_lose_its_name_makes_room_too():
    made = catalog(max_torrents=1)
    entry = add(made, torrent("a", seed=1), "a")
    new = torrent("a", seed=2)
    assert made.superseded(new, "a", never_used) == [entry]
    with pytest.raises(Unavailable, match="full"):
        made.superseded(new, "b", never_used)


def test_pieces_are_bounded_in_all():
    made = catalog(max_pieces=10)
    add(made, torrent("a", 6), "a")
    made.superseded(torrent("b", 4, seed=1), "b", never_used)
    with pytest.raises(Unavailable, match="full"):
        made.superseded(torrent("b", 5, seed=1), "b", never_used)
