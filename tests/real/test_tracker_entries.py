"""What we keep of trackers is what libtorrent keeps after the same announces to the same ones.

That a node shows it, and what it keeps after a timeout, is in test_tracker_list.py.
"""

import random
from dataclasses import replace
from ipaddress import ip_network

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.task import deferLater

from p2pd.frontends.jsonrpc_trackers import tracker_to_wire
from p2pd.links.announce_clients import make_announce_clients
from p2pd.links.guard import Guard
from p2pd.node.entry import Entry
from p2pd.node.job import Job
from p2pd.node.options import DownloadOptions, TrackerChoice, TrackerSource
from p2pd.node.tracking import Tracking, new_peer_id
from p2pd.store.memory import Disk, MemoryStore
from p2pd.swarm.lifecycle import State
from tests.conftest import PATIENCE
from tests.real.announce_oracle import TOLERANCE, Libtorrent, ScriptedTracker, trackers_of
from tests.samples import content, torrent

pytestmark = pytest.mark.real


class Theirs:
    """libtorrent, and what it keeps."""

    def __init__(self, directory):
        self.client = Libtorrent(directory)

    def add(self, shared, *, paused):
        self.handle = self.client.add(shared.to_bytes(), paused=paused)

    def force(self, url):
        self.handle.force_reannounce(0, url)

    def trackers(self):
        return trackers_of(self.handle)

    def close(self):
        self.client.close()


class Ours:
    """Our own announces, on the real reactor, and what is kept of them."""

    def __init__(self, port):
        clients = make_announce_clients(
            reactor, Guard([ip_network("127.0.0.0/8")], loopback_only=lambda: True)
        )
        rng = random.Random(3)
        self.tracking = Tracking(
            clients,
            clock=reactor,
            rng=rng,
            peer_id=new_peer_id(rng),
            port=lambda: port,
            local=lambda: ("127.0.0.1", port),
            tell=lambda *_: None,
        )
        self.tracking.startService()

    def add(self, shared, *, paused):
        choices = (
            TrackerChoice(url, tier, TrackerSource.MAGNET)  # as the wheel has them
            for tier, urls in enumerate(shared.trackers)
            for url in urls
        )
        self.job = Job(DownloadOptions(trackers=tuple(choices)), added=reactor.seconds())
        content = MemoryStore(Disk()).begin(shared, "")
        entry = Entry(content, filename=shared.name, job=self.job)
        entry.hold_all()
        entry.state = State.PAUSED if paused else State.COMPLETE
        self.tracking.follow(self.job)

    def force(self, url):
        self.tracking.force(self.job, url)

    def trackers(self):
        return [tracker_to_wire(tracker) for tracker in self.tracking.states(self.job)]

    def close(self):
        pytest_twisted.blockon(self.tracking.stopService())


class World:
    """A tracker, libtorrent and us."""

    def __init__(self, directory):
        self.tracker = ScriptedTracker()
        self.url = self.tracker.url
        (directory / torrent().name).write_bytes(content(4))
        theirs = Theirs(directory)
        self.both = (theirs, Ours(theirs.client.port))

    def add(self, *tiers, paused=False):
        shared = replace(torrent(), trackers=self.tracker.tiers(*tiers))
        for side in self.both:
            side.add(shared, paused=paused)

    async def until(self, condition):
        ends = reactor.seconds() + PATIENCE
        for side in self.both:
            while not condition(side.trackers()):
                assert reactor.seconds() < ends, side.trackers()
                await deferLater(reactor, 0.05)

    async def settled(self, count=1):
        """Wait until so many trackers were contacted, and none is being asked."""

        def met(trackers):
            states = [state_of(tracker) for tracker in trackers if tracker["endpoints"]]
            asked = [state for state in states if state["fails"] or state["start_sent"]]
            return len(asked) >= count and not any(state["updating"] for state in states)

        await self.until(met)

    def same(self):
        theirs, ours = (side.trackers() for side in self.both)
        assert ours == theirs
        return ours

    def close(self):
        for each in (*self.both, self.tracker):
            each.close()


def state_of(tracker):
    """How announces of the one infohash from the one address went."""
    return tracker["endpoints"][0]["info_hashes"][0]


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path)
    yield made
    made.close()


async def test_not_contacted(world):
    world.add(["ok"], ["plain"], paused=True)
    await deferLater(reactor, 0.5)
    assert [tracker["endpoints"] for tracker in world.same()] == [[], []]


@pytest.mark.parametrize("path", ["ok", "plain", "short", "udp"])
async def test_success(world, path):
    world.add([path])
    await world.settled()
    [tracker] = world.same()
    state = state_of(tracker)
    assert tracker["verified"]
    assert (state["start_sent"], state["complete_sent"]) == (True, False)


async def test_refused_connection(world):
    world.add(["nobody"])
    await world.settled()
    [tracker] = world.same()
    state = state_of(tracker)
    assert (state["fails"], state["last_error"]) == (1, "Connection refused")


@pytest.mark.parametrize("path", ["failure", "failure-soon", "failure-later", "404", "410", "503"])
async def test_failure_reason(world, path):
    world.add([path])
    await world.settled()
    [tracker] = world.same()
    state = state_of(tracker)
    assert state["fails"] == 1
    assert state["message"]


async def test_warning(world):
    world.add(["warning"])
    await world.settled()
    [tracker] = world.same()
    state = state_of(tracker)
    assert (state["message"], state["fails"], tracker["verified"]) == ("moving soon", 0, True)


async def test_forced_before_the_tracker_allows_it(world):
    world.add(["ok"])
    await world.settled()
    for side in world.both:
        side.force(world.url("ok"))
    await deferLater(reactor, 0.5)
    [tracker] = world.same()
    state = state_of(tracker)
    assert state["next_announce"] == pytest.approx(state["min_announce"], abs=TOLERANCE)


async def test_forced_after_a_failure(world):
    world.add(["nobody"])
    await world.settled()
    for side in world.both:
        side.force(world.url("nobody"))
    await world.until(lambda trackers: state_of(trackers[0])["fails"] == 2)
    world.same()


async def test_two_tiers_with_fail_over(world):
    world.add(["nobody"], ["ok", "plain"])
    await world.settled(2)
    first, second, third = world.same()
    assert (first["verified"], second["verified"]) == (False, True)
    assert third["endpoints"] == []


async def test_who_failed_goes_to_the_end_of_its_tier(world):
    world.add(["nobody", "404", "plain"], ["ok"])
    await world.settled(3)
    order = [tracker["url"].rpartition("/")[2] for tracker in world.same()]
    assert order == ["plain", "announce", "404", "ok"]
