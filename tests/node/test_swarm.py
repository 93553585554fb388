"""A swarm of nodes in memory: everybody gets everything, whatever happens to some of them."""

from itertools import pairwise

import pytest
from twisted.internet.defer import Deferred

from p2pd.errors import Busy, Conflict, NotFound, Unavailable
from p2pd.node.ports import PeerLink
from p2pd.swarm.lifecycle import State

PIECE = 256 * 1024
SLOW = 0.06  # one piece takes long enough to measure a rate, so that several are asked for then


def test_every_node_gets_a_shared_file(fleet):
    data = fleet.data(40 * PIECE + 100)
    seed = fleet.node("seed")
    shared = fleet.share(seed, "image", data)
    leeches = [fleet.node(f"leech{n}") for n in range(5)]
    entries = [fleet.get(leech, "image") for leech in leeches]
    fleet.settle(*entries)
    for leech, entry in zip(leeches, entries, strict=True):
        assert entry.state is State.COMPLETE
        assert fleet.content(leech, entry) == data
    total = sum(entry.uploaded for entry in entries) + shared.uploaded
    assert total >= 5 * len(data)
    assert shared.uploaded < 4 * len(data), "leeches served each other"


def test_it_is_found_by_infohash_too(fleet):
    seed = fleet.node("seed")
    shared = fleet.share(seed, "image", fleet.data(PIECE))
    leech = fleet.node("leech")
    entry = fleet.get(leech, shared.torrent.infohash.hex().upper())
    fleet.settle(entry)
    assert entry.state is State.COMPLETE
    assert entry.filename == "image"


def test_one_file_is_shared_under_two_names(fleet):
    seed = fleet.node("seed")
    data = fleet.data(2 * PIECE)
    first = fleet.share(seed, "first", data)
    second = fleet.done(seed.share(first.content.path, "second"))
    assert first.torrent.infohash != second.torrent.infohash
    for name in ("first", "second"):
        leech = fleet.node(f"leech of {name}")
        entry = fleet.get(leech, name)
        fleet.settle(entry)
        assert fleet.content(leech, entry) == data


def test_an_unknown_name_is_not_found(fleet):
    with pytest.raises(NotFound, match="no file named nothing-here is known"):
        fleet.get(fleet.node("leech"), "nothing-here")


def test_downloads_finish_while_the_tracker_is_gone(fleet):
    data = fleet.data(100 * PIECE)
    seed = fleet.node("seed")
    fleet.share(seed, "image", data)
    entries = [fleet.get(fleet.node(f"leech{n}"), "image") for n in range(3)]
    fleet.until(lambda: all(entry.held.count > 5 for entry in entries))
    fleet.stop_tracker()
    fleet.settle(*entries)
    assert all(entry.state is State.COMPLETE for entry in entries)


def test_a_restarted_tracker_learns_again_who_holds_what(fleet):
    seed = fleet.node("seed")
    shared = fleet.share(seed, "image", fleet.data(3 * PIECE))
    fleet.stop_tracker()
    fleet.advance(20, step=0.5)
    fleet.restart_tracker()
    fleet.advance(60, step=0.5)
    assert fleet.tracker.holders(shared.torrent.piece_ids[0]) == ["seed:1"]
    entry = fleet.get(fleet.node("leech"), "image")
    fleet.settle(entry)
    assert entry.state is State.COMPLETE


def test_a_share_made_while_the_tracker_is_away_is_published_later(fleet):
    seed = fleet.node("seed")
    fleet.stop_tracker()
    fleet.share(seed, "image", fleet.data(PIECE))
    fleet.restart_tracker()
    fleet.advance(60, step=0.5)
    entry = fleet.get(fleet.node("leech"), "image")
    fleet.settle(entry)
    assert entry.state is State.COMPLETE


def test_a_download_survives_a_holder_that_is_killed(fleet):
    data = fleet.data(60 * PIECE)
    seed, second = fleet.node("seed"), fleet.node("second")
    fleet.share(seed, "image", data)
    fleet.settle(fleet.get(second, "image"))
    leech = fleet.node("leech")
    entry = fleet.get(leech, "image")
    fleet.until(lambda: entry.held.count > 10)
    fleet.kill(seed)
    fleet.settle(entry)
    assert fleet.content(leech, entry) == data


def test_a_node_that_joins_late_is_served_by_those_that_are_not_done(fleet):
    seed = fleet.node("seed")
    fleet.share(seed, "image", fleet.data(200 * PIECE))
    early = fleet.get(fleet.node("early"), "image")
    fleet.until(lambda: early.held.count > 50)
    late = fleet.get(fleet.node("late"), "image")
    fleet.settle(early, late)
    assert late.received_from["early:1"] > 0
    assert early.received_from["late:1"] > 0, "and gives back: it told where it is"


def test_nodes_meet_those_of_their_own_zone_as_near(fleet):
    fleet.share(fleet.node("seed"), "image", fleet.data(40 * PIECE))
    zones = {"l1": "left", "l2": "left", "r1": "right", "none": ""}
    nodes = {name: fleet.node(name, zone=zone) for name, zone in zones.items()}
    joined = {}
    entries = []
    for name, node in nodes.items():
        entry = fleet.get(node, "image")
        entries.append(entry)
        fleet.until(lambda node=node, entry=entry: node._transfers.get(entry) is not None)
        known = node._transfers.get(entry)._neighbours._known
        joined[name] = known
    fleet.settle(*entries)
    near = {
        name: {peer for peer, known in heard.items() if known.near}
        for name, heard in joined.items()
    }
    assert near == {"l1": {"l2:1"}, "l2": {"l1:1"}, "r1": set(), "none": set()}
    assert "r1:1" in joined["l1"]


class _Faulty:
    """A link whose fetches go through `fault`; the rest as it is."""

    def __init__(self, link: PeerLink, fault) -> None:
        self._link = link
        self._fault = fault

    def __getattr__(self, name):
        return getattr(self._link, name)

    async def fetch(self, torrent, indexes, landing):
        await self._fault(self._link, torrent, indexes, landing)


class FaultyDialer:
    def __init__(self, network, faults) -> None:
        self._network = network
        self._faults = faults

    def peer(self, address, own):
        link = self._network.peer(address, own)
        fault = self._faults.get(address)
        return _Faulty(link, fault) if fault else link

    def web_seed(self, url, *, strict):
        return self._network.web_seed(url, strict=strict)


class _Lying:
    """A landing of pieces with one bit wrong."""

    def __init__(self, landing) -> None:
        self._landing = landing

    def __getattr__(self, name):
        return getattr(self._landing, name)

    def room(self, index):
        self._room = self._landing.room(index)
        return self._room

    def landed(self, index):
        self._room[0] ^= 1
        self._landing.landed(index)


async def lie(link, torrent, indexes, landing):
    await link.fetch(torrent, indexes, _Lying(landing))


def test_a_liar_is_caught_and_banned_and_the_download_completes(fleet):
    data = fleet.data(40 * PIECE)
    seed, liar = fleet.node("seed"), fleet.node("liar")
    fleet.share(seed, "image", data)
    fleet.settle(fleet.get(liar, "image"))
    leech = fleet.node("leech", dialer=FaultyDialer(fleet.network, {"liar:1": lie}))
    entry = fleet.get(leech, "image")
    fleet.until(lambda: entry.held.count > 0)
    fleet.settle(entry)
    assert fleet.content(leech, entry) == data
    assert entry.received_from["liar:1"] == 0
    assert leech._transfers._bans.banned("liar:1", fleet.clock.seconds())


def test_a_holder_that_stalls_is_passed_over(fleet):
    async def stall(link, torrent, indexes, landing):
        await Deferred()

    data = fleet.data(40 * PIECE)
    seed, slow = fleet.node("seed"), fleet.node("slow")
    fleet.share(seed, "image", data)
    fleet.settle(fleet.get(slow, "image"))
    leech = fleet.node("leech", dialer=FaultyDialer(fleet.network, {"slow:1": stall}))
    entry = fleet.get(leech, "image")
    fleet.settle(entry)
    assert fleet.content(leech, entry) == data


@pytest.mark.parametrize("landed", [0, 1])
def test_what_a_holder_lacks_is_had_elsewhere_and_what_landed_before_is_kept(fleet, landed):
    lacked = []

    async def lack(link, torrent, indexes, landing):
        if landed:
            await link.fetch(torrent, indexes[:landed], landing)
        if len(indexes) > landed:
            lacked.append(indexes[landed])
            raise NotFound("it is not here")

    fleet.network.latency = SLOW
    data = fleet.data(100 * PIECE)
    seed, poor = fleet.node("seed"), fleet.node("poor")
    fleet.share(seed, "image", data)
    fleet.settle(fleet.get(poor, "image"))
    leech = fleet.node("leech", dialer=FaultyDialer(fleet.network, {"poor:1": lack}))
    entry = fleet.get(leech, "image")
    fleet.settle(entry)
    assert fleet.content(leech, entry) == data
    assert entry.downloaded == len(data), "nothing was fetched twice"
    assert lacked
    assert (entry.received_from["poor:1"] > 0) == bool(landed)
    assert leech._transfers._rooms.lent == 0


def test_who_lacks_what_nobody_wants_any_more_is_not_blamed_for_another_piece(fleet):
    asked = []
    answers = Deferred()

    async def wait(link, torrent, indexes, landing):
        if len(indexes) > 1 and not asked:
            asked.append(indexes)
            await answers
            raise NotFound("it is not here")
        await link.fetch(torrent, indexes, landing)

    fleet.network.latency = SLOW
    fleet.share(fleet.node("seed"), "image", fleet.data(100 * PIECE))
    leech = fleet.node("leech", dialer=FaultyDialer(fleet.network, {"seed:1": wait}))
    entry = fleet.get(leech, "image")
    fleet.until(lambda: asked)
    download = leech._transfers.get(entry)
    first, second = asked[0][:2]
    download._drop(download.transfer.filled(first))
    entry.got(first)
    answers.callback(None)
    assert download.transfer.availability(first) == download.transfer.availability(second) == 1
    fleet.until(lambda: second in entry.held)
    download.stop()


def test_a_holder_that_breaks_off_midway_costs_what_had_not_landed_only(fleet):
    broken = []

    async def break_off(link, torrent, indexes, landing):
        await link.fetch(torrent, indexes[:1], landing)
        if len(indexes) > 1:
            broken.append(indexes)
            landing.room(indexes[1])
            landing.received(indexes[1], 1)
            raise Unavailable("the connection broke")

    fleet.network.latency = SLOW
    data = fleet.data(100 * PIECE)
    seed, flaky = fleet.node("seed"), fleet.node("flaky")
    fleet.share(seed, "image", data)
    fleet.settle(fleet.get(flaky, "image"))
    leech = fleet.node("leech", dialer=FaultyDialer(fleet.network, {"flaky:1": break_off}))
    entry = fleet.get(leech, "image")
    fleet.settle(entry)
    assert broken
    assert fleet.content(leech, entry) == data
    assert entry.downloaded == len(data)
    assert leech._transfers._rooms.lent == 0


def watch_fetches(fleet, leech_name, address, fault):
    """A leech that fetches from one address through `fault`, and its entry."""
    leech = fleet.node(leech_name, dialer=FaultyDialer(fleet.network, {address: fault}))
    return leech, fleet.get(leech, "image")


def test_who_gives_fewer_pieces_than_asked_for_is_asked_for_the_rest_at_once(fleet):
    asked = []

    async def give_one(link, torrent, indexes, landing):
        asked.append(list(indexes))
        await link.fetch(torrent, indexes[:1], landing)

    fleet.network.latency = SLOW
    data = fleet.data(70 * PIECE)
    fleet.share(fleet.node("seed"), "image", data)
    leech, entry = watch_fetches(fleet, "leech", "seed:1", give_one)
    fleet.until(lambda: entry.held.count > 20)
    [facts] = leech._transfers.get(entry).transfer.peers()
    assert (facts.failures, facts.backing_off_until, facts.pieces_held) == (0, None, 70)
    fleet.settle(entry)
    assert fleet.content(leech, entry) == data
    assert any(len(indexes) > 1 for indexes in asked)
    assert sorted(first for first, *_ in asked) == list(range(70)), "nothing was fetched twice"
    assert entry.downloaded == len(data)
    assert leech._transfers._rooms.lent == leech._transfers._rooms.planned == 0


def test_who_is_busy_is_left_alone_for_a_moment_and_others_are_asked_at_once(fleet):
    tries = []

    async def be_busy(link, torrent, indexes, landing):
        tries.append(fleet.clock.seconds())
        raise Busy("too many others")

    fleet.network.latency = SLOW
    data = fleet.data(40 * PIECE)
    seed, other = fleet.node("seed"), fleet.node("other")
    fleet.share(seed, "image", data)
    fleet.settle(fleet.get(other, "image"))
    leech, entry = watch_fetches(fleet, "leech", "other:1", be_busy)
    fleet.until(lambda: entry.held.count > 20)
    facts = {one.peer: one for one in leech._transfers.get(entry).transfer.peers()}
    assert facts["other:1"].failures == 0
    assert not facts["other:1"].banned
    assert facts["other:1"].pieces_held == 40, "it has them all the same"
    fleet.settle(entry)
    assert fleet.content(leech, entry) == data
    waits = [after - before for before, after in pairwise(tries)]
    assert len(waits) > 3
    assert all(0.12 < wait < 0.5 for wait in waits), "each time as long, with jitter"
    assert entry.downloaded == entry.received_from["seed:1"] == len(data)


def test_the_only_holder_is_asked_again_until_it_is_free(fleet):
    tries = []

    async def be_busy_at_first(link, torrent, indexes, landing):
        tries.append(list(indexes))
        if len(tries) <= 12:
            raise Busy("too many others")
        await link.fetch(torrent, indexes, landing)

    data = fleet.data(3 * PIECE)
    fleet.share(fleet.node("seed"), "image", data)
    began = fleet.clock.seconds()
    leech, entry = watch_fetches(fleet, "leech", "seed:1", be_busy_at_first)
    fleet.settle(entry)
    assert fleet.content(leech, entry) == data
    assert len(tries) == 12 + 3
    assert fleet.clock.seconds() - began < 12 * 0.3 + 1, "it never backed off for longer"


def test_what_a_seed_sends_somebody_is_told_to_the_others(fleet):
    seed = fleet.node("seed")
    shared = fleet.share(seed, "image", fleet.data(60 * PIECE))
    told = []

    class Told:
        def has(self, index):
            raise AssertionError("a seed has all from the start")

        def promised(self, index):
            told.append(index)

        def gone(self):
            pass

    unwatch = shared.watch(Told())
    entries = [fleet.get(fleet.node(f"leech{n}"), "image") for n in range(2)]
    fleet.settle(*entries)
    unwatch()
    assert sorted(told) == sorted(set(told)), "each piece once"
    assert sorted(shared.promised) == sorted(told)
    assert entries[0].promised == {}, "who is not complete promises nothing"
    assert shared.uploaded < 1.5 * 60 * PIECE


def test_equal_pieces_of_two_releases_travel_once(fleet):
    first = fleet.data(40 * PIECE)
    second = first[: 8 * PIECE] + fleet.data(4 * PIECE) + first[12 * PIECE :]
    seed, leech = fleet.node("seed"), fleet.node("leech")
    fleet.share(seed, "one", first)
    fleet.settle(fleet.get(leech, "one"))
    shared = fleet.share(seed, "two", second)
    entry = fleet.get(leech, "two")
    fleet.settle(entry)
    assert fleet.content(leech, entry) == second
    assert shared.uploaded + fleet_sent(seed, "one") == len(first) + 4 * PIECE
    assert entry.downloaded == 4 * PIECE
    assert entry.reused == 36 * PIECE


def fleet_sent(node, filename):
    return node.library.named(filename).uploaded


def test_pieces_that_are_alike_within_a_torrent_travel_once(fleet):
    data = fleet.data(PIECE) * 10
    seed, leech = fleet.node("seed"), fleet.node("leech")
    fleet.share(seed, "image", data)
    entry = fleet.get(leech, "image")
    fleet.settle(entry)
    assert fleet.content(leech, entry) == data
    assert entry.downloaded == PIECE


def test_a_destination_with_the_same_content_is_taken_as_it_is(fleet):
    data = fleet.data(5 * PIECE)
    fleet.share(fleet.node("seed"), "image", data)
    leech = fleet.node("leech")
    path = leech._with.store.begin(fleet.tracker._catalog.named("image").torrent, "").path
    fleet.disks["leech"].published[path] = data
    entry = fleet.get(leech, "image")
    fleet.settle(entry)
    assert entry.state is State.COMPLETE
    assert entry.downloaded == 0


def test_a_taken_destination_is_only_replaced_if_asked(fleet):
    old, new = fleet.data(5 * PIECE), fleet.data(5 * PIECE)
    fleet.share(fleet.node("seed"), "image", new[:PIECE] + old[PIECE:])
    leech = fleet.node("leech")
    path = leech._with.store.begin(fleet.tracker._catalog.named("image").torrent, "").path
    fleet.disks["leech"].published[path] = old
    entry = fleet.get(leech, "image")
    fleet.settle(entry)
    assert entry.state is State.FAILED
    assert "already exists" in entry.error
    assert fleet.disks["leech"].published[path] == old
    entry = fleet.get(leech, "image", replace=True)
    fleet.settle(entry)
    assert entry.state is State.COMPLETE
    assert entry.downloaded == PIECE, "what is equal in the old version is reused"


def test_a_download_to_another_place_conflicts_with_the_first(fleet):
    fleet.share(fleet.node("seed"), "image", fleet.data(PIECE))
    leech = fleet.node("leech")
    fleet.settle(fleet.get(leech, "image"))
    with pytest.raises(Conflict, match="already at"):
        fleet.get(leech, "image", destination="elsewhere")


def test_a_full_disk_fails_that_download_only(fleet):
    seed = fleet.node("seed")
    fleet.share(seed, "large", fleet.data(20 * PIECE))
    fleet.share(seed, "small", fleet.data(PIECE))
    leech = fleet.node("leech")
    fleet.disks["leech"].capacity = 10 * PIECE
    large, small = fleet.get(leech, "large"), fleet.get(leech, "small")
    fleet.settle(large, small)
    assert large.state is State.FAILED
    assert "bytes free" in large.error
    assert small.state is State.COMPLETE


def test_a_share_that_changed_is_not_served_and_marked_damaged(fleet):
    seed = fleet.node("seed")
    data = fleet.data(5 * PIECE)
    shared = fleet.share(seed, "image", data)
    fleet.disks["seed"].published[shared.content.path] = data[:-1] + b"x"
    with pytest.raises(NotFound, match="damaged"):
        seed.open(shared, 0, 0, 10)
    assert shared.state is State.FAILED
    assert shared.error.startswith("damaged: ")
    fleet.advance(1)
    assert fleet.tracker.holders(shared.torrent.piece_ids[0]) == []


def test_what_changed_is_found_damaged_by_two_readers_at_once(fleet):
    seed = fleet.node("seed")
    shared = fleet.share(seed, "image", fleet.data(2 * PIECE))
    seed.entries.damaged(shared, "the first to notice")
    seed.entries.damaged(shared, "the second")
    assert shared.error == "damaged: the first to notice"


def test_a_share_that_was_touched_or_moved_is_shared_as_it_is_now(fleet):
    seed = fleet.node("seed")
    data = fleet.data(2 * PIECE)
    shared = fleet.share(seed, "image", data)
    moved = shared.content.path.with_name("elsewhere")
    fleet.disks["seed"].published[moved] = fleet.disks["seed"].published.pop(shared.content.path)
    assert fleet.done(seed.share(moved, "image")) is shared
    assert shared.content.path == moved
    entry = fleet.get(fleet.node("leech"), "image")
    fleet.settle(entry)
    assert entry.state is State.COMPLETE


def test_a_download_whose_file_was_deleted_is_begun_anew(fleet):
    data = fleet.data(2 * PIECE)
    fleet.share(fleet.node("seed"), "image", data)
    leech = fleet.node("leech")
    first = fleet.get(leech, "image")
    fleet.settle(first)
    del fleet.disks["leech"].published[first.content.path]
    entry = fleet.get(leech, "image")
    fleet.settle(entry)
    assert entry.state is State.COMPLETE
    assert fleet.content(leech, entry) == data


def test_nothing_is_published_while_a_copy_of_a_piece_is_being_written(fleet):
    fleet.share(fleet.node("seed"), "image", fleet.data(3 * PIECE))
    leech = fleet.node("leech")
    entry = fleet.get(leech, "image")
    fleet.until(lambda: leech._transfers.get(entry) is not None)
    download = leech._transfers.get(entry)
    download._busy += 1  # as an endgame copy that has arrived and is in its thread
    fleet.until(lambda: entry.held.complete)
    fleet.advance(1)
    assert entry.state is State.DOWNLOADING
    download._busy -= 1
    download._idling.pop().callback(None)
    assert entry.state is State.COMPLETE
