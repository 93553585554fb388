"""What happens by itself every few seconds: seeds end, full disks halt downloads."""

import pytest

from p2pd.node.options import FOREVER, SeedingRule
from p2pd.node.settings import NodeSettings
from p2pd.swarm.lifecycle import State
from tests.node.user import PIECE, User, metainfo, seed


@pytest.fixture
def user(fleet):
    return User(fleet)


def look(fleet):
    fleet.advance(5.2, step=0.1)


def shared(fleet, user, served=0):
    entry = fleet.share(user.node, "mine", b"m" * 1000)
    entry.uploaded += served
    return entry.job


@pytest.mark.parametrize(
    ("served", "state"), [(1500, State.COMPLETE), (2000, State.PAUSED), (9000, State.PAUSED)]
)
def test_a_seed_ends_at_its_ratio(fleet, user, served, state):
    job = shared(fleet, user, served)
    user.do(user.downloads.change(job, seeding=SeedingRule(ratio=2.0)))
    look(fleet)
    assert job.state is state
    if state is State.PAUSED:
        assert user.kinds()[-1] == "paused"
        assert any("ratio" in line.text for line in job.log)
        user.kill_and_restart()
        assert user.only().state is State.PAUSED


def test_a_ratio_is_that_of_what_was_fetched(fleet, user):
    seed(fleet, pieces=4)
    job = user.add("image", seeding=SeedingRule(ratio=1.0))
    user.complete(job)
    job.entry.uploaded = 4 * PIECE - 1
    look(fleet)
    assert job.state is State.COMPLETE
    job.entry.uploaded += 1
    look(fleet)
    assert job.state is State.PAUSED


def test_a_seed_ends_when_its_time_is_over(fleet, user):
    job = shared(fleet, user)
    user.do(user.downloads.change_settings({"seeding_time": 20}))
    fleet.advance(14, step=0.1)
    assert job.state is State.COMPLETE
    fleet.advance(12, step=0.1)
    assert job.state is State.PAUSED


def test_a_rule_of_its_own_goes_before_the_nodes(fleet, user):
    user.do(user.downloads.change_settings({"seeding_ratio": 1.0}))
    job = shared(fleet, user, 5000)
    user.do(user.downloads.change(job, seeding=FOREVER))
    look(fleet)
    assert job.state is State.COMPLETE
    user.do(user.downloads.change(job, seeding=None))
    look(fleet)
    assert job.state is State.PAUSED


def test_without_a_rule_a_seed_never_ends(fleet, user):
    job = shared(fleet, user, 10**9)
    fleet.advance(100, step=1)
    assert job.state is State.COMPLETE


def test_a_download_ends_before_it_fills_the_disk(fleet):
    user = User(fleet, settings=NodeSettings(least_free=1000))
    job = user.add(metainfo().to_bytes())
    done = shared(fleet, user)
    look(fleet)
    assert job.state is State.DOWNLOADING
    user.disk.capacity = 999
    look(fleet)
    assert (job.state, done.state) == (State.FAILED, State.COMPLETE)
    assert "make room" in job.error
    assert user.kinds(job)[-1] == "failed"
    [low] = [one for one in user.heard if one.kind == "low space"]
    assert low.facts == {"path": "/memory", "free": 999}
    user.disk.capacity = 1 << 30
    user.do(user.downloads.resume(job))
    look(fleet)
    assert job.state is State.DOWNLOADING


def test_it_goes_on_looking_after_something_went_wrong(fleet, user, logged_errors):
    job = shared(fleet, user, 5000)
    user.do(user.downloads.change(job, seeding=SeedingRule(ratio=1.0)))

    async def broken(_):
        raise OSError("broken")

    user.table.before = broken
    look(fleet)
    assert logged_errors.flush(OSError)
    user.table.before = None
    if job.is_paused:
        user.do(user.downloads.resume(job))
    look(fleet)
    assert job.state is State.PAUSED
