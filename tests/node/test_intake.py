"""How downloads begin: by what they are asked for, once or twice, waited for or not."""

from dataclasses import replace

import pytest
from twisted.internet.defer import Deferred

from p2pd.errors import Conflict, Invalid, NotFound, Refusal, Unavailable
from p2pd.metainfo.magnet import Magnet, magnet_of
from p2pd.node.job import Level, tid_of
from p2pd.node.options import DownloadOptions, TrackerChoice, TrackerSource
from p2pd.swarm.lifecycle import State
from tests.node.user import Hung, User, metainfo, seed

UDP, HTTP = "udp://a.example:80", "http://b.example/announce"
URL = "http://nobody.example/file"


class SlowWeb:
    """Servers that answer when the test says."""

    def __init__(self):
        self.asked = []

    async def open(self, url, **asked):
        waiting = Deferred()
        self.asked.append(waiting)
        await waiting
        raise Unavailable(f"{url} does not answer")

    def answer(self):
        asked, self.asked = self.asked, []
        for one in asked:
            one.callback(None)


@pytest.fixture
def user(fleet):
    return User(fleet)


@pytest.fixture
def slow(fleet):
    fleet.web = SlowWeb()
    return User(fleet)


# -- sources that lead nowhere


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("nothing", NotFound),
        (URL, Unavailable),
        ("ftp://x/y", Invalid),
        ("", Invalid),
        ("magnet:?xt=urn:btih:zz", Invalid),
        ("file:///etc/passwd", Refusal),
        (b"no metainfo", Invalid),
    ],
)
def test_a_bad_source_that_is_waited_for_leaves_nothing(user, source, kind):
    with pytest.raises(kind):
        user.add(source)
    assert not user.downloads.jobs()
    assert not user.table.pending
    assert not user.table.records
    assert not user.downloads._intake._names


@pytest.mark.parametrize("source", ["nothing", URL])
def test_a_bad_source_that_is_not_waited_for_leaves_a_failed_download(user, source):
    job = user.add(source, wait=False)
    assert job.state is State.FAILED
    view = user.view(job)
    assert view.error
    assert view.log[-1].level is Level.FATAL
    assert view.log[-1].text == view.error
    user.kill_and_restart()
    again = user.downloads.find(tid_of(source))
    assert (again.state, again.error) == (State.FAILED, view.error)
    assert again.log[-1].level is Level.FATAL
    user.do(user.downloads.resume(again))
    assert again.state is State.FAILED, "it leads nowhere still"
    user.do(user.downloads.remove(again, data=True))
    assert not user.table.pending


def test_what_failed_may_be_asked_for_anew(fleet, user):
    job = user.add("image", wait=False)
    assert job.state is State.FAILED
    seed(fleet)
    again = user.add("image")
    assert again is not job
    user.complete(again)
    assert user.downloads.jobs() == [again]


def test_an_entry_that_failed_may_be_asked_for_anew(fleet, user):
    data, torrent = seed(fleet)
    taken = user.downloads._store.root / "image"
    user.disk.published[taken] = b"mine"
    job = user.add("image")
    user.until(job, State.FAILED)
    assert "already exists" in job.error
    again = user.add(torrent.to_bytes(), replace=True)
    user.complete(again)
    assert user.downloads.jobs() == [again]
    assert user.disk.published == {taken: data}
    assert user.downloads.find(job.tid) is again, "it goes by all its names"
    assert user.kinds().count("removed") == 0


def test_one_that_would_go_elsewhere_conflicts(fleet, user):
    _, torrent = seed(fleet)
    job = user.add("image")
    user.complete(job)
    with pytest.raises(Conflict, match="already at"):
        user.add(torrent.to_bytes(), destination="elsewhere/")
    assert user.downloads.jobs() == [job]


# -- the same again


def test_the_same_source_twice_is_one_download(fleet, user):
    seed(fleet)
    job = user.add("image")
    assert user.add("image") is job
    user.complete(job)
    assert user.add("image") is job
    assert len(user.downloads.jobs()) == 1


def test_other_sources_of_the_same_torrent_are_names_of_one_download(fleet, user):
    _, torrent = seed(fleet)
    magnet = magnet_of(Magnet(torrent.infohash, "image", trackers=(UDP, HTTP)))
    job = user.add("image", trackers=(TrackerChoice(UDP, 0, TrackerSource.CLIENT),))
    user.complete(job)
    sources = ["image", torrent.infohash.hex(), magnet]
    for source in sources:
        assert user.add(source) is job
    assert user.add(torrent.to_bytes()) is job
    assert [one.url for one in job.options.trackers] == [UDP, HTTP]
    user.kill_and_restart()
    job = user.only()
    for name in (job.id, job.id.upper(), *map(tid_of, sources)):
        assert user.downloads.find(name) is job
    assert [one.url for one in job.options.trackers] == [UDP, HTTP]
    for name in ("", "x" * 40, "0" * 40, "0" * 64):
        with pytest.raises(NotFound):
            user.downloads.find(name)


def test_a_second_magnet_of_one_that_waits_adds_its_trackers(user):
    infohash = metainfo().infohash
    job = user.add(magnet_of(Magnet(infohash, trackers=(UDP,))))
    assert user.add(magnet_of(Magnet(infohash, "named", trackers=(HTTP,)))) is job
    urls = [state.url for state in user.downloads.trackers(job)]
    assert HTTP in urls
    user.kill_and_restart()
    assert HTTP in [state.url for state in user.downloads.trackers(user.only())]


def test_metainfo_ends_the_waiting_of_its_magnet(user):
    torrent = metainfo()
    job = user.add(magnet_of(Magnet(torrent.infohash)), category="kept")
    assert user.add(torrent.to_bytes()) is job
    assert user.only() is job
    assert job.entry is not None
    assert job.options.category == "kept"
    assert not user.table.pending
    assert len(user.table.records) == 1


def test_two_who_wait_for_one_bad_source_hear_of_it_both(fleet, slow):
    adding = [Deferred.fromCoroutine(slow.downloads.add(URL)) for _ in range(2)]
    failures = []
    for one in adding:
        one.addErrback(lambda failure: failures.append(failure.type))
    fleet.advance(0.1)
    assert len(slow.downloads.jobs()) == 1
    slow.fleet.web.answer()
    fleet.advance(0.1)
    assert failures == [Unavailable, Unavailable]
    assert not slow.downloads.jobs()


def test_too_many_trackers_are_cut_off(user):
    many = tuple(TrackerChoice(f"udp://{n}.x:1", n, TrackerSource.CLIENT) for n in range(1000))
    job = user.add(metainfo().to_bytes(), trackers=many)
    assert user.add(magnet_of(Magnet(job.infohash, trackers=(UDP,)))) is job
    assert job.options.trackers == many


# -- verbs before the metainfo is known


def test_one_that_begins_paused_stays_so_until_it_is_resumed(fleet, user):
    _, torrent = seed(fleet)
    job = user.add("image", paused=True, selected=(0,))
    assert (job.state, job.entry) == (State.PAUSED, None)
    assert user.view(job).paused_at is not None
    user.kill_and_restart()
    [job] = user.downloads.jobs()
    assert (job.state, job.options.selected) == (State.PAUSED, (0,))
    user.do(user.downloads.resume(job))
    user.complete(user.only())
    assert user.only().infohash == torrent.infohash


def test_metainfo_of_one_that_is_paused_is_taken_in(user):
    torrent = metainfo()
    job = user.add(torrent.infohash.hex())
    user.do(user.downloads.pause(job))
    user.add(torrent.to_bytes())
    assert (job.state, job.entry is not None) == (State.PAUSED, True)
    user.do(user.downloads.resume(job))
    assert job.state is State.DOWNLOADING


def test_while_its_source_is_followed(fleet, slow):
    job = slow.add(URL, wait=False)
    assert (job.state, job.id) == (State.METAINFO, job.tid)
    slow.do(slow.downloads.pause(job))
    fleet.web.answer()
    fleet.advance(0.1)
    assert job.state is State.PAUSED
    slow.do(slow.downloads.resume(job))
    assert job.state is State.METAINFO
    slow.do(slow.downloads.change(job, category="x"))
    slow.kill_and_restart()
    job = slow.only()
    assert (job.state, job.options.category) == (State.METAINFO, "x")
    slow.do(slow.downloads.remove(job, data=True))
    fleet.web.answer()
    fleet.advance(0.1)
    assert not slow.downloads.jobs()
    assert not slow.table.pending
    slow.kill_and_restart()
    assert not slow.downloads.jobs()


def test_a_pause_while_what_was_found_is_written_down(fleet, user):
    _, torrent = seed(fleet)
    user.table.before = hung = Hung("save")
    job = user.add("image", wait=False)
    fleet.advance(0.1)
    assert hung.waiting
    pausing = Deferred.fromCoroutine(user.downloads.pause(job))
    user.table.before = None
    hung.go_on()
    fleet.advance(0.1)
    assert pausing.called
    assert (job.state, user.only()) == (State.PAUSED, job)
    assert user.table.records[torrent.infohash].state == "paused"
    assert not user.table.pending


def test_a_table_that_refuses_makes_a_failed_download(fleet, user):
    seed(fleet)

    async def broken(name):
        if name == "save":
            raise Unavailable("the disk is full")

    user.table.before = broken
    with pytest.raises(Unavailable, match="full"):
        user.add("image")
    assert not user.downloads.jobs()
    job = user.add("image", wait=False)
    fleet.advance(0.1)
    assert (job.state, job.entry, job.error) == (State.FAILED, None, "the disk is full")
    user.table.before = None
    user.do(user.downloads.resume(job))
    user.complete(job)


def test_a_download_that_cannot_be_written_down_is_not_added(user):
    async def broken(_):
        raise Unavailable("the disk is full")

    user.table.before = broken
    for source in ("0" * 40, metainfo().to_bytes()):
        with pytest.raises(Unavailable):
            user.add(source)
    assert not user.downloads.jobs()
    assert user.kinds() == []


def test_two_changes_at_once_of_a_new_download_make_one_row(fleet, user):
    user.table.before = hung = Hung("save_pending")
    adding = Deferred.fromCoroutine(user.downloads.add("0" * 40, DownloadOptions()))
    [job] = user.downloads.jobs()
    changing = Deferred.fromCoroutine(user.downloads.change(job, category="x"))
    user.table.before = None
    hung.go_on()
    fleet.advance(0.1)
    assert adding.called
    assert changing.called
    assert len(user.table.pending) == 1


def test_a_record_that_cannot_be_read_costs_its_own_download_only(user, logged_errors):
    user.add("0" * 40)
    user.add("1" * 40)
    first = min(user.table.pending)
    user.table.pending[first] = replace(user.table.pending[first], job="nonsense")
    user.kill_and_restart()
    assert user.only().id == "1" * 40
    assert logged_errors.flush(ValueError)
