"""The contract of `PeerTable`, run against the table in Python and the compiled one."""

import random
import struct
from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from p2pd.errors import Invalid
from p2pd.tracker.peer_table import CompactTable
from p2pd.tracker.records import COMPLETED, LARGEST, NONE, PAUSED, STARTED, STOPPED, SwarmRecord

try:
    from p2pd.frontends._compiled import CompiledTable
except ImportError:
    TWINS = [CompactTable]
else:
    TWINS = [CompactTable, CompiledTable]

LIFETIME = 160.0  # so that a tick is a second
NOW = 1_700_000_000.0
ONE, TWO, THREE = (bytes([number]) * 20 for number in (1, 2, 3))


def address(number, family=4):
    host = number.to_bytes(4, "big") if family == 4 else b"\x20\x01" + number.to_bytes(14, "big")
    return host + (1 + number % 65535).to_bytes(2, "big")


def peer_id(number):
    return b"-XX0001-" + number.to_bytes(12, "big")


def cut(peers, family=4):
    width = 6 if family == 4 else 18
    assert len(peers) % width == 0
    return [peers[at : at + width] for at in range(0, len(peers), width)]


class Told:
    """What a client is told."""

    def __init__(self, answer, family):
        self.complete, self.incomplete, self.downloaded, peers = answer
        assert isinstance(peers, bytes)
        self.peers = cut(peers, family)
        self.counts = (self.complete, self.incomplete, self.downloaded)


@pytest.fixture(params=TWINS, ids=lambda twin: twin.__name__)
def make(request):
    def made(**options):
        defaults = {"lifetime": LIFETIME, "now": NOW, "rng": random.Random(5)}
        return request.param(**{**defaults, **options})

    return made


@pytest.fixture
def table(make):
    return make()


def announce(
    table,
    number,
    *,
    left=0,
    event=NONE,
    wanted=50,
    infohash=ONE,
    family=4,
    own_id=None,
    uploaded=0,
    downloaded=0,
):
    answer = table.announce(
        infohash,
        address(number, family),
        own_id or peer_id(number),
        left,
        uploaded,
        downloaded,
        event,
        wanted,
    )
    return Told(answer, family)


def numbers(peers):
    return {int.from_bytes(peer[:4], "big") for peer in peers}


def sweep(table):
    for _ in range(2):
        table.sweep(1_000_000)


def test_clients_hear_of_each_other_and_not_of_themselves(table):
    assert announce(table, 1, left=5, event=STARTED).peers == []
    assert announce(table, 2, left=5, event=STARTED).peers == [address(1)]
    third = announce(table, 3, event=STARTED)
    assert set(third.peers) == {address(1), address(2)}
    assert third.counts == (1, 2, 0)
    again = announce(table, 1, left=5)
    assert set(again.peers) == {address(2), address(3)}
    assert again.counts == (1, 2, 0)
    assert table.scrape(ONE) == (1, 0, 2)
    assert table.scrape(TWO) == (0, 0, 0)
    assert table.totals() == (1, 1, 2, 0)


@pytest.mark.parametrize("size", [20, 2000])
@pytest.mark.parametrize("event", [NONE, PAUSED])
def test_seeds_and_the_paused_hear_of_leeches_only(table, event, size):
    for number in range(size):
        announce(table, number, left=number % 2, event=STARTED)
    leeches = {number for number in range(size) if number % 2}
    for number in range(20):
        told = announce(table, number, left=number % 2, event=event, wanted=200)
        if number % 2 and event != PAUSED:
            assert numbers(told.peers) - leeches
        else:
            assert numbers(told.peers) <= leeches - {number}
            assert len(told.peers) == min(200, len(leeches - {number}))


def test_nobody_is_named_twice_and_no_more_than_wanted(table):
    for number in range(1500):
        announce(table, number, left=number % 3, event=STARTED)
    for size in (0, 1, 2, 50, 200, 800):
        for number in (1, 2, 1499, 5000):
            told = announce(table, number, left=1, wanted=size)
            assert len(told.peers) == len(set(told.peers)) == size
            assert address(number) not in told.peers
            assert set(told.peers) <= {address(other) for other in (*range(1500), 5000)}


@pytest.mark.parametrize("size", [2, 7, 51, 52, 256, 257])
def test_all_are_named_if_there_are_not_more_than_wanted(table, size):
    for number in range(size):
        announce(table, number, left=1, event=STARTED)
    told = announce(table, 0, left=1, wanted=size - 1)
    assert numbers(told.peers) == set(range(1, size))


@pytest.mark.parametrize("size", [60, 1000])
def test_everybody_is_named_now_and_then(table, size):
    for number in range(size):
        announce(table, number, left=number % 2, event=STARTED)
    named = Counter()
    for _ in range(size * 4):
        named.update(announce(table, 1, left=1, wanted=10).peers)
    assert len(named) == size - 1
    assert max(named.values()) < 300


@pytest.mark.parametrize("size", [10, 600])
def test_a_client_never_hears_of_others_with_its_own_peer_id(table, size):
    own = peer_id(77)
    for number in range(size):
        announce(table, number, left=1, own_id=own if number % 3 == 0 else None, event=STARTED)
    for wanted in (3, 200, 800):
        told = announce(table, 3, left=1, own_id=own, wanted=wanted)
        assert all(number % 3 for number in numbers(told.peers))
        assert told.incomplete == size
        assert announce(table, 1, left=1, wanted=wanted).peers
    unknown = announce(table, 9999, left=1, own_id=own, wanted=200)
    assert all(number % 3 for number in numbers(unknown.peers))


def test_an_address_is_one_client_whatever_its_peer_id(table):
    announce(table, 1, left=1, event=STARTED)
    announce(table, 1, left=1, event=STARTED, own_id=peer_id(9))
    record = table.record(ONE)
    assert [peer.peer_id for peer in record.leeches] == [peer_id(9)]
    announce(table, 2, left=1, own_id=peer_id(9), event=STARTED)
    assert announce(table, 3, left=1, own_id=peer_id(9)).peers == []
    assert len(table.record(ONE).leeches) == 3


def test_addresses_are_compared_whole_wherever_their_bytes_occur(table):
    same = bytes([7]) * 6
    table.announce(ONE, same, peer_id(1), 1, 0, 0, STARTED, 50)
    table.announce(ONE, b"\1" + bytes([7]) * 5, peer_id(2), 1, 0, 0, STARTED, 50)
    table.announce(ONE, bytes([7]) * 5 + b"\2", peer_id(3), 1, 0, 0, STARTED, 50)
    *_, peers = table.announce(ONE, same, peer_id(1), 1, 0, 0, NONE, 50)
    assert set(cut(peers)) == {b"\1" + bytes([7]) * 5, bytes([7]) * 5 + b"\2"}
    assert table.totals() == (1, 0, 3, 0)
    table.announce(ONE, same, peer_id(1), 1, 0, 0, STOPPED, 50)
    assert table.totals() == (1, 0, 2, 0)


def test_one_who_stops_goes_and_hears_of_nobody(table):
    announce(table, 1, left=1, event=STARTED)
    announce(table, 2, left=1, event=STARTED)
    told = announce(table, 2, left=1, event=STOPPED)
    assert told.peers == []
    assert told.counts == (0, 1, 0)
    assert announce(table, 1, left=1).peers == []
    assert announce(table, 3, event=STOPPED).counts == (0, 1, 0)
    assert announce(table, 1, event=STOPPED).counts == (0, 0, 0)
    assert table.totals() == (0, 0, 0, 0)
    assert table.record(ONE) is None
    assert table.changes() == {}


def test_a_completed_download_counts_once_while_a_client_is_known(table):
    announce(table, 1, left=1, event=STARTED)
    assert announce(table, 1, event=COMPLETED).counts == (1, 0, 1)
    assert announce(table, 1, event=COMPLETED).counts == (1, 0, 1)
    assert announce(table, 2, event=STARTED).downloaded == 1
    assert announce(table, 2, event=COMPLETED).downloaded == 1
    assert announce(table, 3, event=COMPLETED).downloaded == 2
    assert announce(table, 4, left=9, event=COMPLETED).downloaded == 2
    assert table.changes() == {ONE: 2}
    assert table.changes() == {}
    assert table.totals() == (1, 3, 1, 2)


def test_a_torrent_goes_with_its_last_client_unless_completed_or_put(table):
    announce(table, 1, left=1, infohash=ONE, event=COMPLETED)
    announce(table, 1, infohash=TWO, event=COMPLETED)
    announce(table, 1, left=1, infohash=THREE)
    table.put(THREE, None)
    assert table.totals() == (3, 1, 2, 1)
    for infohash in (ONE, TWO, THREE):
        announce(table, 1, infohash=infohash, event=STOPPED)
    assert table.record(ONE) is None
    assert table.record(TWO) == SwarmRecord(1)
    assert table.record(THREE) == SwarmRecord(0)
    assert table.totals() == (2, 0, 0, 1)
    assert table.changes() == {TWO: 1, THREE: 0}


def test_put_creates_or_counts_and_leaves_the_clients(table):
    assert table.put(ONE, None) is True
    assert table.put(ONE, None) is False
    assert table.changes() == {ONE: 0}
    announce(table, 1)
    assert table.put(ONE, 7) is False
    assert table.changes() == {ONE: 7}
    assert table.put(ONE, None) is False
    assert table.put(ONE, 7) is False
    assert table.changes() == {}
    assert table.scrape(ONE) == (1, 7, 0)
    announce(table, 1, infohash=TWO)
    assert table.put(TWO, 3) is False
    assert table.totals() == (2, 2, 0, 10)


def test_remove_forgets_all(table):
    announce(table, 1, left=1)
    announce(table, 2, left=0, family=6, event=COMPLETED)
    announce(table, 1, infohash=TWO)
    table.changes()
    assert table.remove(ONE) is True
    assert table.remove(ONE) is False
    assert table.remove(TWO) is True
    assert table.changes() == {ONE: None}
    assert table.totals() == (0, 0, 0, 0)
    assert table.scrape(ONE) == (0, 0, 0)
    assert announce(table, 1, left=1).peers == []


def test_counts_are_loaded_without_being_changes(table):
    announce(table, 1, infohash=TWO)
    table.load([(ONE, 5), (TWO, 0)])
    assert table.changes() == {}
    assert table.scrape(ONE) == (0, 5, 0)
    assert table.totals() == (2, 1, 0, 5)
    table.count(ONE)
    table.count(THREE)
    assert table.changes() == {ONE: 6, THREE: 1}
    assert table.totals() == (3, 1, 0, 7)


def test_what_was_counted_before_the_counts_are_loaded_is_added_to_them(table):
    table.count(ONE)
    announce(table, 1, event=COMPLETED)
    assert table.scrape(ONE) == (1, 2, 0)
    table.load([(ONE, 5), (TWO, 3)])
    assert table.scrape(ONE) == (1, 7, 0)
    assert table.totals() == (2, 1, 0, 10)
    assert table.changes() == {ONE: 7}


def test_a_count_is_never_more_than_the_tables_can_keep(table):
    table.put(ONE, LARGEST - 1)
    for number in range(3):
        announce(table, number, event=COMPLETED)
        table.count(ONE)
    assert table.changes() == {ONE: LARGEST}
    table.load([(ONE, 5)])
    assert table.scrape(ONE) == (3, LARGEST, 0)


def test_both_families_are_counted_together_but_named_apart(table):
    announce(table, 1, left=1, event=STARTED)
    assert announce(table, 2, left=1, family=6, event=STARTED).counts == (0, 2, 0)
    told = announce(table, 3, left=1, family=6, event=STARTED)
    assert told.peers == [address(2, 6)]
    assert told.counts == (0, 3, 0)
    assert announce(table, 1, left=1).counts == (0, 3, 0)
    assert announce(table, 1, left=1).peers == []
    assert table.scrape(ONE) == (0, 0, 3)
    assert table.totals() == (1, 0, 3, 0)
    announce(table, 1, event=STOPPED)
    assert table.totals() == (1, 0, 2, 0)


def test_live_nodes_are_counted_in(table):
    table.nodes = {ONE: (2, 3)}
    assert table.scrape(ONE) == (2, 0, 3)
    assert announce(table, 1, left=1).counts == (2, 4, 0)
    assert announce(table, 1, left=1).counts == (2, 4, 0)
    assert announce(table, 1, infohash=TWO).counts == (1, 0, 0)
    assert table.totals() == (2, 1, 1, 0)


def test_a_record_tells_all(table):
    table.tick(NOW + 3)
    announce(table, 258, left=1000, uploaded=5, downloaded=2**63, event=STARTED)
    table.tick(NOW + 9)
    announce(table, 2, left=7, event=STARTED, family=6)
    announce(table, 2, family=6, event=COMPLETED, downloaded=3)
    record = table.record(ONE)
    assert (record.completed, record.updated) == (1, NOW + 9)
    (leech,), (seed,) = record.leeches, record.seeds
    assert leech.address == "0.0.1.2:259"
    assert leech.peer_id == peer_id(258)
    assert (leech.uploaded, leech.downloaded, leech.left) == (5, 2**63, 1000)
    assert leech.updated == NOW + 3
    assert seed.address == "[2001::2]:3"
    assert (seed.uploaded, seed.downloaded, seed.left) == (0, 3, 0)
    announce(table, 258, left=999, uploaded=6, downloaded=1)
    (leech,) = table.record(ONE).leeches
    assert (leech.uploaded, leech.downloaded, leech.left) == (6, 1, 999)
    assert leech.updated == NOW + 9


@pytest.mark.parametrize("size", [20, 2000])
def test_peer_ids_are_found_by_addresses(table, size):
    for number in range(size):
        announce(table, number, left=number % 2, family=4 + number % 4 // 2 * 2, event=STARTED)
    asked = [(number, family) for number in (size, *range(0, size, 7)) for family in (4, 6)]
    found = table.peer_ids(ONE, [address(number, family) for number, family in asked])
    assert found == [
        peer_id(number) if number < size and family == 4 + number % 4 // 2 * 2 else None
        for number, family in asked
    ]
    assert table.peer_ids(ONE, []) == []
    assert table.peer_ids(TWO, [address(0), address(2, 6)]) == [None, None]
    assert table.totals()[0] == 1


@pytest.mark.parametrize("size", [3, 1200])
def test_the_silent_are_forgotten(table, size):
    for number in range(size):
        announce(table, number, left=number % 2, event=STARTED)
    for second in range(1, 161):
        table.tick(NOW + second)
        if second == 100:
            announce(table, 1, left=1)
            announce(table, 2)
    sweep(table)
    assert sum(table.totals()[1:3]) == size
    table.tick(NOW + 161)
    sweep(table)
    assert table.totals() == (1, 1, 1, 0)
    assert announce(table, 1, left=1).peers == [address(2)]
    table.tick(NOW + 400)
    sweep(table)
    assert table.totals() == (0, 0, 0, 0)


def test_a_circle_reaches_all_a_few_at_a_time(table):
    for number in range(30):
        announce(table, number, infohash=bytes([number]) * 20, family=4 + number % 2 * 2)
    table.tick(NOW + 161)
    for gone in (10, 20, 30):
        table.sweep(10)
        assert table.totals()[0] == 30 - gone


@pytest.mark.parametrize("pause", [97, 250, 256, 300, 5000, 10**9])
def test_nobody_looks_young_again_after_a_standstill(table, pause):
    announce(table, 1)
    table.tick(NOW + 90)
    announce(table, 2, left=1)
    table.tick(NOW + 90 + pause)
    sweep(table)
    alive = announce(table, 3, left=1)
    assert set(alive.peers) == ({address(2)} if pause < 160 else set())


def test_a_clock_that_goes_back_forgets_nobody(table):
    announce(table, 1)
    table.tick(NOW - 1000)
    sweep(table)
    announce(table, 2, left=1)
    table.tick(NOW + 10)
    sweep(table)
    assert table.totals() == (1, 1, 1, 0)


def test_an_address_of_a_snapshot_is_known_after_it(make):
    table = make()
    for number in range(700):
        announce(table, number, left=number % 3, event=STARTED, uploaded=number)
        announce(table, number, left=5, infohash=TWO, family=6, event=STARTED)
    table.tick(NOW + 20)
    announce(table, 1, left=1, uploaded=44)
    portions = list(table.dump())
    assert max(map(len, portions)) <= 1 << 17
    other = make(now=NOW + 30)
    for portion in portions:
        other.restore(portion)
    assert other.totals() == table.totals()
    for infohash in (ONE, TWO):
        mine, theirs = table.record(infohash), other.record(infohash)
        assert set(mine.seeds) == set(theirs.seeds)
        assert set(mine.leeches) == set(theirs.leeches)
        assert mine.updated == theirs.updated


def test_what_is_restored_has_aged(make):
    table = make()
    announce(table, 1)
    table.tick(NOW + 60)
    announce(table, 2, left=1)
    (portion,) = table.dump()
    other = make(now=NOW + 161)
    other.restore(portion)
    assert [peer.peer_id for peer in other.record(ONE).leeches] == [peer_id(2)]
    assert other.totals() == (1, 0, 1, 0)
    other.tick(NOW + 221)
    sweep(other)
    assert other.totals() == (0, 0, 0, 0)
    longer = make(now=NOW + 161, lifetime=1600)
    longer.restore(portion)
    assert longer.totals() == (1, 1, 1, 0)


def test_what_is_known_is_newer_than_a_snapshot(make):
    table = make()
    announce(table, 1, left=10)
    (portion,) = table.dump()
    announce(table, 1, event=COMPLETED)
    announce(table, 2, left=10)
    table.restore(portion)
    table.restore(portion)
    assert table.totals() == (1, 1, 1, 1)
    assert table.record(ONE).seeds[0].left == 0


def test_twins_read_what_the_other_dumped():
    tables = [twin(lifetime=LIFETIME, now=NOW, rng=random.Random(1)) for twin in TWINS]
    for table in tables:
        announce(table, 1, left=10, uploaded=3)
        announce(table, 2, family=6)
        for portion in list(table.dump()):
            for other in tables:
                fresh = type(other)(lifetime=LIFETIME, now=NOW + 1, rng=random.Random(1))
                fresh.restore(portion)
                assert sum(fresh.totals()[1:3]) > 0


def damaged(portion):
    yield b""
    yield b"nothing"
    yield portion[:-1]
    yield portion + b"\0"
    for impossible in (float("nan"), float("inf"), 1e300, -1e300):
        yield struct.pack("<d", impossible) + portion[8:]
        yield portion[:8] + struct.pack("<d", impossible) + portion[16:]
    yield portion[:8] + struct.pack("<d", 0.0) + portion[16:]
    yield portion[:-4] + struct.pack("<f", float("nan"))
    yield portion[:36] + b"\7" + portion[37:]
    yield portion[:37] + b"\0" + portion[38:]
    yield portion[:37] + b"\xff" + portion[38:]


def test_a_damaged_portion_changes_nothing(make):
    table = make()
    announce(table, 1, left=1)
    announce(table, 2, left=1)
    (portion,) = table.dump()
    other = make()
    for bad in damaged(portion):
        with pytest.raises(Invalid):
            other.restore(bad)
        assert other.totals() == (0, 0, 0, 0)
    other.restore(portion)
    assert other.totals() == (1, 0, 2, 0)


def test_beyond_the_bounds_clients_are_answered_but_not_remembered(make):
    table = make(most_peers=3, most_torrents=2)
    announce(table, 1, left=1)
    announce(table, 1, left=1, infohash=TWO)
    assert announce(table, 2, left=1, infohash=THREE).counts == (0, 0, 0)
    announce(table, 2, left=1)
    told = announce(table, 3, event=COMPLETED)
    assert set(told.peers) == {address(1), address(2)}
    assert told.counts == (0, 2, 0)
    assert announce(table, 1, event=COMPLETED).counts == (1, 1, 1)
    assert table.totals() == (2, 1, 2, 1)
    announce(table, 2, left=1, event=STOPPED)
    assert announce(table, 3, left=1).counts == (1, 1, 1)


def test_a_crowd_comes_and_goes(table):
    for number in range(3000):
        announce(table, number, left=number % 2, event=STARTED)
    for number in range(2990):
        announce(table, number, left=number % 2, event=STOPPED)
    assert table.totals() == (1, 5, 5, 0)
    told = announce(table, 2999, left=1)
    assert numbers(told.peers) == set(range(2990, 2999))
    for number in range(2990, 3000):
        announce(table, number, event=STOPPED)
    assert table.totals() == (0, 0, 0, 0)


def test_many_programs_are_told_apart_and_more_do_no_harm(table):
    for number in range(66_000):
        own = number.to_bytes(8, "big") + bytes(12)
        table.announce(ONE, address(1), own, 1, 0, 0, STARTED, 0)
    assert table.record(ONE).leeches[0].peer_id[8:] == bytes(12)
    announce(table, 2, own_id=(5).to_bytes(8, "big") + bytes(12))
    assert table.record(ONE).seeds[0].peer_id == (5).to_bytes(8, "big") + bytes(12)


HASHES = st.sampled_from([ONE, TWO])
CLIENTS = st.tuples(st.integers(0, 12), st.sampled_from([4, 6]))
BYTES = st.integers(0, 1 << 24)


class Model(RuleBasedStateMachine):
    """A table, and dicts that should hold the same."""

    twin: type

    @initialize()
    def begin(self):
        self.now = NOW
        self.table = self.made()
        self.clients = {ONE: {}, TWO: {}}
        self.counts = {}
        self.changed = set()

    def made(self):
        return self.twin(lifetime=LIFETIME, now=self.now, rng=random.Random(1))

    @rule(
        infohash=HASHES,
        client=CLIENTS,
        own=st.integers(0, 6),
        left=st.sampled_from([0, 1, 1000]),
        uploaded=BYTES,
        event=st.sampled_from([NONE, COMPLETED, STARTED, STOPPED, PAUSED]),
        wanted=st.integers(0, 15),
    )
    def announce(self, infohash, client, own, left, uploaded, event, wanted):
        swarm = self.clients[infohash]
        known = swarm.get(client)
        if known and event == NONE:
            own = known[0]
        told = announce(
            self.table,
            client[0],
            infohash=infohash,
            family=client[1],
            own_id=peer_id(own),
            left=left,
            uploaded=uploaded,
            event=event,
            wanted=wanted,
        )
        if event == STOPPED:
            swarm.pop(client, None)
            assert told.peers == []
            return
        if event == COMPLETED and not left and not (known and known[1] == 0):
            self.counts[infohash] = self.counts.get(infohash, 0) + 1
            self.changed.add(infohash)
        swarm[client] = (own, left, uploaded, self.now)
        pool = {
            address(*other)
            for other, (its_id, its_left, *_) in swarm.items()
            if other[1] == client[1] and other != client and its_id != own
            if its_left or (left and event != PAUSED)
        }
        assert len(told.peers) == len(set(told.peers)) == min(wanted, len(pool))
        assert set(told.peers) <= pool
        assert told.counts == (*self.live(infohash), self.counts.get(infohash, 0))

    def live(self, infohash):
        left = [client[1] for client in self.clients[infohash].values()]
        return left.count(0), len(left) - left.count(0)

    @rule(seconds=st.integers(-50, 400))
    def pass_time(self, seconds):
        self.table.tick(self.now + seconds)
        self.now += max(seconds, 0)
        sweep(self.table)
        for infohash, swarm in self.clients.items():
            self.clients[infohash] = {
                client: its for client, its in swarm.items() if self.now - its[3] <= LIFETIME
            }

    @rule(infohash=HASHES, completed=st.none() | st.integers(0, 9))
    def put(self, infohash, completed):
        new = infohash not in self.counts and not self.clients[infohash]
        assert self.table.put(infohash, completed) is new
        before = self.counts.get(infohash)
        self.counts[infohash] = (before or 0) if completed is None else completed
        if before != self.counts[infohash]:
            self.changed.add(infohash)

    @rule(infohash=HASHES)
    def remove(self, infohash):
        known = infohash in self.counts or bool(self.clients[infohash])
        assert self.table.remove(infohash) is known
        self.clients[infohash] = {}
        if self.counts.pop(infohash, None) is not None:
            self.changed.add(infohash)

    @rule()
    def restart(self):
        portions = list(self.table.dump())
        self.table = self.made()
        self.table.load(self.counts.items())
        self.changed = set()
        for portion in portions:
            self.table.restore(portion)

    @rule()
    def write_behind(self):
        expected = {infohash: self.counts.get(infohash) for infohash in self.changed}
        assert self.table.changes() == expected
        self.changed = set()

    @invariant()
    def all_is_known(self):
        totals = [0, 0, 0, sum(self.counts.values())]
        for infohash, swarm in self.clients.items():
            complete, incomplete = self.live(infohash)
            known = bool(swarm) or infohash in self.counts
            totals[0] += known
            totals[1] += complete
            totals[2] += incomplete
            completed = self.counts.get(infohash, 0)
            assert self.table.scrape(infohash) == (complete, completed, incomplete)
            record = self.table.record(infohash)
            assert (record is not None) == known
            if record is not None:
                self.compare(record, swarm)
        assert self.table.totals() == tuple(totals)

    def compare(self, record, swarm):
        peers = {
            (peer.peer_id, peer.left, peer.uploaded, peer.updated)
            for peer in (*record.seeds, *record.leeches)
        }
        assert peers == {(peer_id(its[0]), *its[1:]) for its in swarm.values()}
        assert len(record.seeds) + len(record.leeches) == len(swarm)
        assert all(peer.left == 0 for peer in record.seeds)
        assert record.updated == max((its[3] for its in swarm.values()), default=0.0)


@pytest.mark.parametrize("twin", TWINS)
def test_it_does_as_the_model_does(twin):
    machine = type(f"{twin.__name__}Model", (Model,), {"twin": twin})
    run_state_machine_as_test(
        machine, settings=settings(max_examples=60, stateful_step_count=40, deadline=None)
    )
