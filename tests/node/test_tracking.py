"""When and what a node tells BitTorrent trackers of its downloads, under a clock."""

import random

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from p2pd.errors import NotFound
from p2pd.metainfo.bitfield import Bitfield
from p2pd.node.entry import Entry
from p2pd.node.job import Job
from p2pd.node.options import DownloadOptions, TrackerChoice, TrackerSource
from p2pd.node.tracking import Tracking, new_peer_id
from p2pd.protocol.announce_client import AnnounceFailed, AnnounceReply
from p2pd.protocol.announcement import Event
from p2pd.protocol.clients import client_name
from p2pd.store.memory import Disk, MemoryStore
from p2pd.swarm.lifecycle import State
from tests.samples import torrent

A, B = "http://a.test/announce", "udp://b.test:1/announce"
START = 1_000_000
PEER_ID = b"-PD0001-" + b"x" * 12


class World:
    """Trackers that answer when the test says so; a node's downloads; a clock."""

    def __init__(self):
        self.clock = Clock()
        self.clock.advance(START)
        self.asked = []
        self.told = []
        self.closed = 0
        self.tracking = Tracking(
            self,
            clock=self.clock,
            rng=random.Random(5),
            peer_id=PEER_ID,
            port=lambda: 6881,
            local=lambda: ("192.0.2.1", 6881),
            tell=lambda *told: self.told.append(told),
        )

    def announce(self, url, asked, *, strict):
        answer = Deferred()
        self.asked.append((url, asked, strict, answer))
        return answer

    def close(self):
        self.closed += 1

    def job(self, *urls, state=State.DOWNLOADING, held=(), seed=0, source=TrackerSource.TORRENT):
        shared = torrent(seed=seed)
        choices = (TrackerChoice(url, tier, source) for tier, url in enumerate(urls))
        job = Job(DownloadOptions(trackers=tuple(choices)), added=START)
        content = MemoryStore(Disk()).begin(shared, "")
        Entry(content, filename=shared.name, job=job)
        pieces = Bitfield(shared.piece_count)
        for index in held:
            pieces.add(index)
        job.entry.hold(pieces)
        job.entry.state = state
        return job

    def followed(self, *urls, **options):
        if not self.tracking.running:
            self.tracking.startService()
        job = self.job(*urls, **options)
        self.tracking.follow(job)
        return job

    def take(self):
        """The one announce that waits for an answer."""
        [(url, asked, _, answer)] = [one for one in self.asked if not one[3].called]
        return url, asked, answer

    def heard(self):
        """All announces so far: the tracker's host, the event."""
        return [(url.partition("//")[2][0], asked.event.value) for url, asked, _, _ in self.asked]

    def succeed(self, **fields):
        fields = {"interval": 1800, "min_interval": 60} | fields
        _, asked, answer = self.take()
        answer.callback(AnnounceReply(**fields))
        self.clock.advance(0)
        return asked

    def fail(self, *about, **options):
        _, _, answer = self.take()
        answer.errback(AnnounceFailed(*(about or ["Connection refused"]), **options))
        self.clock.advance(0)

    def state(self, job, url):
        [tracker] = [one for one in self.tracking.states(job) if one.url == url]
        return tracker.endpoints[0].v1

    def name(self, job, *urls, tier=0):
        """Let the user name more trackers."""
        more = (TrackerChoice(url, tier, TrackerSource.CLIENT) for url in urls)
        job.change(trackers=(*job.options.trackers, *more))
        self.tracking.follow(job)

    def move(self, job, state):
        job.entry.state = state
        self.tracking.moved(job)


class Failing:
    """In place of a link's announces: none of them takes any time."""

    async def __call__(self, url, asked, *, strict):
        raise AnnounceFailed("unsupported URL protocol", for_good=True)


@pytest.fixture
def world():
    made = World()
    yield made
    if made.tracking.running:
        made.tracking.stopService()
        made.clock.advance(5)
    assert not made.clock.getDelayedCalls()
    assert made.closed == 1


def test_a_peer_id_names_the_client():
    made = new_peer_id(random.Random(1))
    assert len(made) == 20
    assert made != new_peer_id(random.Random(2))
    assert client_name(made) == client_name(PEER_ID)


def test_a_download_is_announced_as_soon_as_it_is_followed(world):
    job = world.followed(A, held=[0])
    url, asked, _ = world.take()
    assert url == A
    assert asked.infohash == job.infohash
    assert (asked.peer_id, asked.port) == (PEER_ID, 6881)
    assert (asked.event, asked.left) == (Event.STARTED, job.entry.torrent.size - 1024)
    assert world.state(job, A).updating


def test_before_the_service_runs_nothing_is_announced(world):
    job = world.job(A)
    world.tracking.follow(job)
    assert not world.asked
    assert world.tracking.states(job)[0].endpoints == []
    world.tracking.startService()
    assert world.heard() == [("a", "started")]


@pytest.mark.parametrize(
    "state", [State.QUEUED, State.ALLOCATING, State.CHECKING, State.PAUSED, State.FAILED]
)
def test_what_is_not_active_is_not_announced(world, state):
    job = world.followed(A, state=state)
    assert not world.asked
    assert world.tracking.states(job)[0].endpoints == []
    world.tracking.force(job)
    assert not world.asked


def test_trackers_of_metainfo_are_asked_strictly_and_those_of_the_user_are_not(world):
    world.followed(A, source=TrackerSource.TORRENT)
    world.followed(B, source=TrackerSource.CLIENT | TrackerSource.TORRENT, seed=1)
    assert [(url, strict) for url, _, strict, _ in world.asked] == [(A, True), (B, False)]


def test_a_reply_is_told_and_kept(world):
    job = world.followed(A)
    world.succeed(complete=3, incomplete=2, warning="soon", peers=(("192.0.2.9", 1),))
    [(told_job, url, reply, message)] = world.told
    assert (told_job, url, message) == (job, A, "soon")
    assert reply.complete == 3
    assert world.tracking.counts(job) == (3, 2)
    assert world.tracking.peers(job) == [("192.0.2.9", 1)]
    assert world.state(job, A).next_announce == START + 1800


def test_a_failure_is_told_and_the_next_tracker_asked(world):
    job = world.followed(A, B)
    world.fail("tracker sent a failure message", "not registered", retry=1800)
    assert world.told == [(job, A, None, "not registered")]
    assert world.tracking.counts(job) == (None, None)
    world.succeed()
    assert world.heard() == [("a", "started"), ("b", "started")]
    assert world.state(job, A).last_error == "tracker sent a failure message"
    assert world.state(job, A).next_announce == START + 1800


def test_a_thousand_trackers_that_fail_at_once_are_tried_one_after_the_other(world):
    world.announce = Failing()
    job = world.followed(*(f"http://{number}.test/" for number in range(1000)))
    for _ in range(1000):
        world.clock.advance(0)
    assert all(tracker.fail_limit == 1 for tracker in world.tracking.states(job))
    assert len(world.told) == 1000


def test_announces_come_when_they_are_due(world):
    world.followed(A)
    world.fail()
    world.clock.advance(17)
    assert len(world.asked) == 1
    world.clock.advance(0.5)
    world.succeed(interval=900)
    world.clock.advance(899)
    assert len(world.asked) == 2
    world.clock.advance(1)
    assert world.heard()[2:] == [("a", "")]


def test_bytes_are_counted_from_the_start_of_the_session(world):
    job = world.job(A)
    job.entry.uploaded, job.entry.downloaded = 100, 200
    world.tracking.startService()
    world.tracking.follow(job)
    assert (world.take()[1].uploaded, world.take()[1].downloaded) == (0, 0)
    world.succeed(interval=600, tracker_id="again")
    job.entry.uploaded, job.entry.downloaded = 107, 250
    world.clock.advance(600)
    _, asked, _ = world.take()
    assert (asked.uploaded, asked.downloaded) == (7, 50)
    assert asked.tracker_id == "again"


def test_the_end_of_a_download_is_told_at_once(world):
    job = world.followed(A)
    world.succeed()
    job.entry.hold_all()
    world.move(job, State.COMPLETE)
    assert world.succeed().left == 0
    assert world.heard() == [("a", "started"), ("a", "completed")]
    assert world.state(job, A).complete_sent
    world.clock.advance(1800)
    assert world.heard()[2:] == [("a", "")]


def test_an_end_during_an_announce_is_told_after_it(world):
    job = world.followed(A)
    job.entry.hold_all()
    world.move(job, State.COMPLETE)
    assert world.heard() == [("a", "started")]
    world.succeed(interval=900)
    assert world.heard() == [("a", "started"), ("a", "completed")]


def test_with_files_left_out_it_is_not_complete_for_the_tracker(world):
    job = world.followed(A, held=[0])
    world.succeed()
    world.move(job, State.COMPLETE)
    assert world.heard() == [("a", "started")]


def test_what_was_complete_from_the_start_is_not_announced_as_completed(world):
    job = world.job(A, state=State.COMPLETE)
    job.entry.hold_all()
    world.tracking.startService()
    world.tracking.follow(job)
    world.succeed(interval=900)
    world.clock.advance(900)
    assert world.heard() == [("a", "started"), ("a", "")]
    assert not world.state(job, A).complete_sent


@pytest.mark.parametrize("state", [State.PAUSED, State.FAILED, State.QUEUED])
def test_a_stop_is_told_and_a_new_start(world, state):
    job = world.followed(A)
    world.succeed()
    world.move(job, state)
    world.succeed()
    world.clock.advance(10_000)
    world.move(job, State.DOWNLOADING)
    world.succeed()
    assert world.heard() == [("a", "started"), ("a", "stopped"), ("a", "started")]


def test_a_stop_ends_what_is_being_asked(world):
    job = world.followed(A)
    world.move(job, State.PAUSED)
    [(_, _, _, answer)] = world.asked
    assert answer.called
    assert not world.state(job, A).updating
    world.clock.advance(10_000)
    assert world.heard() == [("a", "started")]


def test_a_start_does_not_wait_for_a_stop_to_be_heard(world):
    job = world.followed(A)
    world.succeed()
    world.move(job, State.PAUSED)
    world.move(job, State.DOWNLOADING)
    world.succeed()
    assert world.heard() == [("a", "started"), ("a", "stopped"), ("a", "started")]
    assert world.state(job, A).start_sent


def test_a_dropped_download_says_that_it_stops_and_is_forgotten(world):
    job = world.followed(A)
    world.succeed(complete=1)
    world.tracking.drop(job)
    world.tracking.drop(job)
    world.succeed()
    assert world.heard() == [("a", "started"), ("a", "stopped")]
    assert world.tracking.counts(job) == (None, None)
    assert world.tracking.peers(job) == []
    with pytest.raises(NotFound):
        world.tracking.force(job)


def test_the_service_stops_when_the_trackers_heard_it(world):
    world.followed(A)
    world.succeed()
    world.followed(B, seed=1, state=State.PAUSED)
    stopping = world.tracking.stopService()
    assert not stopping.called
    world.succeed()
    assert stopping.called
    assert world.closed == 1
    assert world.heard() == [("a", "started"), ("a", "stopped")]


def test_the_service_does_not_wait_long_for_that(world):
    world.followed(A)
    world.succeed()
    stopping = world.tracking.stopService()
    world.clock.advance(4)
    assert not stopping.called
    world.clock.advance(1)
    assert stopping.called
    assert world.closed == 1


def test_a_tracker_that_the_user_adds_is_asked_when_the_others_fail(world):
    job = world.followed(A)
    world.succeed(interval=900)
    world.name(job, B, A, tier=3)
    assert [(one.url, one.tier, one.source) for one in world.tracking.states(job)] == [
        (A, 0, 3),
        (B, 3, 2),
    ]
    world.clock.advance(900)
    world.fail()
    assert world.take()[0] == B


def test_a_first_tracker_is_asked_at_once(world):
    job = world.followed()
    world.name(job, A)
    assert world.heard() == [("a", "started")]


def test_a_tracker_that_is_removed_is_asked_no_more(world):
    job = world.followed(A, B)
    world.tracking.remove(job, A)
    assert world.take()[0] == B
    with pytest.raises(NotFound, match="no tracker"):
        world.tracking.remove(job, A)
    world.succeed()
    assert [one.url for one in world.tracking.states(job)] == [B]


def test_a_forced_announce_comes_as_soon_as_the_tracker_allows(world):
    job = world.followed(A)
    world.succeed(interval=900, min_interval=60)
    world.tracking.force(job, A)
    assert world.state(job, A).next_announce == START + 60
    world.clock.advance(59)
    assert len(world.asked) == 1
    world.clock.advance(1)
    assert world.heard() == [("a", "started"), ("a", "")]
    with pytest.raises(NotFound):
        world.tracking.force(job, B)


def test_only_so_many_announces_are_made_at_once(world):
    jobs = [world.followed(A, seed=seed) for seed in range(60)]
    assert len(world.asked) == 50
    world.asked[0][3].callback(AnnounceReply(interval=900, min_interval=30))
    assert len(world.asked) == 51
    assert all(world.state(job, A).updating for job in jobs[1:])


def test_only_so_many_peers_are_remembered(world):
    job = world.followed(A)
    world.succeed(interval=300, peers=tuple((f"192.0.2.{n % 250}", n) for n in range(1, 900)))
    world.clock.advance(300)
    world.succeed(peers=tuple((f"198.51.100.{n % 250}", n) for n in range(1, 900)))
    peers = world.tracking.peers(job)
    assert len(peers) == 1000
    assert peers[-1] == ("198.51.100.149", 899)


def test_a_mistake_of_ours_is_logged_and_the_tracker_tried_again(world, logged_errors):
    job = world.followed(A)
    world.take()[2].errback(ZeroDivisionError())
    assert len(logged_errors.flush(ZeroDivisionError)) == 1
    assert world.state(job, A).last_error == "the node failed"
    world.clock.advance(17.5)
    assert len(world.asked) == 2


def test_a_download_without_metainfo_is_announced_by_its_infohash(world):
    job = Job(DownloadOptions(trackers=(TrackerChoice(A, 0, TrackerSource.MAGNET),)), added=START)
    world.tracking.startService()
    world.tracking.follow(job)
    job.advance(State.METAINFO)
    world.tracking.moved(job)
    assert not world.asked
    job.infohash = torrent().infohash
    world.tracking.moved(job)
    _, asked, _ = world.take()
    assert (asked.infohash, asked.left) == (job.infohash, 16384)
