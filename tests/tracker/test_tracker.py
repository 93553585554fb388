"""The tracker as its frontends see it."""

import random

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs

from p2pd.errors import Denied, Invalid, NotFound, Unavailable
from p2pd.metainfo.bitfield import Bitfield
from p2pd.metainfo.ids import Address, InfoHash, NodeId, PieceId, Zone
from p2pd.metainfo.origin import Described
from p2pd.metainfo.torrent import Torrent
from p2pd.protocol.announcement import Announcement, Event, PeerRef
from p2pd.store.tracker_tables import MemoryCatalog
from p2pd.tracker.access import Access
from p2pd.tracker.peer_table import CompactTable
from p2pd.tracker.ports import Limits, NameRow, TorrentRow
from p2pd.tracker.tracker import Tracker
from tests.samples import PIECE, torrent

A, B, C = (NodeId(name) for name in "abc")
SAMPLE = torrent("a.bin", 4)


def address(node):
    return Address(f"{node}.test:1")


def holding(node, *indexes, sample=SAMPLE, **fields):
    held = Bitfield(sample.piece_count)
    for index in indexes:
        held.add(index)
    return Announcement(node_id=node, infohash=sample.infohash, bitfield=held.to_bytes(), **fields)


def seeding(node, sample=SAMPLE, **fields):
    return holding(node, *range(sample.piece_count), sample=sample, **fields)


class Origin:
    """An origin that answers when told to."""

    def __init__(self):
        self.asked = []

    async def describe(self, name):
        answer = Deferred()
        self.asked.append((name, answer))
        return await answer


@pytest.fixture
def clock():
    clock = Clock()
    clock.advance(1_000_000)
    return clock


@pytest.fixture
def table():
    return MemoryCatalog()


@pytest.fixture
def make(clock, table):
    made = []

    def start(**options):
        tracker = Tracker(clock, table, rng=random.Random(1), **options)
        tracker.startService()
        made.append(tracker)
        return tracker

    yield start
    for tracker in made:
        if tracker.running:
            tracker.stopService()
    assert clock.getDelayedCalls() == []


@pytest.fixture
def known(make):
    """A tracker that knows SAMPLE, started without waiting."""
    tracker = make()
    Deferred.fromCoroutine(tracker.publish(SAMPLE.to_bytes()))
    return tracker


def beat(tracker, *nodes):
    for node in nodes:
        tracker.beat(node, address(node))


def tick(clock, seconds):
    for _ in range(round(seconds)):
        clock.advance(1)


# -- nodes


def test_live_nodes_are_named_and_silent_ones_are_not(known, clock):
    beat(known, A, B)
    known.announce(seeding(A))
    assert known.announce(holding(B)).peers == (PeerRef(A, address(A), complete=True),)
    tick(clock, 5)
    beat(known, B)
    tick(clock, 5.5)
    clock.advance(0.1)
    assert known.announce(holding(B)).peers == ()
    assert known.holders(SAMPLE.piece_ids[0]) == []


def test_nodes_of_the_same_zone_are_named_first(known, clock):
    crowd = [NodeId(f"node-{number}") for number in range(200)]
    here, there = Zone("here"), Zone("there")
    beat(known, A, *crowd)
    for number, node in enumerate(crowd):
        known.announce(holding(node, 0, zone=there if number % 2 else here))
    told = [peer.zone for peer in known.announce(holding(A, zone=here)).peers]
    assert told == [here] * 37 + [there] * 13
    told = [peer.zone for peer in known.announce(holding(A)).peers]
    assert 10 < told.count(here) < 40
    tick(clock, 9)
    beat(known, A, *crowd[:2])
    tick(clock, 5)
    told = known.announce(holding(A, zone=here)).peers
    assert [(peer.node_id, peer.zone) for peer in told] == [(crowd[0], here), (crowd[1], there)]


def test_a_returning_node_has_its_pieces_back(known, clock):
    beat(known, A)
    known.announce(holding(A, 1))
    tick(clock, 60)
    assert known.dump().sessions == ()
    assert known.dump().piece_nodes == ((SAMPLE.piece_ids[1].hex(), (A,)),)
    beat(known, A)
    assert known.holders(SAMPLE.piece_ids[1]) == [address(A)]
    beat(known, B)
    assert [peer.node_id for peer in known.announce(holding(B)).peers] == [A]


def test_a_node_silent_for_an_hour_is_forgotten(known, clock):
    beat(known, A)
    known.announce(holding(A, 1))
    known.report(A, PieceId(b"x" * 32), 0.5, "file")
    clock.advance(20)
    clock.advance(3610)
    assert known.dump().piece_nodes == ()


def test_a_node_may_announce_before_its_first_beat(known):
    known.announce(seeding(A))
    assert known.announce(holding(B)).peers == ()
    beat(known, A)
    assert [peer.node_id for peer in known.announce(holding(B)).peers] == [A]


def test_a_node_that_leaves_takes_its_pieces_along(known):
    beat(known, A)
    known.announce(seeding(A))
    known.report(A, PieceId(b"x" * 32), 0.5, "file")
    known.leave(A)
    beat(known, A)
    assert known.dump().piece_nodes == ()
    assert known.announce(holding(B)).peers == ()


def test_a_new_address_is_named_at_once(known):
    beat(known, A)
    known.announce(seeding(A))
    known.beat(A, Address("moved.test:2"))
    assert known.announce(holding(B)).peers[0].address == "moved.test:2"


# -- swarms


def test_nobody_is_named_to_itself(known):
    beat(known, A, B)
    for node in (A, B):
        known.announce(holding(node))
    assert [peer.node_id for peer in known.announce(holding(A)).peers] == [B]


def test_nodes_on_one_machine_are_named_to_each_other(known):
    for port, node in enumerate((A, B), start=1):
        known.beat(node, Address(f"10.0.0.1:{port}"))
        known.announce(holding(node))
    assert [peer.node_id for peer in known.announce(holding(A)).peers] == [B]


def test_a_restarted_node_is_not_named_to_itself(known):
    known.beat(A, Address("10.0.0.1:1"))
    known.announce(seeding(A))
    known.beat(B, Address("10.0.0.1:1"))
    assert known.announce(holding(B)).peers == ()


def test_seeds_hear_of_leeches_only(known):
    beat(known, A, B, C)
    known.announce(seeding(A))
    known.announce(holding(C))
    peers = known.announce(seeding(B)).peers
    assert peers == (PeerRef(C, address(C), complete=False),)


def test_no_more_are_named_than_wanted(known):
    for number in range(100):
        beat(known, NodeId(f"n{number}"))
        known.announce(holding(NodeId(f"n{number}")))
    for wanted, named in ((0, 0), (7, 7), (10**6, 50)):
        assert len(known.announce(holding(A, wanted=wanted)).peers) == named


def test_a_node_that_stops_is_not_named(known):
    beat(known, A)
    known.announce(seeding(A))
    assert known.announce(holding(A, event=Event.STOPPED)).peers == ()
    assert known.announce(holding(B)).peers == ()
    assert known.holders(SAMPLE.piece_ids[0]) == []


def test_intervals_are_jittered(known):
    intervals = [known.announce(holding(A)).interval for _ in range(500)]
    assert 24 <= min(intervals) < 25
    assert 35 < max(intervals) <= 36


@pytest.mark.parametrize("bitfield", [b"", b"\x00\x00", b"\xff"])
def test_a_bitfield_must_fit_its_torrent(known, bitfield):
    beat(known, A)
    with pytest.raises(Invalid, match="bitfield"):
        known.announce(Announcement(A, SAMPLE.infohash, bitfield))
    assert known.dump().piece_nodes == ()


def test_an_unknown_torrent_is_not_found(known):
    with pytest.raises(NotFound, match="publish it first"):
        known.announce(Announcement(A, InfoHash(b"x" * 20), b"\xf0"))


def test_downloads_are_counted_once(known):
    for announcement in (
        holding(A, 0, event=Event.COMPLETED),
        seeding(A),
        seeding(A, event=Event.COMPLETED),
        seeding(A, event=Event.COMPLETED),
        seeding(B, event=Event.COMPLETED),
    ):
        known.announce(announcement)
    assert [view.completed for view in known.files()] == [2]


# -- single pieces


def test_pieces_are_reported_one_by_one(known):
    beat(known, A, B)
    unknown = PieceId(b"x" * 32)
    for node in (A, B):
        known.report(node, unknown, 0.5, "elsewhere")
    known.report(C, unknown, 0.5, "elsewhere")
    assert sorted(known.holders(unknown)) == [address(A), address(B)]
    assert known.holders(PieceId(b"y" * 32)) == []


def test_holders_come_from_reports_and_bitfields_alike(known):
    beat(known, A, B, C)
    piece_id = SAMPLE.piece_ids[2]
    known.report(A, piece_id, 0.5, "a.bin")
    known.announce(holding(A, 2))
    known.announce(holding(B, 1, 2))
    known.announce(holding(C, 1))
    assert sorted(known.holders(piece_id)) == [address(A), address(B)]


async def test_holders_are_found_across_torrents(known):
    other = torrent("other.bin", 6)
    await known.publish(other.to_bytes())
    beat(known, A, B)
    known.announce(holding(A, 1))
    known.announce(holding(B, 1, 5, sample=other))
    assert sorted(known.holders(SAMPLE.piece_ids[1])) == [address(A), address(B)]
    assert known.holders(other.piece_ids[5]) == [address(B)]


@pytest.mark.parametrize("progress", [-0.1, 1.1, float("nan"), float("inf")])
def test_progress_is_a_part_of_one(known, progress):
    with pytest.raises(Invalid, match="progress"):
        known.report(A, PieceId(b"x" * 32), progress, "file")
    assert known.dump().piece_nodes == ()


def test_a_last_report_counts_as_a_download(known):
    known.report(A, SAMPLE.piece_ids[0], 0.5, "a.bin")
    known.report(A, SAMPLE.piece_ids[1], 1, "a.bin")
    known.report(A, SAMPLE.piece_ids[1], 1, "a.bin")
    assert [view.completed for view in known.files()] == [1]


# -- torrents


async def test_a_torrent_is_found_by_name_and_infohash(make):
    tracker = make()
    metainfo = SAMPLE.to_bytes(web_seeds=["http://seed.test/"])
    assert (await tracker.publish(metainfo, "dir/name")).infohash == SAMPLE.infohash
    for name in ("dir/name", SAMPLE.infohash.hex(), SAMPLE.infohash.hex().upper()):
        found = await tracker.resolve(name)
        assert found.torrent.infohash == SAMPLE.infohash
        assert found.filename == "dir/name"
        assert found.web_seeds == ("http://seed.test/",)
    assert tracker.metainfo(SAMPLE.infohash) == metainfo
    assert tracker.torrent(SAMPLE.infohash) == found.torrent
    with pytest.raises(NotFound):
        await tracker.resolve("a.bin")


async def test_the_newest_publication_wins_the_name(known):
    new = torrent("a.bin", 4, seed=2)
    await known.publish(new.to_bytes())
    assert (await known.resolve("a.bin")).torrent == new
    assert (await known.resolve(SAMPLE.infohash.hex())).torrent == SAMPLE
    await known.publish(SAMPLE.to_bytes())
    assert (await known.resolve("a.bin")).torrent == SAMPLE


async def test_an_infohash_goes_before_a_name_that_looks_like_one(known):
    await known.publish(torrent("x", seed=5).to_bytes(), SAMPLE.infohash.hex())
    assert (await known.resolve(SAMPLE.infohash.hex())).torrent == SAMPLE


@pytest.mark.parametrize("filename", ["", "../up", "/abs", "a//b", "nul\0", "x" * 300])
async def test_unsafe_names_are_refused(make, filename):
    tracker = make()
    with pytest.raises(Invalid):
        await tracker.publish(SAMPLE.to_bytes(), filename)
    assert tracker.files() == []


async def test_bad_metainfo_is_refused(make):
    tracker = make()
    for metainfo in (b"", b"de", b"not bencode", SAMPLE.to_bytes() + b"x"):
        with pytest.raises(Invalid):
            await tracker.publish(metainfo)
    assert tracker.files() == []


async def test_the_catalog_survives_a_restart(make, table):
    first = make()
    await first.publish(SAMPLE.to_bytes(web_seeds=["http://seed.test/"]), "one")
    new = torrent("a.bin", 4, seed=2)
    await first.publish(new.to_bytes(), "one")
    first.stopService()
    second = make()
    assert (await second.resolve("one")).torrent == new
    assert (await second.resolve(SAMPLE.infohash.hex())).web_seeds == ("http://seed.test/",)
    beat(second, A)
    second.announce(seeding(A))
    assert second.holders(SAMPLE.piece_ids[0]) == [address(A)]


class SlowTable(MemoryCatalog):
    def __init__(self):
        super().__init__()
        self.ready = Deferred()

    async def load(self):
        await self.ready
        return await super().load()


async def test_until_the_catalog_is_loaded_it_is_unavailable(clock):
    table = SlowTable()
    tracker = Tracker(clock, table)
    tracker.startService()
    for refused in (
        lambda: tracker.announce(holding(A)),
        lambda: tracker.metainfo(SAMPLE.infohash),
        lambda: tracker.torrent(SAMPLE.infohash),
    ):
        with pytest.raises(Unavailable, match="loading"):
            refused()
    for refused in (tracker.publish(SAMPLE.to_bytes()), tracker.resolve("a.bin")):
        with pytest.raises(Unavailable, match="loading"):
            await refused
    beat(tracker, A)
    table.ready.callback(None)
    await tracker.loaded
    await tracker.publish(SAMPLE.to_bytes())
    await tracker.stopService()


async def test_until_the_lists_are_loaded_it_is_unavailable(make):
    loaded = []
    access = Access(mode="whitelist", clock=Clock().seconds)
    tracker = make(access=access, admitting=lambda: bool(loaded))
    for refused in (
        lambda: tracker.announce(seeding(A)),
        lambda: tracker.report(A, SAMPLE.piece_ids[0], 1.0, "a.bin"),
        lambda: tracker.torrent(SAMPLE.infohash),
    ):
        with pytest.raises(Unavailable, match="loading"):
            refused()
    with pytest.raises(Unavailable, match="loading"):
        await tracker.publish(SAMPLE.to_bytes())
    beat(tracker, A)
    access.lists["whitelist"].load([SAMPLE.infohash])
    loaded.append(True)
    await tracker.publish(SAMPLE.to_bytes())
    assert tracker.announce(seeding(A)).peers == ()


async def test_a_table_that_cannot_be_loaded_is_told_of(clock):
    table = SlowTable()
    tracker = Tracker(clock, table)
    tracker.startService()
    table.ready.errback(Unavailable("locked"))
    with pytest.raises(Unavailable, match="locked"):
        await tracker.loaded
    await tracker.stopService()


async def test_a_damaged_row_does_not_hide_the_others(make, table):
    await table.put(
        TorrentRow(InfoHash(b"x" * 20), b"damaged", (), 0),
        NameRow("gone", InfoHash(b"x" * 20), from_origin=False),
    )
    await table.put(
        TorrentRow(SAMPLE.infohash, SAMPLE.to_bytes(), (), 0),
        NameRow("kept", SAMPLE.infohash, from_origin=False),
    )
    with capturedLogs() as logs:
        tracker = make()
    assert [view.filename for view in tracker.files()] == ["kept"]
    assert [event["infohash"] for event in logs] == [(b"x" * 20).hex()]


class BrokenTable(MemoryCatalog):
    broken = False

    async def put(self, torrent, name):
        if self.broken:
            raise Unavailable("disk full")
        await super().put(torrent, name)


async def test_what_the_table_refuses_is_not_published(clock):
    table = BrokenTable()
    tracker = Tracker(clock, table)
    tracker.startService()
    table.broken = True
    with pytest.raises(Unavailable, match="disk full"):
        await tracker.publish(SAMPLE.to_bytes())
    assert tracker.files() == []
    table.broken = False
    await tracker.publish(SAMPLE.to_bytes())
    await tracker.stopService()


async def test_publishing_again_writes_nothing(clock):
    table = BrokenTable()
    tracker = Tracker(clock, table)
    tracker.startService()
    await tracker.publish(SAMPLE.to_bytes())
    table.broken = True
    await tracker.publish(SAMPLE.to_bytes())
    await tracker.stopService()


async def test_a_full_catalog_drops_what_nobody_can_name_or_has(make, table):
    tracker = make(limits=Limits(torrents=2))
    samples = [torrent("a", seed=seed) for seed in range(4)]
    for sample in samples[:2]:
        await tracker.publish(sample.to_bytes())
    tracker.announce(seeding(A, samples[0]))
    await tracker.publish(samples[2].to_bytes())
    await tracker.resolve(samples[0].infohash.hex())
    with pytest.raises(NotFound):
        await tracker.resolve(samples[1].infohash.hex())
    assert len((await table.load())[0]) == 2
    with pytest.raises(Unavailable, match="full"):
        await tracker.publish(samples[3].to_bytes(), "another")


async def test_memory_is_bounded(make):
    tracker = make(limits=Limits(nodes=2, reports=4, held_bytes=500))
    await tracker.publish(SAMPLE.to_bytes())
    beat(tracker, A, B)
    with pytest.raises(Unavailable):
        beat(tracker, C)
    tracker.announce(seeding(A))
    with pytest.raises(Unavailable):
        tracker.announce(seeding(B))
    tracker.report(A, PieceId(b"x" * 32), 0.5, "f")
    tracker.report(A, PieceId(b"y" * 32), 0.5, "f")
    with pytest.raises(Unavailable):
        tracker.report(B, PieceId(b"x" * 32), 0.5, "f")


async def test_long_metainfo_is_read_in_a_thread(make):
    calls = []

    async def threads(call, *args):
        calls.append(call)
        return call(*args)

    tracker = make(threads=threads)
    await tracker.publish(SAMPLE.to_bytes())
    assert not calls
    await tracker.publish(SAMPLE.to_bytes(web_seeds=[f"http://x/{'y' * 2000}"] * 200))
    assert len(calls) == 1


# -- the origin


def described(sample):
    return Described(sample, f"http://origin.test/{sample.name}")


async def test_the_origin_is_asked_once_for_all_who_wait(make):
    origin = Origin()
    tracker = make(origin=origin)
    waiting = [Deferred.fromCoroutine(tracker.resolve("a.bin")) for _ in range(3)]
    waiting[1].cancel()
    waiting[1].addErrback(lambda _: None)
    [(name, answer)] = origin.asked
    assert name == "a.bin"
    answer.callback(described(SAMPLE))
    for each in (waiting[0], waiting[2]):
        found = await each
        assert found.torrent == SAMPLE
        assert found.web_seeds == ("http://origin.test/a.bin",)


async def test_a_failing_origin_fails_all_who_wait_and_is_asked_again(make):
    origin = Origin()
    tracker = make(origin=origin)
    for refusal in (NotFound("no such file"), Unavailable("down"), Invalid("bad")):
        waiting = [Deferred.fromCoroutine(tracker.resolve("a.bin")) for _ in range(2)]
        origin.asked.pop()[1].errback(refusal)
        assert origin.asked == []
        for each in waiting:
            with pytest.raises(type(refusal), match=refusal.reason):
                await each


async def test_a_file_that_changed_at_the_origin_is_a_new_torrent(make):
    origin = Origin()
    tracker = make(origin=origin)
    new = torrent("a.bin", 4, seed=2)
    for sample in (SAMPLE, new):
        waiting = Deferred.fromCoroutine(tracker.resolve("a.bin"))
        origin.asked.pop()[1].callback(described(sample))
        assert (await waiting).torrent == sample
    assert (await tracker.resolve(SAMPLE.infohash.hex())).torrent == SAMPLE


async def test_what_the_origin_lost_can_still_be_had(make):
    origin = Origin()
    tracker = make(origin=origin)
    waiting = Deferred.fromCoroutine(tracker.resolve("a.bin"))
    origin.asked.pop()[1].callback(described(SAMPLE))
    await waiting
    waiting = Deferred.fromCoroutine(tracker.resolve("a.bin"))
    origin.asked.pop()[1].errback(NotFound("gone"))
    assert (await waiting).torrent == SAMPLE


async def test_what_is_published_goes_before_the_origin(make):
    origin = Origin()
    tracker = make(origin=origin)
    await tracker.publish(SAMPLE.to_bytes())
    assert (await tracker.resolve("a.bin")).torrent == SAMPLE
    assert origin.asked == []


async def test_not_too_much_is_asked_of_the_origin(make):
    origin = Origin()
    tracker = make(origin=origin)
    waiting = [Deferred.fromCoroutine(tracker.resolve(f"{at}")) for at in range(100)]
    with pytest.raises(Unavailable, match="too many"):
        await tracker.resolve("one more")
    for _, answer in origin.asked:
        answer.errback(NotFound("none"))
    for each in waiting:
        each.addErrback(lambda failure: failure.trap(NotFound))


# -- views


def test_the_dump_has_all_in_pairs(known, clock):
    beat(known, A)
    known.announce(holding(A, 0, 3))
    known.report(B, PieceId(b"x" * 32), 0.5, "f")
    view = known.dump()
    assert view.sessions == ((A, int(clock.seconds() * 1000)),)
    assert view.nodes == ((A, address(A)),)
    assert dict(view.piece_nodes) == {
        (b"x" * 32).hex(): (B,),
        SAMPLE.piece_ids[0].hex(): (A,),
        SAMPLE.piece_ids[3].hex(): (A,),
    }
    assert [(piece.offset, piece.size) for piece in view.pieces] == [
        (0, PIECE),
        (PIECE, PIECE),
        (2 * PIECE, PIECE),
        (3 * PIECE, PIECE - 7),
    ]
    assert {piece.filename for piece in view.pieces} == {"a.bin"}


async def test_a_dump_that_would_take_long_is_refused(make):
    tracker = make()
    large = torrent("large", 5000)
    await tracker.publish(large.to_bytes())
    for number in range(100):
        tracker.announce(seeding(NodeId(f"n{number}"), large))
    with pytest.raises(Unavailable, match="505000 facts are too many"):
        tracker.dump()


def test_files_are_listed_with_their_swarms(known):
    beat(known, A, B)
    known.announce(seeding(A))
    known.announce(holding(B))
    known.announce(holding(C))
    [view] = known.files()
    assert (view.filename, view.infohash) == ("a.bin", SAMPLE.infohash)
    assert (view.size, view.pieces, view.piece_length) == (4 * PIECE - 7, 4, PIECE)
    assert (view.seeds, view.leeches, view.completed) == (1, 1, 0)


def test_each_start_has_its_own_instance(clock, table):
    assert len({Tracker(clock, table).instance for _ in range(5)}) == 5


# -- one swarm for nodes and BitTorrent clients


CLIENT = bytes([10, 0, 0, 1, 0x1A, 0xE1])


@pytest.fixture
def clients(clock):
    return CompactTable(lifetime=2700.0, now=clock.seconds(), rng=random.Random(1))


def client(clients, *, left=0, event=0, infohash=SAMPLE.infohash):
    return clients.announce(infohash, CLIENT, b"-XX0001-" + b"x" * 12, left, 0, 0, event, 50)


async def test_nodes_and_clients_are_counted_together(make, clients):
    tracker = make(clients=clients)
    await tracker.publish(SAMPLE.to_bytes())
    beat(tracker, A, B)
    tracker.announce(seeding(A, event=Event.COMPLETED))
    tracker.announce(holding(B, 1))
    assert client(clients, left=5)[:3] == (1, 2, 1)
    assert client(clients, event=1)[:3] == (2, 1, 2)
    (view,) = tracker.files()
    assert (view.seeds, view.leeches, view.completed) == (2, 1, 2)
    tracker.leave(A)
    assert clients.scrape(SAMPLE.infohash) == (1, 2, 1)


async def test_clients_get_a_torrent_with_live_nodes_as_web_seeds(make):
    tracker = make()
    await tracker.publish(SAMPLE.to_bytes(trackers=[["http://elsewhere/announce"]]))
    beat(tracker, A, B)
    tracker.announce(seeding(A))
    tracker.announce(seeding(C))
    tracker.announce(holding(B, 1))
    read = Torrent.from_bytes(tracker.metainfo_for_clients(SAMPLE.infohash, "http://t/announce"))
    assert read.infohash == SAMPLE.infohash
    assert read.trackers == (("http://t/announce",),)
    assert read.web_seeds == (f"http://{address(A)}/files/{SAMPLE.infohash.hex()}/",)


@pytest.mark.parametrize("mode", ["whitelist", "blacklist"])
async def test_lists_govern_what_nodes_share(make, clock, mode):
    access = Access(mode=mode, require_keys=False, users=False, clock=clock.seconds)
    tracker = make(access=access)
    permit, forbid = (
        (access.lists[mode].put, access.lists[mode].remove)
        if mode == "whitelist"
        else (access.lists[mode].remove, access.lists[mode].put)
    )
    permit(SAMPLE.infohash)
    await tracker.publish(SAMPLE.to_bytes())
    beat(tracker, A, B)
    tracker.announce(seeding(A))
    tracker.report(B, SAMPLE.piece_ids[0], 0.25, "a.bin")
    forbid(SAMPLE.infohash)
    for refused in (
        lambda: tracker.announce(seeding(B)),
        lambda: tracker.report(B, SAMPLE.piece_ids[0], 0.5, "a.bin"),
        lambda: tracker.torrent(SAMPLE.infohash),
        lambda: tracker.metainfo(SAMPLE.infohash),
        lambda: tracker.metainfo_for_clients(SAMPLE.infohash, "http://t/announce"),
    ):
        with pytest.raises(Denied, match="info_hash"):
            refused()
    for refused in (tracker.publish(SAMPLE.to_bytes()), tracker.resolve("a.bin")):
        with pytest.raises(Denied, match="info_hash"):
            await refused
    assert tracker.holders(SAMPLE.piece_ids[0]) == []
    beat(tracker, C)
    permit(SAMPLE.infohash)
    tracker.announce(seeding(C))
    forbid(SAMPLE.infohash)
    assert tracker.announce(seeding(C, event=Event.STOPPED)).peers == ()
    permit(SAMPLE.infohash)
    assert tracker.announce(holding(B, 0)).peers == (PeerRef(A, address(A), complete=True),)
    assert tracker.holders(SAMPLE.piece_ids[0]) != []


# -- names that somebody is going to publish


URL = "http://origin.test/files/image.iso?version=2"


def test_a_name_is_claimed_by_one_node_as_long_as_it_says_so(make, clock):
    tracker = make(heartbeat_timeout=10.0)
    assert tracker.claim(URL, A)
    assert not tracker.claim(URL, B)
    for _ in range(5):
        clock.advance(3)
        assert tracker.claim(URL, A)
    assert not tracker.claim(URL, B)
    clock.advance(11)
    assert tracker.claim(URL, B)
    assert not tracker.claim(URL, A)


def test_a_claim_goes_with_its_node_or_when_it_is_released(make):
    tracker = make()
    tracker.claim(URL, A)
    tracker.release(URL, B)
    assert not tracker.claim(URL, B), "it was not B's to release"
    tracker.release(URL, A)
    assert tracker.claim(URL, B)
    tracker.leave(B)
    assert tracker.claim(URL, A)


def test_claims_are_bounded(make, clock):
    tracker = make(limits=Limits(claims=2))
    assert tracker.claim("a", A)
    assert tracker.claim("b", A)
    with pytest.raises(Unavailable):
        tracker.claim("c", B)
    assert tracker.claim("a", A), "what is held can be renewed"
    clock.advance(11)
    assert tracker.claim("c", B)
    for name in ("", "a" * 5000):
        with pytest.raises(Invalid):
            tracker.claim(name, A)


async def test_a_file_can_be_published_under_the_url_that_it_is_from(make):
    origin = Origin()
    tracker = make(origin=origin)
    with pytest.raises(NotFound):
        await tracker.resolve(URL)
    await tracker.publish(SAMPLE.to_bytes(), URL)
    assert (await tracker.resolve(URL)).torrent == SAMPLE
    assert origin.asked == []
    for name in (
        "http://",
        "http://a b/",
        "ftp://a.test/b",
        "http://a.test/\n",
        "https://" + "a" * 5000,
    ):
        with pytest.raises(Invalid):
            await tracker.publish(SAMPLE.to_bytes(), name)
