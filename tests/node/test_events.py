"""What listeners hear of downloads: in order, and each thing once."""

import pytest

from p2pd.errors import Unavailable
from p2pd.node.events import Events, Kind
from p2pd.node.job import tid_of
from p2pd.swarm.lifecycle import State
from tests.node.user import User, metainfo, seed


@pytest.fixture
def user(fleet):
    return User(fleet)


def test_happenings_are_numbered_and_kept_for_who_comes_late():
    events, heard = Events(lambda: 5.0), []
    events.publish(Kind.ADDED, "id", "name")
    leave = events.subscribe(heard.append)
    events.publish(Kind.TRACKER, "id", "name", url="udp://x")
    events.publish(Kind.SHUTDOWN)
    leave()
    leave()
    events.publish(Kind.ADDED)
    assert events.audience == 0
    assert [(one.number, one.kind) for one in heard] == [(2, Kind.TRACKER), (3, Kind.SHUTDOWN)]
    assert heard[0].facts == {"url": "udp://x"}
    assert heard[0].time == 5.0
    assert [one.number for one in events.since(2)] == [3, 4]
    assert events.latest == 4


def test_only_the_latest_are_kept():
    events = Events(lambda: 0.0)
    for _ in range(1500):
        events.publish(Kind.CHANGED)
    assert [one.number for one in events.since(0)] == list(range(501, 1501))


def test_a_listener_may_leave_while_it_is_told():
    events, heard = Events(lambda: 0.0), []
    leave = events.subscribe(lambda _: leave())
    events.subscribe(heard.append)
    events.publish(Kind.ADDED)
    assert len(heard) == 1


def test_of_a_download_by_metainfo(fleet, user):
    _, torrent = seed(fleet)
    job = user.add(torrent.to_bytes())
    user.complete(job)
    assert user.kinds() == ["added", "state", "state", "metainfo", "state", "finished"]
    assert [one.facts["state"] for one in user.heard if one.kind is Kind.MOVED_ON] == [
        "queued",
        "downloading",
        "complete",
    ]
    assert all(one.id == job.id and one.name == "image" for one in user.heard)


def test_of_a_download_by_name(fleet, user):
    seed(fleet)
    job = user.add("image")
    user.complete(job)
    assert user.kinds() == ["added", "state", "state", "metainfo", "state", "finished"]
    assert user.heard[0].id == job.tid


def test_of_verbs(fleet, user):
    seed(fleet)
    job = user.add("image")
    user.complete(job)
    user.heard.clear()
    downloads = user.downloads
    user.do(downloads.pause(job))
    assert user.kinds() == ["state", "paused"]
    user.heard.clear()
    user.do(downloads.recheck(job))
    user.until(job, State.PAUSED)
    assert user.kinds() == ["state", "state"], "it was paused all the time"
    user.heard.clear()
    user.do(downloads.resume(job))
    user.complete(job)
    assert user.kinds() == ["state", "resumed", "state"]
    user.heard.clear()
    user.do(downloads.move(job, "elsewhere"))
    user.do(downloads.change(job, category="x"))
    user.do(downloads.place(job, 0))
    user.do(downloads.remove(job, data=True))
    assert user.kinds() == ["relocated", "changed", "changed", "removed"]
    assert user.heard[0].facts == {"path": "/memory/elsewhere/image"}


def test_of_damage(fleet, user):
    seed(fleet)
    job = user.add("image")
    user.complete(job)
    user.heard.clear()
    user.node.entries.damaged(job.entry, "gone")
    assert user.kinds() == ["state", "failed"]
    assert user.heard[-1].facts == {"reason": "damaged: gone"}
    user.do(user.downloads.resume(job))
    user.complete(job)
    assert user.kinds()[2:] == ["state", "resumed", "state"]


def test_of_one_without_metainfo(fleet, user):
    job = user.add("0" * 40)
    user.do(user.downloads.pause(job))
    user.do(user.downloads.resume(job))
    user.do(user.downloads.remove(job, data=False))
    assert user.kinds() == ["added", "paused", "resumed", "removed"]


def test_of_a_source_that_leads_nowhere(user):
    with pytest.raises(Unavailable):
        user.add("http://nobody.example/")
    assert user.kinds() == ["added", "failed", "removed"]
    user.heard.clear()
    user.add("nothing", wait=False)
    assert user.kinds() == ["added", "failed"]


def test_of_a_restart_nobody_hears_again(fleet, user):
    seed(fleet)
    user.complete(user.add("image"))
    user.add(metainfo().to_bytes(), paused=True)
    user.add("0" * 40)
    user.stop_and_restart()
    fleet.advance(1, step=0.01)
    assert not {"added", "finished", "metainfo", "removed"} & set(user.kinds())


def test_of_what_was_replaced(fleet, user):
    old = fleet.share(user.node, "image", b"old" * 100).job
    user.heard.clear()
    new = fleet.share(user.node, "image", b"new" * 100).job
    assert user.kinds(new) == ["added", "state"]
    assert user.kinds(old) == ["removed"]
    assert user.downloads.jobs() == [new]
    assert user.downloads.find(tid_of("image")) is new
