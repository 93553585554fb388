"""Who may be active: bounds of the queue, positions, pauses of the whole node."""

import pytest

from p2pd.swarm.lifecycle import State
from tests.node.user import User, metainfo, seed

NAMES = ("a", "b", "c", "d")


@pytest.fixture
def user(fleet):
    return User(fleet)


def bound(user, downloads=0, seeds=0):
    user.do(
        user.downloads.change_settings(
            {"max_active_downloads": downloads, "max_active_seeds": seeds}
        )
    )
    user.fleet.advance(0.1)


def waiting(user, names=NAMES):
    return [user.add(metainfo(name).to_bytes()) for name in names]


def active(user):
    return [job.name for job in user.downloads.jobs() if job.state is not State.QUEUED]


def test_the_first_in_the_queue_are_active(user):
    bound(user, downloads=2)
    jobs = waiting(user)
    assert [job.position for job in jobs] == [1, 2, 3, 4]
    assert active(user) == ["a", "b"]
    user.do(user.downloads.pause(jobs[0]))
    assert active(user) == ["a", "b", "c"], "the paused one makes room"
    user.do(user.downloads.resume(jobs[0]))
    user.fleet.advance(0.1)
    assert active(user) == ["a", "b"]


def test_bounds_are_changed_at_run_time(user):
    waiting(user)
    assert len(active(user)) == 4
    bound(user, downloads=1)
    assert active(user) == ["a"]
    bound(user, downloads=3)
    assert active(user) == ["a", "b", "c"]
    bound(user)
    assert len(active(user)) == 4


@pytest.mark.parametrize(
    ("which", "to", "order"),
    [(3, 0, "dabc"), (0, 3, "bcda"), (0, 1, "bacd"), (1, 99, "acdb"), (2, -5, "cabd")],
)
def test_a_download_is_put_elsewhere_in_the_queue(user, which, to, order):
    bound(user, downloads=2)
    jobs = waiting(user)
    user.do(user.downloads.place(jobs[which], to))
    user.fleet.advance(0.1)
    assert "".join(job.name for job in user.downloads.jobs()) == order
    assert [job.position for job in user.downloads.jobs()] == [1, 2, 3, 4]
    assert active(user) == list(order[:2])
    user.kill_and_restart()
    assert "".join(job.name for job in user.downloads.jobs()) == order
    assert active(user) == list(order[:2])


def test_those_without_metainfo_have_their_place_too(user):
    first = user.add("0" * 40)
    [second] = waiting(user, ["b"])
    third = user.add("1" * 40)
    user.do(user.downloads.place(third, 0))
    assert user.downloads.jobs() == [third, first, second]
    user.kill_and_restart()
    assert [job.id for job in user.downloads.jobs()] == [third.id, first.id, second.id]


def test_one_that_ends_lets_the_next_begin(fleet, user):
    bound(user, downloads=1)
    seed(fleet)
    jobs = [user.add(name) for name in ("image",)] + waiting(user, ["b"])
    assert active(user) == ["image"]
    user.complete(jobs[0])
    assert active(user) == ["image", "b"], "a seed is no download"


def test_seeds_have_a_bound_of_their_own(fleet, user):
    for name in NAMES:
        fleet.share(user.node, name, name.encode() * 1000)
    bound(user, downloads=1, seeds=2)
    assert active(user) == ["a", "b"]
    assert user.downloads.counters().seeding == 2
    waiting(user, ["e"])
    assert active(user) == ["a", "b", "e"]
    last = user.downloads.jobs()[3]
    user.do(user.downloads.place(last, 0))
    fleet.advance(0.1)
    assert active(user) == ["d", "a", "e"]
    bound(user)
    assert len(active(user)) == 5
    assert not any(kind == "finished" for kind in user.kinds())


def test_a_node_that_is_paused_does_nothing_until_it_goes_on(fleet, user):
    fleet.share(user.node, "shared", b"shared" * 1000)
    jobs = [*waiting(user, ["a"]), user.add("0" * 40)]
    user.do(user.downloads.change_settings({"paused": True}))
    fleet.advance(0.1)
    assert active(user) == []
    assert user.add("1" * 40).state is State.QUEUED
    assert not any(job.is_paused for job in user.downloads.jobs())
    user.kill_and_restart()
    fleet.advance(1, step=0.01)
    assert active(user) == []
    user.do(user.downloads.change_settings({"paused": False}))
    fleet.advance(0.1)
    assert len(active(user)) == 4
    assert jobs


def test_one_paused_by_its_user_stays_so_when_the_node_goes_on(fleet, user):
    [job] = waiting(user, ["a"])
    user.do(user.downloads.pause(job))
    for paused in (True, False):
        user.do(user.downloads.change_settings({"paused": paused}))
    fleet.advance(0.1)
    assert job.state is State.PAUSED
