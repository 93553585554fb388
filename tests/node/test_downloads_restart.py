"""What a kill between the steps of a verb leaves, and what the next run makes of it."""

import pytest
from twisted.internet.defer import Deferred

from p2pd.node.job import Removal
from p2pd.swarm.lifecycle import State
from tests.node.user import Hung, User, seed, seed_tree


@pytest.fixture
def user(fleet):
    return User(fleet)


def complete(fleet, user):
    seed(fleet)
    job = user.add("image")
    user.complete(job)
    return job


def under_way(fleet, user):
    """A download that has some pieces, and a checkpoint of them."""
    fleet.network.latency = 1
    seed(fleet, pieces=100)
    job = user.add("image")
    fleet.advance(7, step=0.01)
    fleet.network.latency = 0.02
    assert 2 < job.entry.held.count < 90
    return job


def begin(user, verb):
    return Deferred.fromCoroutine(verb)


@pytest.mark.parametrize("data", [True, False])
def test_a_removal_that_was_begun_is_ended(fleet, user, data):
    job = complete(fleet, user)
    user.table.before = Hung("forget")
    removing = begin(user, user.downloads.remove(job, data=data))
    fleet.advance(0.1)
    assert not removing.called
    user.kill_and_restart()
    assert not user.downloads.jobs()
    assert not user.table.records
    assert bool(user.disk.published) is not data


def test_a_removal_that_was_not_written_down_did_not_happen(fleet, user):
    job = complete(fleet, user)
    user.table.before = Hung("save")
    begin(user, user.downloads.remove(job, data=True))
    fleet.advance(0.1)
    assert user.disk.published
    user.kill_and_restart()
    fleet.advance(0.1)
    assert user.only().state is State.COMPLETE
    assert user.only().removing is Removal.NO


def test_a_removal_of_what_is_unfinished_leaves_nothing(fleet, user):
    job = under_way(fleet, user)
    user.table.before = Hung("forget")
    begin(user, user.downloads.remove(job, data=False))
    fleet.advance(1, step=0.01)
    user.kill_and_restart()
    assert not user.downloads.jobs()
    assert not user.disk.partial


def test_a_move_that_was_begun_is_ended(fleet, user):
    job = complete(fleet, user)
    hung = Hung("move")
    move = job.entry.content.move

    async def slow(path, *, replace=False):
        await hung("move")
        await move(path, replace=replace)

    job.entry.content.move = slow
    begin(user, user.downloads.move(job, "elsewhere"))
    fleet.advance(0.1)
    assert hung.waiting
    user.kill_and_restart()
    fleet.advance(0.1)
    job = user.only()
    assert [str(path) for path in user.disk.published] == ["/memory/elsewhere/image"]
    assert user.view(job).path == "/memory/elsewhere/image"
    assert (job.state, job.moving_to) == (State.COMPLETE, "")
    user.kill_and_restart()
    fleet.advance(0.1)
    assert user.only().state is State.COMPLETE


@pytest.mark.parametrize("clean", [True, False])
def test_what_is_paused_comes_back_paused(fleet, user, clean):
    job = under_way(fleet, user)
    user.do(user.downloads.pause(job))
    before = user.view(job)
    (user.stop_and_restart if clean else user.kill_and_restart)()
    fleet.advance(2, step=0.01)
    job = user.only()
    view = user.view(job)
    assert (view.state, view.paused_at) == (State.PAUSED, before.paused_at)
    assert view.pieces_held == before.pieces_held
    assert view.elapsed == pytest.approx(before.elapsed)
    assert (view.added, view.started) == (before.added, before.started)
    user.do(user.downloads.resume(job))
    user.complete(job)
    assert job.entry.downloaded == job.entry.torrent.length


def test_a_pause_that_was_not_written_down_did_not_happen(fleet, user):
    job = under_way(fleet, user)
    user.table.before = Hung("save")
    begin(user, user.downloads.pause(job))
    fleet.advance(1, step=0.01)
    user.kill_and_restart()
    user.complete(user.only())


def test_a_recheck_that_was_cut_short_leaves_what_is_paused_so(fleet, user):
    job = under_way(fleet, user)
    user.do(user.downloads.pause(job))
    held = job.entry.held.count
    never = Hung("check")

    async def check(indexes, found):
        await never("check")

    job.entry.content.check = check
    user.do(user.downloads.recheck(job))
    assert job.state is State.CHECKING
    assert user.view(job).progress == 0.0
    user.kill_and_restart()
    fleet.advance(1, step=0.01)
    job = user.only()
    assert job.state is State.PAUSED
    user.do(user.downloads.resume(job))
    user.complete(job)
    assert held > 0
    assert job.entry.downloaded == job.entry.torrent.length, "no byte twice"


@pytest.mark.parametrize("selected", [(), ("a", "c")])
def test_a_recheck_of_what_is_complete_that_was_cut_short(fleet, user, selected):
    files, _ = seed_tree(fleet)
    job = user.add("tree", selected=selected)
    user.complete(job)
    fetched = job.entry.downloaded
    before = user.files(job)

    async def look(_):
        await Hung("look")("look")

    user.node.entries.look = look
    user.do(user.downloads.recheck(job))
    fleet.advance(6, step=0.1)
    user.kill_and_restart()
    fleet.advance(0.1)
    job = user.only()
    view = user.view(job)
    assert (view.state, view.left, view.downloaded) == (State.COMPLETE, 0, fetched)
    assert user.files(job) == before
    assert files


def test_mending_goes_on_after_a_kill(fleet, user):
    data, _ = seed(fleet)
    job = user.add("image")
    user.complete(job)
    user.disk.published[job.entry.content.path] = b"\0" + data[1:]
    fleet.network.latency = 1
    user.do(user.downloads.recheck(job))
    fleet.until(lambda: job.state is State.DOWNLOADING)
    fleet.advance(0.1)
    user.kill_and_restart()
    fleet.network.latency = 0.01
    user.complete(user.only())
    assert fleet.content(user.node, user.only().entry) == data


def test_a_choice_of_files_that_was_not_written_down_did_not_happen(fleet, user):
    seed_tree(fleet)
    job = user.add("tree", selected=("a",))
    user.complete(job)
    user.table.before = Hung("save")
    begin(user, user.downloads.select(job, [4, 4, 4]))
    fleet.advance(0.1)
    user.kill_and_restart()
    fleet.advance(0.1)
    job = user.only()
    assert [file.priority for file in user.downloads.files(job)] == [4, 0, 0]
    assert job.state is State.COMPLETE
