"""What a user may do with downloads, in each state, and what is refused."""

import gc
import weakref

import pytest
from twisted.internet.defer import Deferred, gatherResults

from p2pd.errors import Conflict, Invalid, NotFound, Unavailable
from p2pd.metainfo.magnet import Magnet, magnet_of
from p2pd.metainfo.torrent import Torrent
from p2pd.node.job import Level, tid_of
from p2pd.node.options import SeedingRule, TrackerSource
from p2pd.swarm.lifecycle import State
from tests.node.user import PIECE, Hung, User, metainfo, seed, seed_tree

UDP = "udp://tracker.example:80"
HTTP = "http://tracker.example/announce"


@pytest.fixture
def user(fleet):
    return User(fleet)


def slowly(fleet, user, pieces=50):
    """A download that is under way."""
    fleet.network.latency = 0.05
    seed(fleet, pieces=pieces)
    job = user.add("image")
    fleet.until(lambda: job.entry.held.count > 3)
    return job


# -- from beginning to end


def test_a_download_ends_with_what_was_shared(fleet, user):
    data, torrent = seed(fleet)
    job = user.add("image")
    user.complete(job)
    assert list(user.disk.published.values()) == [data]
    view = user.view(job)
    assert view.id == torrent.infohash.hex()
    assert (view.state, view.complete, view.progress, view.left) == (State.COMPLETE, True, 1.0, 0)
    assert view.downloaded == view.session_downloaded == len(data)
    assert view.finished is not None
    assert user.do(user.downloads.statistics()).downloaded == len(data)


def test_a_download_under_way_tells_how_it_goes(fleet, user):
    job = slowly(fleet, user)
    view = user.view(job)
    assert view.state is State.DOWNLOADING
    assert 0 < view.progress < 1
    assert view.wanted_done == view.downloaded == view.size - view.left
    assert view.speed_down > 0
    assert view.eta == pytest.approx(view.left / view.speed_down)
    assert view.connected_seeds == 1
    assert 1 < view.availability < 2
    assert view.started is not None
    assert view.elapsed > 0
    [link] = user.downloads.links(job)
    assert link.outgoing
    assert link.seed
    assert link.rate_down > 0
    assert link.received == view.downloaded
    seeder = fleet.controls[next(node for node in fleet.controls if node.node_id == "seed")]
    [back] = seeder.downloads.links(seeder.downloads.jobs()[0])
    assert not back.outgoing
    assert back.rate_up > 0
    assert back.sent >= view.downloaded


def test_availability_counts_what_all_hold_together(fleet, user):
    fleet.network.latency = 0.05
    _, torrent = seed(fleet, pieces=100)
    others = [User(fleet, name) for name in ("one", "two")]
    jobs = [one.add("image") for one in (user, *others)]
    fleet.until(lambda: all(job.entry.held.count > 8 for job in jobs))
    for link in user.downloads.links(jobs[0]):
        assert link.seed or (link.rate_down > 0 < link.rate_up)
    view = user.view(jobs[0])
    counts = [
        sum(index in job.entry.held for job in jobs) + 1 for index in range(torrent.piece_count)
    ]
    whole = min(counts)
    more = sum(count > whole for count in counts) / len(counts)
    assert view.connected_peers == 2
    assert view.availability == pytest.approx(whole + more, abs=0.5), "news takes its time"


def test_how_each_download_counts(fleet, user):
    seed(fleet)
    done = user.add("image")
    user.complete(done)
    user.add(metainfo("one").to_bytes())
    user.add(metainfo("two").to_bytes(), paused=True)
    user.add("0" * 40)
    user.add("gone", wait=False)
    counters = user.downloads.counters()
    assert counters.total == 5
    assert (counters.seeding, counters.downloading, counters.paused, counters.failed) == (
        1,
        2,
        1,
        1,
    )
    user.do(user.downloads.pause(done))
    assert user.downloads.counters().finished == 1


# -- pause and resume


def test_a_paused_download_stands_still_until_it_is_resumed(fleet, user):
    job = slowly(fleet, user)
    user.do(user.downloads.pause(job))
    held = job.entry.held.count
    fleet.advance(5, step=0.05)
    view = user.view(job)
    assert job.entry.held.count == held
    assert (view.state, view.speed_down, view.eta) == (State.PAUSED, 0.0, None)
    assert view.paused_at is not None
    elapsed = view.elapsed
    fleet.advance(5, step=0.05)
    assert user.view(job).elapsed == elapsed
    user.do(user.downloads.resume(job))
    user.complete(job)
    assert user.view(job).paused_at is None
    assert job.entry.downloaded == job.entry.torrent.length, "no byte twice"


@pytest.mark.parametrize("name", ["0" * 40, "image"])
def test_what_is_paused_cannot_be_paused_nor_what_goes_on_be_resumed(fleet, user, name):
    seed(fleet)
    job = user.add(name)
    with pytest.raises(Conflict):
        user.do(user.downloads.resume(job))
    user.do(user.downloads.pause(job))
    with pytest.raises(Conflict, match="already"):
        user.do(user.downloads.pause(job))
    user.do(user.downloads.resume(job))
    assert job.state is not State.PAUSED


def test_a_paused_seed_serves_nobody(fleet):
    node = fleet.node("seed")
    _, torrent = seed(fleet, node=node)
    downloads = fleet.control(node).downloads
    [job] = downloads.jobs()
    fleet.advance(7, step=0.1)
    before = downloads.view(job).seeding_time
    assert before == pytest.approx(7, abs=0.2)
    fleet.done(downloads.pause(job))
    with pytest.raises(NotFound):
        node.find_piece(torrent.piece_ids[0])
    fleet.advance(5, step=0.1)
    assert downloads.view(job).seeding_time == pytest.approx(before, abs=0.1)
    fleet.done(downloads.resume(job))
    assert job.state is State.COMPLETE
    assert node.find_piece(torrent.piece_ids[0])


def test_a_verb_returns_when_it_is_written_down(fleet, user):
    job = slowly(fleet, user)
    fleet.advance(0.1)
    user.table.before = hung = Hung("save")
    pausing = user.downloads.pause(job)
    ended = []

    Deferred.fromCoroutine(pausing).addCallback(ended.append)
    fleet.advance(0.5)
    assert job.state is State.PAUSED
    assert not ended, "the table has not written it yet"
    user.table.before = None
    hung.go_on()
    fleet.advance(0.01)
    assert ended
    assert user.table.records[job.infohash].state == "paused"


def test_verbs_on_one_download_go_one_after_the_other(fleet, user):
    job = slowly(fleet, user)
    downloads = user.downloads

    user.table.before = hung = Hung("save")
    verbs = [downloads.pause(job), downloads.resume(job), downloads.recheck(job)]
    running = [Deferred.fromCoroutine(verb) for verb in verbs]
    user.table.before = None
    hung.go_on()

    async def all_done():
        await gatherResults(running)

    user.do(all_done())
    user.complete(job)


# -- recheck


def test_a_recheck_finds_all_of_what_is_complete(fleet, user):
    seed(fleet)
    job = user.add("image")
    user.complete(job)
    fetched = job.entry.downloaded
    user.do(user.downloads.recheck(job))
    user.complete(job)
    assert job.entry.held.complete
    assert job.entry.downloaded == fetched


def test_a_recheck_leaves_what_is_paused_so(fleet, user):
    job = slowly(fleet, user)
    user.do(user.downloads.pause(job))
    held, since = job.entry.held.count, job.paused_at
    user.do(user.downloads.recheck(job))
    user.until(job, State.PAUSED)
    assert (job.entry.held.count, job.paused_at) == (held, since)
    fleet.advance(2, step=0.05)
    assert job.state is State.PAUSED


def test_a_recheck_of_a_partial_download_finds_what_is_damaged(fleet, user):
    job = slowly(fleet, user)
    user.do(user.downloads.pause(job))
    lost = next(iter(job.entry.held))
    partial = user.disk.partial[job.infohash]
    partial[lost * PIECE] ^= 1
    user.do(user.downloads.recheck(job))
    user.until(job, State.PAUSED)
    assert lost not in job.entry.held
    user.do(user.downloads.resume(job))
    user.complete(job)


def test_what_is_damaged_is_fetched_again(fleet, user):
    data, _ = seed(fleet)
    job = user.add("image")
    user.complete(job)
    fetched = job.entry.downloaded
    user.disk.published[job.entry.content.path] = b"\0" + data[1:]
    user.do(user.downloads.recheck(job))
    user.complete(job)
    assert fleet.content(user.node, job.entry) == data
    assert job.entry.downloaded == fetched + PIECE, "only the piece that was not there"


def test_damage_that_was_noticed_is_mended_by_resume(fleet, user):
    files, _ = seed_tree(fleet)
    job = user.add("tree")
    user.complete(job)
    del user.disk.published[job.entry.content.path / "a"]
    user.disk.published[job.entry.content.path / "mine"] = b"mine"
    user.node.entries.damaged(job.entry, "it is gone")
    assert job.state is State.FAILED
    fetched = job.entry.downloaded
    user.do(user.downloads.resume(job))
    user.complete(job)
    assert user.files(job) == files | {("mine",): b"mine"}
    assert job.entry.downloaded == fetched + 3 * PIECE


def test_damage_to_a_partial_download_is_mended_too(fleet, user):
    files, _ = seed_tree(fleet)
    job = user.add("tree", selected=("a", "c"))
    user.complete(job)
    fetched = job.entry.downloaded
    user.disk.published[job.entry.content.path / "a"] = bytes(3 * PIECE)
    user.do(user.downloads.recheck(job))
    user.complete(job)
    assert user.files(job) == {path: files[path] for path in [("a",), ("b", "c")]}
    assert job.entry.downloaded <= fetched + 3 * PIECE


def test_what_was_shared_and_changed_is_not_overwritten(fleet, user):
    path = fleet.share(user.node, "mine", b"old" * 100).content.path
    job = user.only()
    user.disk.published[path] = b"new" * 100
    user.do(user.downloads.recheck(job))
    user.until(job, State.FAILED)
    assert "share it again" in job.error
    user.do(user.downloads.resume(job))
    fleet.advance(1)
    assert job.state is State.FAILED
    assert user.disk.published[path] == b"new" * 100


# -- remove


@pytest.mark.parametrize("data", [True, False])
def test_removing_deletes_finished_files_only_if_asked_to(fleet, user, data):
    seed(fleet)
    job = user.add("image")
    user.complete(job)
    user.do(user.downloads.remove(job, data=data))
    assert bool(user.disk.published) is not data
    assert not user.table.records
    assert not user.downloads.jobs()
    for name in (job.id, job.tid):
        with pytest.raises(NotFound):
            user.downloads.find(name)


@pytest.mark.parametrize("data", [True, False])
def test_removing_deletes_what_is_unfinished(fleet, user, data):
    job = slowly(fleet, user)
    assert user.disk.partial
    user.do(user.downloads.remove(job, data=data))
    assert not user.disk.partial
    assert not user.disk.published
    fleet.advance(1, step=0.01)
    assert not user.table.records


def test_removing_never_deletes_what_was_shared_in_place(fleet, user):
    entry = fleet.share(user.node, "mine", b"mine")
    user.do(user.downloads.remove(entry.job, data=True))
    assert user.disk.published == {entry.content.path: b"mine"}
    assert not user.downloads.jobs()


def test_nothing_can_be_done_with_what_was_removed(fleet, user):
    _, torrent = seed(fleet)
    job = user.add("image")
    user.complete(job)
    user.do(user.downloads.remove(job, data=True))
    downloads = user.downloads
    for verb in (
        downloads.pause(job),
        downloads.recheck(job),
        downloads.remove(job, data=True),
        downloads.move(job, "elsewhere"),
        downloads.rename(job, "other"),
        downloads.select(job, [1]),
        downloads.change(job, category="late"),
        downloads.place(job, 0),
        downloads.add_trackers(job, [UDP]),
    ):
        with pytest.raises(NotFound):
            user.do(verb)
    fleet.advance(6, step=0.1)
    assert not user.table.records
    assert downloads.by_infohash(torrent.infohash) is None


def test_a_verb_that_waits_for_a_removal_finds_nothing(fleet, user):

    job = slowly(fleet, user)
    user.table.before = hung = Hung("forget")
    removing = Deferred.fromCoroutine(user.downloads.remove(job, data=True))
    late = [
        Deferred.fromCoroutine(user.node.verbs.pause(job.entry)),
        Deferred.fromCoroutine(user.node.verbs.recheck(job.entry)),
    ]
    failures = []
    for one in late:
        one.addErrback(lambda failure: failures.append(failure.trap(NotFound)))
    fleet.advance(0.5)
    assert not removing.called
    hung.go_on()
    fleet.advance(0.1)
    assert removing.called
    assert failures == [NotFound, NotFound]
    assert not user.table.records
    assert user.kinds(job).count("added") == 1


def test_what_is_asked_for_anew_while_it_is_removed_begins_after_that(fleet, user):

    data, torrent = seed(fleet)
    job = user.add("image")
    user.complete(job)
    user.table.before = hung = Hung("forget")
    removing = Deferred.fromCoroutine(user.downloads.remove(job, data=True))
    adding = Deferred.fromCoroutine(user.downloads.add(torrent.to_bytes()))
    fleet.advance(0.1)
    assert not adding.called
    hung.go_on()
    fleet.advance(0.1)
    assert removing.called
    user.complete(user.only())
    assert user.only() is not job
    assert list(user.disk.published.values()) == [data]


def test_nothing_is_kept_of_what_was_removed(fleet, user):
    seed(fleet)
    job = user.add("image", trackers=())
    user.complete(job)
    user.do(user.downloads.add_trackers(job, [HTTP]))
    gone = [weakref.ref(job), weakref.ref(job.entry)]
    user.do(user.downloads.remove(job, data=True))
    user.heard.clear()
    del job
    fleet.advance(10, step=0.1)
    gc.collect()
    assert [ref() for ref in gone] == [None, None]


# -- options


def test_limits_are_taken_up_at_once_and_remembered(fleet, user):
    job = slowly(fleet, user)
    user.do(user.downloads.change(job, upload_limit=1000, download_limit=PIECE))
    assert (job.entry.upload_limit.rate, job.entry.download_limit.rate) == (1000, PIECE)
    user.do(
        user.downloads.change(
            job,
            max_connections=3,
            max_uploads=2,
            category="books",
            tags=("a", "b"),
            metadata={"k": [1, None]},
            seeding=SeedingRule(ratio=2.0),
        )
    )
    user.kill_and_restart()
    view = user.view(user.only())
    assert (view.upload_limit, view.download_limit) == (1000, PIECE)
    assert (view.max_connections, view.max_uploads) == (3, 2)
    assert (view.category, view.tags, view.metadata) == ("books", ("a", "b"), {"k": [1, None]})
    assert view.seeding == SeedingRule(ratio=2.0)
    assert user.only().entry.upload_limit.rate == 1000


@pytest.mark.parametrize(
    "wrong", [{"upload_limit": -1}, {"max_uploads": -1}, {"category": "x" * 5000}]
)
def test_options_out_of_bounds_are_refused_and_nothing_changes(fleet, user, wrong):
    seed(fleet)
    job = user.add("image")
    before = job.options
    with pytest.raises(Invalid):
        user.do(user.downloads.change(job, **wrong))
    assert job.options == before


def test_fewer_connections_let_go_of_peers(fleet, user):
    fleet.network.latency = 0.05
    seed(fleet, pieces=60)
    others = [User(fleet, name) for name in ("one", "two", "three")]
    job = user.add("image")
    for one in others:
        one.add("image")
    fleet.until(lambda: len(user.downloads.links(job)) >= 3)
    user.do(user.downloads.change(job, max_connections=1))
    fleet.advance(0.2)
    assert sum(link.outgoing for link in user.downloads.links(job)) == 1


# -- trackers


def test_trackers_of_a_download(fleet, user):
    seed(fleet)
    job = user.add("image")
    downloads = user.downloads
    user.do(downloads.add_trackers(job, [UDP, HTTP, UDP]))
    user.do(downloads.add_trackers(job, [HTTP], tier=5))
    states = {state.url: state for state in downloads.trackers(job)}
    assert set(states) == {UDP, HTTP}
    assert all(state.source is TrackerSource.CLIENT for state in states.values())
    assert states[HTTP].tier == 0
    with pytest.raises(Invalid):
        user.do(downloads.add_trackers(job, ["ftp://x"]))
    user.do(downloads.remove_tracker(job, UDP))
    assert [state.url for state in downloads.trackers(job)] == [HTTP]
    with pytest.raises(NotFound):
        user.do(downloads.remove_tracker(job, UDP))
    user.do(downloads.force_announce(job))
    with pytest.raises(NotFound):
        user.do(downloads.force_announce(job, UDP))
    user.kill_and_restart()
    assert [state.url for state in user.downloads.trackers(user.only())] == [HTTP]


def test_what_a_tracker_fails_with_is_in_the_log(fleet, user):
    seed(fleet)
    job = user.add("image")
    user.do(user.downloads.add_trackers(job, [HTTP]))
    fleet.advance(1, step=0.01)
    assert any(line.level is Level.WARNING and HTTP in line.text for line in user.view(job).log)


def test_peers_can_be_named(fleet, user):
    seed(fleet)
    job = user.add(magnet_of(Magnet(metainfo().infohash)))
    with pytest.raises(Conflict, match="metainfo"):
        user.downloads.add_peers(job, ["seed:1"])
    _, torrent = seed(fleet, name="other", node="second")
    fleet.stop_tracker()
    job = user.add(torrent.to_bytes())
    fleet.advance(1)
    assert job.entry.held.count == 0
    user.downloads.add_peers(job, ["second:1"])
    user.complete(job)


# -- create, share, inspect


def test_a_torrent_of_one_file(fleet, user):
    user.disk.published[user.downloads._store.root / "one"] = b"one" * 1000
    made = user.do(
        user.downloads.create(
            ["/memory/one"], trackers=[UDP, HTTP], comment="a comment", download=True
        )
    )
    torrent = Torrent.from_bytes(made)
    assert (torrent.name, torrent.comment) == ("one", "a comment")
    assert torrent.trackers == ((UDP,), (HTTP,))
    job = user.only()
    assert (job.state, job.infohash, job.shared) == (State.COMPLETE, torrent.infohash, True)
    assert [state.url for state in user.downloads.trackers(job)] == [UDP, HTTP]
    assert user.view(job).comment == "a comment"
    assert user.downloads.metainfo(job) == made
    assert user.downloads.find(tid_of(job.options.source)) is job
    other = User(fleet, "other")
    got = other.add(made)
    other.complete(got)
    assert other.view(got).comment == "a comment"


def test_a_torrent_of_a_directory_and_of_some_of_it(user):
    for name in ("a", "b", "c"):
        user.disk.published[user.downloads._store.root / "tree" / name] = name.encode() * 999
    whole = Torrent.from_bytes(user.do(user.downloads.create(["/memory/tree"], name="named")))
    assert (whole.name, len(whole.files)) == ("named", 3)
    some = Torrent.from_bytes(
        user.do(user.downloads.create(["/memory/tree/a", "/memory/tree/c"], download=True))
    )
    assert [file.path for file in some.files if not file.padding] == [("a",), ("c",)]
    job = user.only()
    user.do(user.downloads.remove(job, data=True))
    assert len(user.disk.published) == 3


@pytest.mark.parametrize("paths", [[], ["/memory/tree/a", "/memory/other/b"]])
def test_what_does_not_lie_together_is_no_torrent(user, paths):
    user.disk.published[user.downloads._store.root / "tree" / "a"] = b"a"
    user.disk.published[user.downloads._store.root / "other" / "b"] = b"b"
    with pytest.raises(Invalid):
        user.do(user.downloads.create(paths))


def test_a_torrent_is_not_made_with_a_wrong_tracker(user):
    user.disk.published[user.downloads._store.root / "one"] = b"one"
    with pytest.raises(Invalid):
        user.do(user.downloads.create(["/memory/one"], trackers=["nonsense"], download=True))
    assert not user.downloads.jobs()


def test_what_is_shared_twice_is_one_download(fleet, user):
    fleet.share(user.node, "mine", b"mine")
    path = user.only().entry.content.path
    job = user.do(user.downloads.share(str(path)))
    assert job is user.only()
    with pytest.raises(NotFound):
        user.do(user.downloads.share("/nowhere/at/all"))


def test_to_inspect_begins_nothing(fleet, user):
    _, torrent = seed(fleet)
    found = user.do(user.downloads.inspect("image"))
    assert found.infohash == torrent.infohash
    assert not user.downloads.jobs()
    with pytest.raises(NotFound):
        user.do(user.downloads.inspect("no such file"))


def test_metainfo_and_pieces_of_a_download(fleet, user):
    _, torrent = seed(fleet)
    waiting = user.add("1" * 40)
    assert user.downloads.bitfield(waiting) == b""
    assert user.downloads.files(waiting) == user.downloads.links(waiting) == []
    with pytest.raises(NotFound, match="metainfo"):
        user.downloads.metainfo(waiting)
    job = user.add("image")
    user.complete(job)
    assert Torrent.from_bytes(user.downloads.metainfo(job)).infohash == torrent.infohash
    assert user.downloads.bitfield(job) == job.entry.held.to_bytes() == b"\xff\xff\xf0"


# -- the node


def test_settings_are_applied_and_kept(user):
    user.do(user.downloads.change_settings({"max_upload_rate": 5000, "seeding_ratio": 1.5}))
    assert user.node.uplink.rate == 5000
    assert user.kinds() == ["settings"]
    user.kill_and_restart()
    assert user.node.uplink.rate == 5000
    assert user.downloads.settings.seeding_ratio == 1.5
    with pytest.raises(Invalid, match="max_upload_rate"):
        user.do(user.downloads.change_settings({"max_upload_rate": -1}))
    with pytest.raises(Invalid, match="no setting"):
        user.do(user.downloads.change_settings({"colour": 1}))


def test_settings_of_another_version_are_left_out(fleet, user):
    user.table.settings = {"colour": 1, "log_lines": 3, "paused": "yes"}
    user.stop_and_restart()
    assert user.downloads.settings.log_lines == 3
    assert user.downloads.settings.paused is False


def test_totals_go_on_after_a_restart_those_of_the_session_do_not(fleet, user):
    data, _ = seed(fleet)
    job = user.add("image")
    user.complete(job)
    user.stop_and_restart()
    job = user.only()
    fleet.until(lambda: job.state is State.COMPLETE)
    view = user.view(job)
    assert (view.downloaded, view.session_downloaded) == (len(data), 0)
    assert view.finished is not None
    assert view.complete


def test_the_disk_has_room(user):
    space = user.do(user.downloads.space())
    assert space.path == "/memory"
    assert 0 < space.available <= space.free <= space.capacity


def test_a_table_that_refuses_leaves_the_download_as_it_was(fleet, user):
    seed(fleet)
    job = user.add("image")
    user.complete(job)

    async def broken(_):
        raise Unavailable("the disk is full")

    user.table.before = broken
    with pytest.raises(Unavailable):
        user.do(user.downloads.remove(job, data=True))
    user.table.before = None
    assert user.only() is job
    assert job.state is State.COMPLETE
    assert user.disk.published
    user.kill_and_restart()
    fleet.advance(1)
    assert user.only().state is State.COMPLETE
