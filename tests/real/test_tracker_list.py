"""What a node shows of BitTorrent trackers over HTTP is what libtorrent keeps of the same ones."""

from dataclasses import replace

import pytest
from twisted.internet import reactor
from twisted.internet.task import deferLater

from p2pd.node.options import TrackerSource
from tests.conftest import PATIENCE
from tests.dialects import Downloads, JsonRpc
from tests.real.announce_oracle import Libtorrent, ScriptedTracker, trackers_of
from tests.real.announces import Announce, HttpDoor
from tests.real.fleet import ask, until
from tests.real.opentracker import running_opentracker
from tests.samples import content, torrent

pytestmark = pytest.mark.real

HOST = "127.0.0.1"
TIMEOUT = 30.0  # of both, until an HTTP tracker is given up

SITUATIONS = {
    "success": (("ok",),),
    "success without counts": (("plain",),),
    "success by UDP": (("udp",),),
    "refused connection": (("nobody",),),
    "failure reason": (("failure",),),
    "failure of a web server": (("404",),),
    "warning": (("warning",),),
    "timeout": (("silent",),),
    "two tiers with fail-over": (("nobody",), ("ok", "plain")),
}
STATUSES = {
    "success": ["Working"],
    "success without counts": ["Working"],
    "success by UDP": ["Working"],
    "refused connection": ["Error: Connection refused"],
    "failure reason": ["Error: not registered"],
    "failure of a web server": ["HTTP status code 404"],
    "warning": ["Warning: moving soon"],
    "timeout": ["Not contacted yet"],
    "two tiers with fail-over": ["Error: Connection refused", "Working", "Not contacted yet"],
}


class Side:
    """A client that has a torrent for each situation, and what it shows of their trackers."""

    def __init__(self):
        self.names = {}

    def add_all(self, tracker):
        for number, (situation, tiers) in enumerate(SITUATIONS.items()):
            made = torrent(f"{situation}.bin", seed=number)
            self.names[situation] = self.add(replace(made, trackers=tracker.tiers(*tiers)))

    def shown(self, *situations):
        return {each: self.trackers(self.names[each]) for each in situations or SITUATIONS}


class Theirs(Side):
    """libtorrent; `shown_port` is the port that the other side has."""

    def __init__(self, directory, shown_port):
        super().__init__()
        self._client = Libtorrent(directory)
        self._shown_port = shown_port

    def add(self, made):
        return self._client.add(made.to_bytes())

    def pause(self):
        self._client.session.pause()

    def resume(self):
        self._client.session.resume()

    def force(self, situation, url):
        self.names[situation].force_reannounce(0, url)

    def add_tracker(self, situation, url, tier):
        self.names[situation].add_tracker({"url": url, "tier": tier})

    def trackers(self, handle):
        trackers = trackers_of(handle)
        for tracker in trackers:
            # The wheel takes trackers of metainfo for those of a magnet link.
            if tracker["source"] == TrackerSource.MAGNET:
                tracker["source"] = TrackerSource.TORRENT
            for endpoint in tracker["endpoints"]:
                assert endpoint["local_endpoint"] == [HOST, self._client.port]
                endpoint["local_endpoint"][1] = self._shown_port
        return trackers

    def close(self):
        self._client.close()


class Ours(Side):
    """A node, driven over HTTP."""

    def __init__(self, node):
        super().__init__()

        def send(method, path, body=None):
            return ask(method, node.url + path, body=body)

        self._rpc = JsonRpc(send, str(node.downloads))
        self._downloads = Downloads(send)

    def add(self, made):
        return self._rpc.add("metainfo", made.to_bytes())

    def pause(self):
        self._rpc.call("sessions.pause")

    def resume(self):
        self._rpc.call("sessions.resume")

    def force(self, situation, url):
        path = f"/downloads/{self.names[situation]}/tracker_force_announce"
        assert self._downloads.call("PUT", path, {"url": url}) == {"forced": True}

    def add_tracker(self, situation, url, tier):
        of = [self.names[situation], None]
        assert self._rpc.call("torrents.trackers.add", info_hash=of, url=url, tier=tier) is None

    def trackers(self, infohash):
        return self._rpc.call("torrents.trackers.list", info_hash=[infohash, None])["trackers"]

    def statuses(self, situation):
        """In the words of the downloads API, which shows two other sources of peers last."""
        row = self._downloads.call("GET", f"/downloads/{self.names[situation]}")["download"]
        *trackers, _, _ = row["trackers"]
        return [tracker["status"] for tracker in trackers]

    def counts(self, infohash):
        """Seeds and others that each API knows of; and of the downloads API, a tracker's peers."""
        row = self._downloads.call("GET", f"/downloads/{infohash}")["download"]
        [torrent] = self._rpc.call("torrents.list")["torrents"]
        return {
            "downloads": (row["num_seeds"], row["num_peers"], row["trackers"][0]["peers"]),
            "json-rpc": (torrent["list_seeds"], torrent["list_peers"]),
        }


class World:
    """A tracker, and libtorrent and a node with the same torrents; they do not announce yet."""

    def __init__(self, fleet):
        fleet.start_tracker()
        node = fleet.start_node("--allow-source-net", "127.0.0.0/8")
        self.tracker = ScriptedTracker()
        self.ours = Ours(node)
        self.theirs = Theirs(fleet.path / "theirs", node.port)
        self.both = (self.theirs, self.ours)
        for side in self.both:
            side.pause()
            side.add_all(self.tracker)

    async def until(self, condition, *situations, within=PATIENCE):
        """Wait until a condition holds for the trackers of these situations, on both sides."""
        ends = reactor.seconds() + within
        for side in self.both:
            while not all(map(condition, side.shown(*situations).values())):
                assert reactor.seconds() < ends, side.shown(*situations)
                await deferLater(reactor, 0.05)

    async def settled(self, *situations, within=PATIENCE):
        """Wait until trackers up to the first that works were contacted, and none is being."""
        await self.until(is_settled, *situations, within=within)

    def same(self, *situations):
        """What both show."""
        theirs, ours = (side.shown(*situations) for side in self.both)
        assert ours == theirs
        return ours

    def close(self):
        self.theirs.close()
        self.tracker.close()


def states_of(trackers):
    """How announces of the one infohash from the one address went, where there were any."""
    return [
        tracker["endpoints"][0]["info_hashes"][0] for tracker in trackers if tracker["endpoints"]
    ]


def is_settled(trackers):
    states = states_of(trackers)
    failed = [state for state in states if state["fails"]]
    works = any(state["start_sent"] and not state["fails"] for state in states)
    return (works or len(failed) == len(trackers)) and not is_asking(trackers)


def is_asking(trackers):
    return any(state["updating"] for state in states_of(trackers))


@pytest.fixture
def world(fleet):
    made = World(fleet)
    yield made
    made.close()


async def test_each_situation(world):
    for trackers in world.same().values():
        assert not states_of(trackers)
    for side in world.both:
        side.resume()
    answered = SITUATIONS.keys() - {"timeout"}
    await world.settled(*answered)
    await world.until(is_asking, "timeout")
    world.same()
    assert {each: world.ours.statuses(each) for each in SITUATIONS} == STATUSES

    await world.settled("timeout", within=TIMEOUT + PATIENCE)
    [state] = states_of(world.same("timeout")["timeout"])
    assert (state["fails"], state["last_error"]) == (1, "timed out")
    assert world.ours.statuses("timeout") == ["Timeout"]


async def test_what_a_user_asks_for(world):
    for side in world.both:
        side.resume()
    await world.settled("success", "refused connection", "failure reason")

    for situation, name in (("success", "ok"), ("refused connection", "nobody")):
        for side in world.both:
            side.force(situation, world.tracker.url(name))
    await world.until(lambda trackers: states_of(trackers)[0]["fails"] == 2, "refused connection")
    shown = world.same("success", "refused connection")
    [state] = states_of(shown["success"])
    assert state["next_announce"] == state["min_announce"]

    for situation, name in (("success", "short"), ("failure reason", "plain")):
        for side in world.both:
            side.add_tracker(situation, world.tracker.url(name), 1)
    await world.settled("failure reason")
    shown = world.same("success", "failure reason")
    assert [tracker["source"] for tracker in shown["success"]] == [
        TrackerSource.TORRENT,
        TrackerSource.CLIENT,
    ]
    assert world.ours.statuses("success") == ["Working", "Not contacted yet"]
    assert world.ours.statuses("failure reason") == ["Error: not registered", "Working"]


def test_what_a_tracker_counts_is_shown(fleet, require_program, tmp_path):
    made = torrent()
    program = require_program("opentracker")
    with running_opentracker(program, tmp_path / "opentracker", [made.infohash]) as url:
        made = replace(made, trackers=((url,),))
        seeding = tmp_path / "seeding"
        seeding.mkdir()
        (seeding / made.name).write_bytes(content(4))
        seed = Libtorrent(seeding)
        handle = seed.add(made.to_bytes())
        until(lambda: handle.trackers()[0]["verified"])
        for port in (7001, 7002):
            HttpDoor(url).announce(Announce(made.infohash, port, left=1, event="started"))

        fleet.start_tracker()
        ours = Ours(fleet.start_node("--allow-source-net", "127.0.0.0/8"))
        infohash = ours.add(made)
        [shown] = until(lambda: [one for one in ours.trackers(infohash) if one["verified"]])
        seed.close()

    # The tracker counts the node itself.
    state = shown["endpoints"][0]["info_hashes"][0]
    assert (state["scrape_complete"], state["scrape_incomplete"]) == (1, 3)
    assert ours.counts(infohash) == {"downloads": (1, 3, 4), "json-rpc": (1, 3)}
