"""Files of a download: which are wanted, in which order, and where they go."""

import pytest

from p2pd.errors import Conflict, Invalid
from p2pd.swarm.lifecycle import State
from tests.node.user import PIECE, TREE, User, metainfo, seed, seed_tree

A, C, D = ("a",), ("b", "c"), ("b", "d")


@pytest.fixture
def user(fleet):
    return User(fleet)


def slow_tree(fleet, user, **options):
    fleet.network.latency = 0.02
    files, torrent = seed_tree(fleet)
    job = user.add("tree", **options)
    fleet.until(lambda: job.entry is not None and job.entry.held.count > 0)
    return files, torrent, job


def arrivals(fleet, user, job):
    """The pieces of a download in the order in which they come."""
    came = []

    class Watcher:
        def has(self, index, *, rare):
            came.append(index)

        def promised(self, index):
            pass

        def gone(self):
            pass

    job.entry.watch(Watcher())
    user.complete(job)
    return came


# -- which are wanted


@pytest.mark.parametrize("selected", [(0, 1), ("a", "c"), ("a", "b/c"), ("a", 1)])
def test_files_are_chosen_before_they_are_known(fleet, user, selected):
    files, _ = seed_tree(fleet)
    job = user.add("tree", selected=selected)
    user.complete(job)
    assert user.files(job) == {A: files[A], C: files[C]}
    view = user.view(job)
    assert (view.complete, view.partial, view.progress) == (True, True, 1.0)
    assert (view.wanted, view.left) == (5 * PIECE, 0)
    assert view.size == sum(TREE.values())
    assert [file.priority for file in user.downloads.files(job)] == [4, 4, 0]
    assert [file.done for file in user.downloads.files(job)] == [3 * PIECE, 2 * PIECE, 0]
    assert [file.progress for file in user.downloads.files(job)] == [1.0, 1.0, 0.0]


@pytest.mark.parametrize(
    "wrong", [{"selected": ("no such file",)}, {"selected": (9,)}, {"priorities": (1, 1)}]
)
def test_a_choice_that_does_not_fit_is_refused(fleet, user, wrong):
    seed_tree(fleet)
    with pytest.raises(Invalid):
        user.add("tree", **wrong)
    assert not user.downloads.jobs()
    assert not user.table.records
    assert not user.table.pending


def test_more_of_a_complete_download_is_wanted(fleet, user):
    files, _ = seed_tree(fleet)
    job = user.add("tree", selected=("a",))
    user.complete(job)
    fetched = job.entry.downloaded
    user.do(user.downloads.select(job, [4, 0, 4]))
    user.complete(job)
    assert user.files(job) == {A: files[A], D: files[D]}
    assert job.entry.downloaded == fetched + 4 * PIECE
    user.do(user.downloads.select(job, [4, 4, 4]))
    user.complete(job)
    assert user.files(job) == files
    assert not user.view(job).partial
    assert not user.disk.partial
    assert user.kinds(job).count("finished") == 3


def test_less_is_wanted_of_what_is_under_way(fleet, user):
    files, _, job = slow_tree(fleet, user)
    user.do(user.downloads.select(job, [0, 4, 0]))
    user.complete(job)
    assert user.files(job) == {C: files[C]}


def test_less_is_wanted_of_what_is_complete(fleet, user):
    files, _ = seed_tree(fleet)
    job = user.add("tree")
    user.complete(job)
    user.do(user.downloads.select(job, [0, 4, 0]))
    user.complete(job)
    assert user.files(job) == files, "nothing is deleted"
    assert job.entry.held.complete
    assert user.kinds(job).count("finished") == 1


def test_nothing_at_all_may_be_wanted(fleet, user):
    _, _, job = slow_tree(fleet, user)
    user.do(user.downloads.select(job, [0, 0, 0]))
    user.complete(job)
    assert user.view(job).left == 0
    assert not user.disk.published
    user.do(user.downloads.select(job, [4, 4, 4]))
    user.complete(job)
    assert len(user.files(job)) == 3


def test_what_is_paused_stays_so_when_other_files_are_wanted(fleet, user):
    files, _, job = slow_tree(fleet, user)
    user.do(user.downloads.pause(job))
    user.do(user.downloads.select(job, [0, 4, 0]))
    assert job.state is State.PAUSED
    user.kill_and_restart()
    job = user.only()
    assert [file.priority for file in user.downloads.files(job)] == [0, 4, 0]
    user.do(user.downloads.resume(job))
    user.complete(job)
    assert user.files(job) == {C: files[C]}


@pytest.mark.parametrize("wrong", [[4], [4, 4, 8], [4, 4, -1], [4, 4, 4, 4]])
def test_wrong_priorities_change_nothing(fleet, user, wrong):
    _, _, job = slow_tree(fleet, user)
    with pytest.raises(Invalid):
        user.do(user.downloads.select(job, wrong))
    assert job.state is State.DOWNLOADING
    user.complete(job)


def test_files_cannot_be_chosen_one_by_one_before_they_are_known(user):
    job = user.add("0" * 40)
    with pytest.raises(Conflict, match="metainfo"):
        user.do(user.downloads.select(job, [4]))
    with pytest.raises(Conflict, match="metainfo"):
        user.do(user.downloads.rename(job, "other"))
    with pytest.raises(Conflict, match="metainfo"):
        user.do(user.downloads.recheck(job))


def test_a_restart_goes_on_with_what_is_wanted(fleet, user):
    files, _, job = slow_tree(fleet, user, selected=("c", "d"))
    user.kill_and_restart()
    job = user.only()
    user.complete(job)
    assert user.files(job) == {C: files[C], D: files[D]}
    user.kill_and_restart()
    job = user.only()
    fleet.advance(0.1)
    assert job.state is State.COMPLETE
    assert user.view(job).left == 0


# -- in which order


def test_files_of_a_higher_priority_come_first(fleet, user):
    fleet.network.latency = 0.02
    _, torrent = seed_tree(fleet)
    user.outfit["parallel"] = 1
    user.kill_and_restart()
    job = user.add("tree", priorities=(1, 4, 7))
    came = arrivals(fleet, user, job)
    of = {
        path: list(torrent.pieces_of(file))
        for path, file in zip((A, C, D), torrent.files, strict=True)
    }
    assert sorted(came) == list(range(torrent.piece_count))
    assert [came.index(index) for index in of[D]] < [came.index(index) for index in of[C]]
    assert max(map(came.index, of[D])) < min(map(came.index, of[C]))
    assert max(map(came.index, of[C])) < min(map(came.index, of[A]))


@pytest.mark.parametrize("late", [True, False])
def test_pieces_come_in_order_if_they_are_asked_for_so(fleet, user, late):
    fleet.network.latency = 0.02
    seed(fleet)
    user.outfit["parallel"] = 1
    user.kill_and_restart()
    job = user.add("image", sequential=not late)
    if late:
        user.do(user.downloads.change(job, sequential=True))
    came = arrivals(fleet, user, job)
    assert came == sorted(came)


# -- where they go


def test_what_is_complete_is_moved_and_served_from_there(fleet, user):
    data, _ = seed(fleet)
    job = user.add("image")
    user.complete(job)
    user.do(user.downloads.move(job, "elsewhere"))
    assert {str(path): whole for path, whole in user.disk.published.items()} == {
        "/memory/elsewhere/image": data
    }
    view = user.view(job)
    assert (view.directory, view.path) == ("/memory/elsewhere", "/memory/elsewhere/image")
    assert job.state is State.COMPLETE
    assert user.kinds(job)[-1] == "relocated"
    user.kill_and_restart()
    assert user.view(user.only()).directory == "/memory/elsewhere"
    assert user.only().options.destination == "elsewhere/"


def test_what_is_under_way_goes_on_elsewhere(fleet, user):
    files, _, job = slow_tree(fleet, user)
    user.do(user.downloads.move(job, "elsewhere"))
    user.complete(job)
    assert user.view(job).path == "/memory/elsewhere/tree"
    assert user.files(job) == files


def test_a_download_without_metainfo_will_go_elsewhere(fleet, user):
    torrent = metainfo()
    job = user.add(torrent.infohash.hex())
    user.do(user.downloads.move(job, "elsewhere"))
    user.kill_and_restart()
    user.add(torrent.to_bytes())
    assert user.view(user.only()).path == "/memory/elsewhere/alone"


def test_nothing_is_moved_onto_something_else(fleet, user):
    data, _ = seed(fleet)
    job = user.add("image")
    user.complete(job)
    taken = user.downloads._store.root / "elsewhere" / "image"
    user.disk.published[taken] = b"mine"
    with pytest.raises(Conflict):
        user.do(user.downloads.move(job, "elsewhere"))
    assert user.disk.published[taken] == b"mine"
    assert (job.state, user.view(job).directory) == (State.COMPLETE, "/memory")
    user.do(user.downloads.move(job, "elsewhere", replace=True))
    assert user.disk.published == {taken: data}


@pytest.mark.parametrize("outside", ["/etc", "../x", "/memory/../x"])
def test_nothing_is_moved_outside(fleet, user, outside):
    seed(fleet)
    job = user.add("image")
    user.complete(job)
    with pytest.raises(Invalid):
        user.do(user.downloads.move(job, outside))
    assert job.state is State.COMPLETE


def test_a_download_is_renamed_in_place(fleet, user):
    data, _ = seed(fleet)
    job = user.add("image", destination="here/")
    user.complete(job)
    user.do(user.downloads.rename(job, "other"))
    assert [str(path) for path in user.disk.published] == ["/memory/here/other"]
    assert user.view(job).path == "/memory/here/other"
    for wrong in ("", "a/b", "..", "x" * 300):
        with pytest.raises(Invalid):
            user.do(user.downloads.rename(job, wrong))
    user.kill_and_restart()
    assert user.view(user.only()).path == "/memory/here/other"
    assert fleet.content(user.node, user.only().entry) == data


def test_what_was_shared_in_place_is_ours_once_it_was_moved(fleet, user):
    entry = fleet.share(user.node, "mine", b"mine")
    user.do(user.downloads.move(entry.job, "kept"))
    assert not entry.job.shared
    user.do(user.downloads.remove(entry.job, data=True))
    assert not user.disk.published
