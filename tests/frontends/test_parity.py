"""All APIs of a node drive the same downloads, and tell the same of them in every state."""

import copy
import os
import random
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from twisted.internet.defer import Deferred

from p2pd.links.memory_web import MemoryWeb, Page
from p2pd.metainfo.create import describe_stream
from p2pd.node.job import tid_of
from tests.dialects import (
    Downloads,
    Facts,
    JsonRpc,
    RefusedError,
    Tasks,
    Transfers,
    agreed,
    magnet,
)
from tests.fleet import Door, Fleet

DIALECTS = {"downloads": Downloads, "tasks": Tasks, "json-rpc": JsonRpc}
NEVER = "ab" * 20
"""The infohash of a torrent that nobody has."""
SIZE = 8 * 256 * 1024
"""Bytes in eight pieces."""
EXAMPLES = int(os.environ.get("P2PD_TEST_EXAMPLES", "25"))
SLOWLY = 0.4
"""Seconds from node to node, so that downloads can be watched."""


class Leech:
    """A node that all APIs drive, over its lives."""

    def __init__(self, fleet):
        self.fleet = fleet
        self.start()

    def start(self):
        self.node = self.fleet.node("leech", parallel=1)
        self.control = self.fleet.control(self.node)
        self.door = Door(self.fleet, self.node)
        self.dialects = {
            name: kind(lambda *request, name=name: self._send(name, *request))
            for name, kind in DIALECTS.items()
        }
        self.transfers = Transfers(self._look)
        self.fleet.until(lambda: self.control.downloads.loaded.called)

    def stop(self):
        self.fleet.done(self._stop())
        del self.fleet.network.nodes[self.node.address]

    async def _stop(self):
        await self.control.downloads.stopService()

    def kill(self):
        """As kill -9: what is on the disk and in the table now is all that is left."""
        disk, table = self.fleet.disks["leech"], self.fleet.tables["leech"]
        self.fleet.disks["leech"], self.fleet.tables["leech"] = copy.deepcopy((disk, table))
        self.fleet.links.pop().tracker = None
        self.fleet.kill(self.node)
        for service in list(self.control.downloads):
            if service is not self.node:
                service.stopService()

    def __getitem__(self, dialect):
        return self.dialects[dialect]

    # Looking takes no time: all dialects see the same moment.

    def _send(self, _dialect, method, path, body=None):
        if method == "GET" or (body and b".list" in body) or (body and b".get" in body):
            return self._look(method, path, body)
        response = self.door.ask(method, path, body)
        return SimpleNamespace(status=response.code, body=response.whole)

    def _look(self, method, path, body=None):
        asked = Deferred.fromCoroutine(self.door._ask(method, path, body, {}))
        for _ in range(100):
            if asked.called:
                break
            self.door.treq.flush()
        response = asked.result
        return SimpleNamespace(status=response.code, body=response.whole)

    def facts(self, name) -> Facts:
        """What all dialects agree to be so."""
        known = self["downloads"].facts(name).id
        assert self["tasks"].facts(name) == self["tasks"].facts(known)
        told = {one: dialect.facts(known) for one, dialect in self.dialects.items()}
        if known in self.transfers.ids():
            told["fleet"] = self.transfers.facts(known)
        return agreed(told)

    def state(self, name):
        (state,) = self.facts(name).states
        return state

    def ids(self):
        """Whom all dialects list."""
        listed = {one: dialect.ids() for one, dialect in self.dialects.items()}
        assert len(set(listed.values())) == 1, listed
        return listed["downloads"]

    def knows(self, name):
        """Whether all dialects know a download."""
        known = {one: dialect.knows(name) for one, dialect in self.dialects.items()}
        assert len(set(known.values())) == 1, known
        return known["downloads"]

    def set(self, **changes):
        """Change settings of the node."""
        self.fleet.done(self.control.downloads.change_settings(changes))

    def reaches(self, name, state, within=60.0):
        """Let time pass until a download is in a state, and look at it then."""
        job = self.control.downloads.find(name)
        ends = self.fleet.clock.seconds() + within
        while job.state != state:
            assert self.fleet.clock.seconds() < ends, f"{self.facts(name)} did not become {state}"
            self.fleet.clock.advance(0.01)
        facts = self.facts(name)
        assert facts.states == {state}
        return facts


@pytest.fixture
def fleet():
    fleet = Fleet()
    fleet.web = MemoryWeb(fleet.clock)
    return fleet


@pytest.fixture
def seed(fleet):
    return fleet.node("seed")


@pytest.fixture
def leech(fleet):
    return Leech(fleet)


@pytest.fixture
def film(fleet, seed):
    """A torrent that the seed shares; its sources by kind."""
    return shared(fleet, seed, "film.bin", SIZE)


def shared(fleet, seed, name, size):
    entry = fleet.share(seed, name, fleet.data(size))
    return sources_of(fleet, entry.torrent)


def sources_of(fleet, torrent):
    infohash = torrent.infohash.hex()
    url = f"http://files.test/{infohash}.torrent"
    fleet.web.pages[url] = Page(torrent.to_bytes())
    return {
        "metainfo": torrent.to_bytes(),
        "magnet": magnet(infohash),
        "infohash": infohash,
        "torrent url": url,
    }


WAYS = [
    (name, kind) for name, dialect in DIALECTS.items() for kind in sorted(dialect.adds - {"url"})
]


# -- each state of the lifecycle, added by each dialect, as all of them see it


@pytest.mark.parametrize(("dialect", "kind"), WAYS)
def test_all_see_a_download_from_its_beginning_to_its_end(fleet, leech, film, dialect, kind):
    fleet.network.latency = SLOWLY
    leech[dialect].add(kind, film[kind])
    fleet.until(lambda: film["infohash"] in leech.transfers.ids())
    name = film["infohash"]
    assert leech.ids() == {name}
    facts = leech.reaches(name, "downloading")
    fleet.advance(3)
    facts = leech.facts(name)
    assert (facts.name, facts.size, facts.files) == ("film.bin", SIZE, (("film.bin", SIZE),))
    assert facts.complete is False
    assert 0 < facts.progress < 1
    assert facts.down > 0
    assert facts.seeds == 1
    assert facts.finished == 0
    assert facts.added < fleet.clock.seconds()

    facts = leech.reaches(name, "complete")

    assert facts.complete is True
    assert (facts.progress, facts.percent) == (1.0, 1.0)
    assert facts.done == facts.received == SIZE
    assert facts.finished == pytest.approx(fleet.clock.seconds(), abs=2)
    assert facts.path == "/memory/film.bin"
    assert facts.directory == "/memory"


@pytest.mark.parametrize("dialect", DIALECTS)
def test_all_see_a_download_that_waits_for_its_turn(fleet, leech, film, seed, dialect):
    other = shared(fleet, seed, "other.bin", SIZE // 2)
    fleet.network.latency = SLOWLY
    leech.set(max_active_downloads=1)
    leech["downloads"].add("metainfo", other["metainfo"])
    leech[dialect].add("magnet", film["magnet"])
    fleet.advance(0.5)
    assert leech.state(other["infohash"]) == "downloading"
    facts = leech.facts(film["infohash"])
    assert facts.states == {"queued"}
    assert facts.position == 2
    leech.reaches(other["infohash"], "complete")
    leech.reaches(film["infohash"], "downloading")


@pytest.mark.parametrize("dialect", DIALECTS)
def test_all_see_a_download_whose_metainfo_nobody_has(fleet, leech, dialect):
    source = magnet(NEVER, "a name")
    leech[dialect].add("magnet", source)
    for name in (NEVER, tid_of(source)):
        facts = leech.facts(name if dialect == "tasks" else NEVER)
        assert facts.states == {"fetching metainfo"}
        assert facts.id == NEVER
        assert (facts.name, facts.size, facts.progress, facts.files) == ("a name", 0, 0.0, ())


@pytest.mark.parametrize("dialect", ["downloads", "json-rpc"])
def test_all_see_a_download_being_checked(fleet, leech, film, dialect):
    leech["downloads"].add("metainfo", film["metainfo"])
    leech.reaches(film["infohash"], "complete")
    leech[dialect].pause(film["infohash"])
    seen = []
    adopt = leech.node._with.store.adopt

    async def watched(*given):
        seen.append(leech.facts(film["infohash"]))
        return await adopt(*given)

    leech.node._with.store.adopt = watched
    leech[dialect].recheck(film["infohash"])
    assert [facts.states for facts in seen] == [{"checking"}]
    assert leech.facts(film["infohash"]).states == {"paused"}


@pytest.mark.parametrize("dialect", ["downloads", "json-rpc"])
def test_what_is_being_published_is_not_complete_yet(leech, film, dialect):
    leech[dialect].add("metainfo", film["metainfo"])
    seen = []
    content = leech.node.library.find(bytes.fromhex(film["infohash"])).content
    publish = content.publish

    async def watched(**given):
        seen.append(leech.facts(film["infohash"]))
        await publish(**given)

    content.publish = watched
    leech.reaches(film["infohash"], "complete")
    assert [(facts.states, facts.complete) for facts in seen] == [({"downloading"}, False)]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_all_see_a_download_that_was_paused_in_the_middle(fleet, leech, film, dialect):
    name = film["infohash"]
    fleet.network.latency = SLOWLY
    leech["downloads"].add("metainfo", film["metainfo"])
    fleet.advance(2)
    leech[dialect].pause(name)
    facts = leech.facts(name)
    assert facts.states == {"paused"}
    assert facts.complete is False
    assert 0 < facts.progress < 1
    fleet.advance(10)
    assert leech.facts(name) == facts
    leech[dialect].resume(name)
    leech.reaches(name, "complete")


@pytest.mark.parametrize("dialect", ["downloads", "json-rpc"])
def test_all_see_a_complete_download_that_was_paused(leech, film, dialect):
    name = film["infohash"]
    leech["downloads"].add("metainfo", film["metainfo"])
    leech.reaches(name, "complete")
    leech[dialect].pause(name)
    facts = leech.facts(name)
    assert facts.states == {"paused"}
    assert facts.complete is True
    leech[dialect].resume(name)
    leech.reaches(name, "complete")


def test_all_see_a_download_that_failed(fleet, leech, film):
    name = film["infohash"]
    fleet.disks["leech"].published[leech.node._with.store.root / "film.bin"] = b"something else"
    leech["json-rpc"].add("metainfo", film["metainfo"])
    facts = leech.reaches(name, "failed")
    assert "already exists" in facts.error
    del fleet.disks["leech"].published[leech.node._with.store.root / "film.bin"]
    leech["tasks"].resume(name)
    leech.reaches(name, "complete")


def test_all_see_a_task_that_leads_nowhere(fleet, leech):
    name = leech["tasks"].add("url", "http://files.test/nothing")
    facts = leech.reaches(name, "failed")
    assert "404" in facts.error
    assert facts.id == name
    leech["downloads"].remove(name, data=False)
    assert leech.ids() == set()


@pytest.mark.parametrize("dialect", ["downloads", "tasks"])
def test_all_see_a_file_of_a_web_server(fleet, leech, dialect):
    url = "http://files.test/page.bin"
    leech.set(max_download_rate=200_000)
    fleet.web.pages[url] = Page(fleet.data(2 * SIZE))
    tid = leech[dialect].add("url", url)
    assert leech.ids() == {tid}
    fleet.advance(1)
    facts = leech.facts(tid)
    assert (facts.size, facts.complete) == (2 * SIZE, False)
    assert 0 < facts.progress < 1
    facts = leech.reaches(tid, "complete")
    assert facts.id != tid
    assert leech.ids() == {facts.id}
    assert leech.facts(facts.id) == facts


@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_is_gone_is_gone_for_all(leech, film, dialect):
    name = film["infohash"]
    leech["downloads"].add("metainfo", film["metainfo"])
    assert leech.knows(name)
    leech[dialect].remove(name, data=False)
    assert not leech.knows(name)
    assert leech.ids() == leech.transfers.ids() == set()
    for one in leech.dialects.values():
        for verb in (one.pause, one.resume):
            with pytest.raises(RefusedError):
                verb(name)
        with pytest.raises(RefusedError):
            one.remove(name, data=True)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_all_refuse_what_is_no_magnet_link(leech, dialect):
    with pytest.raises(RefusedError):
        leech[dialect].add("magnet", "magnet:?xt=urn:btih:abcd")
    assert leech.ids() == set()


# -- any verbs, in any order, through any dialect


@dataclass
class Wish:
    """What is to be so of one download that is there, as its user last said."""

    paused: bool = False
    directory: str = "/memory"
    unwanted: frozenset[int] = frozenset()


@dataclass
class Torrent:
    """A torrent that the machine plays with, and what it is made of."""

    sources: dict
    files: dict[str, bytes]
    wish: Wish | None = None
    left: set[str] = field(default_factory=set)
    """Paths of files that must be on the disk, though their download is forgotten."""

    @property
    def name(self):
        return self.sources["infohash"]


FILM, ALBUM, RARE = "film.bin", "album", "rare.bin"
ANY_TORRENT = st.sampled_from([FILM, ALBUM, RARE])
ANY_DIALECT = st.sampled_from(sorted(DIALECTS))
MOVERS = st.sampled_from(["downloads", "json-rpc"])
HALTED = frozenset({"paused", "failed"})
DIRECTORIES = st.sampled_from(["/memory", "/memory/there", "/memory/over/there"])


class Parity(RuleBasedStateMachine):
    """Three torrents: one of a file, one of three, and one that turns up at some time."""

    @initialize(seed=st.integers(0, 2**16))
    def begin(self, seed):
        self.fleet = Fleet()
        self.fleet.rng = random.Random(seed)
        self.fleet.web = MemoryWeb(self.fleet.clock)
        self.seed = self.fleet.node("seed")
        self.fleet.network.latency = 0.05
        self.leech = Leech(self.fleet)
        self.torrents = {}
        film, rare = (self.fleet.data(SIZE) for _ in range(2))
        self.shared(FILM, {"": film})
        self.shared(ALBUM, {f"/{n}.ogg": self.fleet.data(SIZE // 4) for n in range(3)})
        stream = describe_stream(RARE, SIZE)
        stream.feed(rare)
        self.torrents[RARE] = Torrent(sources_of(self.fleet, stream.finish()), {"": rare})
        self.appeared = False

    def shared(self, name, files):
        disk = self.fleet.disks["seed"]
        for path, data in files.items():
            disk.published[Path(f"/shared/{name}{path}")] = data
        entry = self.fleet.done(self.seed.share(Path(f"/shared/{name}"), name))
        self.torrents.setdefault(name, Torrent(sources_of(self.fleet, entry.torrent), files))

    # -- verbs

    @rule(which=ANY_TORRENT, dialect=ANY_DIALECT, data=st.data())
    def add(self, which, dialect, data):
        torrent = self.torrents[which]
        if torrent.wish is None and self.in_the_way(torrent):
            return
        api = self.leech[dialect]
        kind = data.draw(st.sampled_from(sorted(api.adds & torrent.sources.keys())))
        try:
            api.add(kind, torrent.sources[kind])
        except RefusedError:
            if torrent.wish is None:
                raise
            return
        if torrent.wish is None:
            torrent.wish = Wish()
            # What is left at its place is taken up again, and is its own from now on.
            torrent.left.difference_update(self.below(torrent.wish.directory, torrent))
        if dialect == "tasks":
            self.fleet.advance(1, 0.05)  # that API does not wait for what comes of a URL

    def in_the_way(self, torrent):
        """Whether something lies at its place that it could not take up, and may not replace."""
        places = self.below(Wish.directory, torrent)
        found = [self.files().get(place) for place in places]
        return any(found) and found != list(torrent.files.values())

    def present(self):
        return [torrent for torrent in self.torrents.values() if torrent.wish is not None]

    def one(self, data):
        there = [name for name, torrent in self.torrents.items() if torrent.wish is not None]
        return self.torrents[data.draw(st.sampled_from(there))]

    @precondition(lambda self: self.present())
    @rule(data=st.data(), dialect=ANY_DIALECT)
    def pause(self, data, dialect):
        torrent = self.one(data)
        before = self.leech.facts(torrent.name)
        try:
            self.leech[dialect].pause(torrent.name)
        except RefusedError:
            assert dialect == "tasks"
            assert before.complete or before.states <= HALTED
        else:
            torrent.wish.paused = True

    @precondition(lambda self: self.present())
    @rule(data=st.data(), dialect=ANY_DIALECT)
    def resume(self, data, dialect):
        torrent = self.one(data)
        before = self.leech.facts(torrent.name)
        try:
            self.leech[dialect].resume(torrent.name)
        except RefusedError:
            assert dialect == "tasks"
            assert before.complete or not before.states <= HALTED
        else:
            torrent.wish.paused = False

    @precondition(lambda self: self.present())
    @rule(data=st.data(), dialect=MOVERS)
    def recheck(self, data, dialect):
        torrent = self.one(data)
        known = torrent.name in self.leech.transfers.ids()
        try:
            self.leech[dialect].recheck(torrent.name)
        except RefusedError:
            assert not known or self.leech.state(torrent.name) == "failed"

    @precondition(lambda self: self.present())
    @rule(data=st.data(), dialect=MOVERS, directory=DIRECTORIES)
    def move(self, data, dialect, directory):
        torrent = self.one(data)
        taken = {*self.below(directory, torrent)}
        try:
            self.leech[dialect].move(torrent.name, directory)
        except RefusedError:
            assert taken & self.files().keys()
        else:
            torrent.wish.directory = directory
            torrent.left -= taken

    @precondition(lambda self: self.present())
    @rule(data=st.data(), unwanted=st.frozensets(st.integers(0, 2), max_size=2))
    def select(self, data, unwanted):
        torrent = self.torrents[ALBUM]
        if torrent.wish is None:
            return
        self.leech["downloads"].select(torrent.name, *sorted({0, 1, 2} - unwanted))
        torrent.wish.unwanted = unwanted

    @precondition(lambda self: self.present())
    @rule(data=st.data(), dialect=MOVERS, rate=st.sampled_from([0, 10_000_000]))
    def limit(self, data, dialect, rate):
        torrent = self.one(data)
        self.leech[dialect].limit(torrent.name, rate)
        assert self.leech.facts(torrent.name).download_limit == rate

    @precondition(lambda self: self.present())
    @rule(data=st.data(), dialect=ANY_DIALECT, delete=st.booleans())
    def remove(self, data, dialect, delete):
        torrent = self.one(data)
        before = self.files()
        mine = before.keys() & self.below(torrent.wish.directory, torrent)
        self.leech[dialect].remove(torrent.name, data=delete)
        torrent.wish = None
        if not delete:
            assert mine <= self.files().keys()
            torrent.left |= mine
        assert before.keys() - mine <= self.files().keys()

    @rule(bound=st.sampled_from([0, 1, 2]))
    def bound(self, bound):
        self.leech.set(max_active_downloads=bound)

    # -- what befalls

    @rule(seconds=st.sampled_from([0.1, 0.5, 2, 10]))
    def wait(self, seconds):
        self.fleet.advance(seconds, 0.02)

    @rule()
    def restart(self):
        self.leech.stop()
        self.leech.start()

    @rule()
    def kill(self):
        self.leech.kill()
        self.leech.start()

    @rule()
    def appear(self):
        if not self.appeared:
            self.shared(RARE, self.torrents[RARE].files)
        self.appeared = True

    @precondition(lambda self: self.present())
    @rule(data=st.data())
    def damage(self, data):
        """Change a finished file, as a user may; a recheck will find it."""
        torrent = self.one(data)
        places = self.below(torrent.wish.directory, torrent)
        wanted = [at for at in range(len(places)) if at not in torrent.wish.unwanted]
        path = Path(places[data.draw(st.sampled_from(wanted))])
        published = self.fleet.disks["leech"].published
        if path in published and self.leech.state(torrent.name) == "paused":
            published[path] = published[path][:-1] + b"?"
            self.leech["downloads"].recheck(torrent.name)
            torrent.left.discard(str(path))

    # -- what always holds

    def below(self, directory, torrent):
        """Where the files of a torrent would lie."""
        (root,) = (name for name, one in self.torrents.items() if one is torrent)
        return [f"{directory}/{root}{path}" for path in torrent.files]

    def files(self):
        return {str(path): data for path, data in self.fleet.disks["leech"].published.items()}

    @invariant()
    def all_agree(self):
        if not hasattr(self, "leech"):
            return
        assert self.leech.ids() == {torrent.name for torrent in self.present()}
        for torrent in self.torrents.values():
            assert self.leech.knows(torrent.name) is (torrent.wish is not None)
            assert torrent.left <= self.files().keys()
            if torrent.wish is not None:
                self.is_as_wished(torrent)

    def is_as_wished(self, torrent):
        facts = self.leech.facts(torrent.name)
        (state,) = facts.states
        assert state != "failed", facts
        assert (state == "paused") is torrent.wish.paused, facts
        if not torrent.wish.paused and state != "fetching metainfo":
            assert facts.directory == torrent.wish.directory
        if facts.complete:
            self.is_whole(torrent)

    def is_whole(self, torrent):
        places = self.below(torrent.wish.directory, torrent)
        for at, (place, data) in enumerate(zip(places, torrent.files.values(), strict=True)):
            assert at in torrent.wish.unwanted or self.files()[place] == data

    def teardown(self):
        if not hasattr(self, "leech"):
            return
        self.bound(0)
        self.appear()
        for torrent in self.present():
            if torrent.wish.paused:
                self.leech["json-rpc"].resume(torrent.name)
                torrent.wish.paused = False
        for torrent in self.present():
            self.leech.reaches(torrent.name, "complete", within=300)
            self.is_whole(torrent)


def test_whatever_is_done_by_whatever_api_all_agree():
    run_state_machine_as_test(
        Parity,
        settings=settings(
            max_examples=EXAMPLES, stateful_step_count=20, deadline=None, print_blob=True
        ),
    )
