"""What a tracker keeps when it is killed under load, and when it is told to stop."""

import contextlib
import http.client
import itertools
import random
import sqlite3
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, replace

import pytest

from tests.real.announces import (
    Announce,
    HttpDoor,
    PublicTracker,
    UdpDoor,
    User,
    can_use_ipv6,
)
from tests.real.fleet import until

pytestmark = pytest.mark.real

ROUNDS = 4
# What may be lost: the changes of the last second, and those that were being written.
WINDOW = 1.0 + 0.5
DATABASE = "tracker.sqlite3"
SNAPSHOT = "swarms"
needs_ipv6 = pytest.mark.skipif(not can_use_ipv6(), reason="there is no ::1")


@dataclass(frozen=True)
class Change:
    """Something that the tracker has said yes to; `value` is None for what is gone."""

    kind: str
    name: str
    value: object
    at: float = 0.0


class Load(threading.Thread):
    """Makes changes one after the other until the tracker is gone.

    `journal` holds those that were acknowledged, and as the last one, whatever came of it, the
    one that was not.
    """

    def __init__(self, changes):
        super().__init__()
        self.journal = []
        self._changes = changes
        self._failed = None
        self.start()

    def run(self):
        try:
            for change, make in self._changes:
                self.journal.append(replace(change, at=float("inf")))
                make()
                self.journal[-1] = replace(change, at=time.monotonic())
        except (OSError, http.client.HTTPException):
            pass  # it was killed
        except Exception as error:  # noqa: BLE001 - for the test to raise
            self._failed = error

    def finish(self):
        """Wait for the end; what was done."""
        self.join()
        if self._failed:
            raise self._failed
        return self.journal


def hashes(*seed):
    return random.Random(repr(seed)).randbytes(20)


def operate(tracker, life):
    """An operator makes things, and changes or removes most of them some time later."""
    admin = tracker.admin
    for number in itertools.count():
        name = hashes(life, number).hex()
        user = User(str(life * 1_000_000 + number), name)
        moved = f"{number}/0/0/0/1"
        yield (
            Change("whitelist", name, True),
            lambda name=name: admin("POST", f"whitelist/{name}"),
        )
        yield (
            Change("key", name, 1000 + number),
            lambda name=name, number=number: admin("POST", f"key/{name}/{1000 + number}"),
        )
        yield (
            Change("user", user.hash, number),
            lambda user=user, moved=moved: admin(
                "POST", f"user/{user.name}/{user.passkey}/{moved}"
            ),
        )
        yield (
            Change("torrent", name, number),
            lambda name=name, number=number: admin("POST", "torrents", {name: number}),
        )
        former = number - 40
        name = hashes(life, former).hex()
        if former >= 0 and former % 3:
            yield (
                Change("whitelist", name, None),
                lambda name=name: admin("DELETE", f"whitelist/{name}"),
            )
            yield (
                Change("key", name, None),
                lambda name=name: admin("DELETE", f"key/{name}"),
            )
            yield (
                Change("torrent", name, 2 * former),
                lambda name=name, former=former: admin("POST", "torrents", {name: 2 * former}),
            )


def complete(tracker, life):
    """Clients come and complete torrents, one after the other."""
    door = HttpDoor(tracker.doors["http-4"])
    counts = defaultdict(int)
    for number in itertools.count():
        infohash = hashes("completed", life, number % 50)
        said = Announce(infohash, 1 + number % 60_000, left=1, event="started")
        counts[infohash] += 1
        yield (
            Change("torrent", infohash.hex(), counts[infohash]),
            lambda said=said: (
                door.announce(said),
                door.announce(replace(said, left=0, event="completed")),
            ),
        )


def kept(tracker, names):
    """What the tracker knows of each, by kind and name; None for what it does not know."""
    found = {}
    for kind, those in names.items():
        for at in range(0, len(those), 1000):
            asked = sorted(those)[at : at + 1000]
            told = tracker.admin("POST", f"{kind}s/query", asked)[f"{kind}s"]
            for name in asked:
                found[kind, name] = _value(kind, told.get(name))
    return found


def _value(kind, told):
    if kind == "torrent":
        return told and told["completed"]
    if kind == "user":
        return told.get("uploaded")
    return told or None


def histories(journal):
    """What happened to each thing, by its kind and name, in order."""
    found = defaultdict(list)
    for change in journal:
        found[change.kind, change.name].append(change)
    return found


def test_killed_under_load_it_loses_only_the_last_second(twistd, tmp_path):
    tracker = PublicTracker(twistd, tmp_path / "tracker", "--write-behind", "1")
    settled = {}  # what a restart found, every later one must find
    for life in range(ROUNDS):
        loads = [Load(operate(tracker, life)), Load(complete(tracker, life))]
        time.sleep(random.Random(life).uniform(2.2, 3.2))
        tracker.kill()
        old = time.monotonic() - WINDOW
        happened = histories(change for load in loads for change in load.finish())
        assert sum(history[0].at < old for history in happened.values()) > 100

        with contextlib.closing(sqlite3.connect(tracker.directory / DATABASE)) as database:
            assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        tracker.start()

        names = defaultdict(set)
        for kind, name in (*settled, *happened):
            names[kind].add(name)
        found = kept(tracker, names)
        for which, value in settled.items():
            assert found[which] == value, which
        for which, history in happened.items():
            safe = [change for change in history if change.at < old]
            may_be = [change.value for change in (*safe[-1:], *history[len(safe) :])]
            if not safe:
                may_be.append(None)
            assert found[which] in may_be, (which, history)
        settled = found


@pytest.mark.parametrize("family", [4, pytest.param(6, marks=needs_ipv6)])
def test_told_to_stop_it_keeps_all(family, twistd, tmp_path):
    tracker = PublicTracker(twistd, tmp_path / "tracker", "--users", "--write-behind", "60")
    user = User("77", "ab" * 20)
    tracker.admin("POST", f"user/{user.name}/{user.passkey}/0/0/0/0/1")
    tracker.admin("POST", f"key/{'cd' * 20}/0")
    tracker.admin("POST", f"whitelist/{'ef' * 20}")
    host = "127.0.0.1" if family == 4 else "::1"
    infohash = hashes(family)
    clients = [Announce(infohash, port, source=host) for port in range(5000, 5040)]

    def door(kind):
        return f"{tracker.doors[f'{kind}-{family}']}/{user.passkey}"

    for said in clients:
        HttpDoor(door("http")).announce(replace(said, left=500, event="started", downloaded=0))
    for said in clients[:10]:
        HttpDoor(door("http")).announce(replace(said, event="completed", downloaded=500))
    newcomer = Announce(infohash, 4999, left=500, source=host)
    with UdpDoor(door("udp")) as udp:
        udp.announce(replace(clients[0], downloaded=500))
        assert tracker.terminate() == 0
        tracker.start()
        # With the connection id that the tracker gave before.
        heard = udp.announce(newcomer)
        assert heard.peers == {(host, said.port) for said in clients}
        assert (heard.complete, heard.incomplete) == (10, 31)
    assert HttpDoor(door("http")).scrape(infohash) == (10, 10, 31)
    told = tracker.user(user)
    assert (told["completed"], told["downloaded"]) == (10, 5000)
    assert tracker.admin("GET", f"key/{'cd' * 20}")["timeout"] == 0
    assert tracker.admin("GET", f"whitelist/{'ef' * 20}")["status"] == "ok"


def test_killed_it_begins_with_the_last_snapshot(twistd, tmp_path):
    tracker = PublicTracker(twistd, tmp_path / "tracker", "--snapshot-interval", "0.5")
    infohash = hashes("snapshot")
    for port in range(5000, 5040):
        HttpDoor(tracker.doors["http-4"]).announce(Announce(infohash, port))
    told = time.time()
    saved = tracker.directory / SNAPSHOT
    # The one that was begun after the last announce.
    until(lambda: saved.exists() and saved.stat().st_mtime > told + 0.5)
    tracker.kill()
    tracker.start()
    heard = HttpDoor(tracker.doors["http-4"]).announce(Announce(infohash, 4999, left=1))
    assert heard.peers == {("127.0.0.1", port) for port in range(5000, 5040)}
