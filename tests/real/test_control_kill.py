"""kill -9 during each verb: what a restart shows is the old state or the new one, and whole."""

import http.client
import os
import random
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.dialects import Downloads, JsonRpc
from tests.real.fleet import MIB, digests, make_file, names, until

pytestmark = pytest.mark.real

ALBUM = "album"
FILES = ("a.bin", "b.bin", "c.bin")
ROUNDS = int(os.environ.get("P2PD_TEST_ROUNDS", "2"))
LONGEST = 0.03
"""Seconds after which the process is killed at the latest."""
RATE = 100_000
TRACKER = "http://127.0.0.1:9/announce"


class Controlled:
    """A node, killed again and again while it does as it is told."""

    def __init__(self, fleet, path, *options):
        fleet.start_tracker()
        self.seed = fleet.start_node()
        for name in FILES:
            make_file(path / "shared" / ALBUM / name, 3 * MIB, seed=name)
        self.whole = digests(path / "shared" / ALBUM)
        self.name = fleet.share(self.seed, path / "shared" / ALBUM)["infohash"]
        self.metainfo = self.seed.call("GET", f"/metainfo/{self.name}").body
        self.node = fleet.start_node(*options)
        self.downloads = Downloads(self._ask)
        self.rpc = JsonRpc(self._ask, str(self.node.downloads))
        self._rng = random.Random(os.environ.get("P2PD_TEST_SEED", "5"))
        self.loaded()

    def _ask(self, method, path, body=None):
        return self.node.call(method, path, body=body)

    def loaded(self):
        until(lambda: self.node.call("GET", "/state").json["state"] == "STARTED")

    def killed(self, verb, *given, **named):
        """Have a verb done, kill the node meanwhile, and start it; whether it had answered."""
        answered = []

        def send():
            # Whoever is killed before it has answered, or in the middle of it, has not.
            with suppress(OSError, http.client.HTTPException, ValueError):
                answered.append(verb(*given, **named))

        sending = threading.Thread(target=send)
        sending.start()
        time.sleep(self._rng.uniform(0, LONGEST))
        self.node.kill()
        sending.join()
        self.node.start()
        self.loaded()
        return bool(answered)

    def becomes(self, look, new, verb, *given, **named):
        """Kill the node during a verb: what `look` gives is as before, or `new`."""
        old = look()
        done = self.killed(verb, *given, **named)
        assert look() in ([new] if done else [old, new])

    def change(self, look, new, verb, *given, **named):
        """As `becomes`, and then do it to its end."""
        self.becomes(look, new, verb, *given, **named)
        if look() != new:
            verb(*given, **named)
        assert look() == new

    # -- how it stands

    @property
    def row(self):
        return self.downloads.call("GET", f"/downloads/{self.name}")["download"]

    def listed(self):
        return self.downloads.knows(self.name)

    def status(self):
        return self.row["status"]

    def paused(self):
        return self.status() == "DLSTATUS_STOPPED"

    def included(self):
        files = self.downloads.call("GET", f"/downloads/{self.name}/files")["files"]
        return [file["included"] for file in files]

    def limit(self):
        return self.row["download_limit"]

    def trackers(self):
        return TRACKER in [tracker["url"] for tracker in self.row["trackers"]]

    def destination(self):
        return self.row["destination"]

    def moving(self):
        (row,) = self.rpc.call("torrents.list")["torrents"]
        return row["moving_storage"]

    def setting(self):
        return self.downloads.call("GET", "/settings")["settings"]["libtorrent"]["max_upload_rate"]

    # -- verbs

    def add(self):
        self.downloads.add("metainfo", self.metainfo)

    def set(self, rate):
        body = b'{"libtorrent": {"max_upload_rate": %d}}' % rate
        self.downloads.call("POST", "/settings", body=body)

    def track(self, method):
        self.downloads.call(method, f"/downloads/{self.name}/trackers", {"url": TRACKER})

    def complete(self):
        until(lambda: self.status() == "DLSTATUS_SEEDING", what=self.row)

    def is_whole(self, directory=None):
        """All files are there, and nothing else."""
        directory = directory or self.node.downloads
        assert digests(directory / ALBUM) == self.whole
        assert names(directory) == [ALBUM]


@pytest.fixture
def controlled(fleet, tmp_path):
    return Controlled(fleet, tmp_path)


def test_a_download_that_is_under_way(controlled):
    one = controlled
    one.change(one.listed, True, one.add)
    one.change(one.limit, RATE, one.downloads.limit, one.name, RATE)
    for _ in range(ROUNDS // 2):
        one.change(one.paused, True, one.downloads.pause, one.name)
        one.change(one.paused, False, one.rpc.resume, one.name)
        one.change(one.included, [True, False, True], one.downloads.select, one.name, 0, 2)
        one.change(one.included, [True] * 3, one.downloads.select, one.name, 0, 1, 2)
    for rate, method, known in [(1_000_000, "PUT", True), (2_000_000, "DELETE", False)]:
        one.change(one.setting, rate, one.set, rate)
        one.change(one.trackers, known, one.track, method)
    one.downloads.recheck(one.name)
    one.killed(one.downloads.recheck, one.name)
    one.downloads.limit(one.name, 0)
    one.complete()
    one.is_whole()


def test_a_download_that_is_added_and_removed(controlled):
    one = controlled
    for _ in range(ROUNDS):
        one.change(one.listed, True, one.add)
        one.becomes(one.listed, False, one.downloads.remove, one.name, data=False)
    if not one.listed():
        one.add()
    one.complete()
    one.is_whole()
    assert names(one.node.downloads) == [ALBUM]


def test_a_complete_download_is_checked(controlled):
    one = controlled
    one.add()
    one.complete()
    for _ in range(ROUNDS):
        one.killed(one.rpc.recheck, one.name)
        assert one.status() in ("DLSTATUS_SEEDING", "DLSTATUS_HASHCHECKING")
        one.complete()
        one.is_whole()


@pytest.mark.parametrize("data", [False, True])
def test_a_complete_download_is_removed(controlled, data):
    one = controlled
    for _ in range(ROUNDS):
        one.add()
        one.complete()
        one.becomes(one.listed, False, one.downloads.remove, one.name, data=data)
        if one.listed():
            one.complete()
        if one.listed() or not data:
            one.is_whole()
        else:
            assert names(one.node.downloads) == []


def test_a_complete_download_is_moved(fleet, tmp_path):
    with tempfile.TemporaryDirectory(dir=tmp_path) as other:
        moves(fleet, tmp_path, Path(other))


def test_a_complete_download_is_moved_to_another_file_system(fleet, tmp_path):
    elsewhere = Path("/dev/shm")
    if not elsewhere.is_dir() or elsewhere.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("needs a second file system at /dev/shm")
    with tempfile.TemporaryDirectory(dir=elsewhere) as other:
        moves(fleet, tmp_path, Path(other))


def moves(fleet, tmp_path, other):
    one = Controlled(fleet, tmp_path, "--allow-root", other)
    one.add()
    one.complete()
    places = [one.node.downloads, other]
    for number in range(ROUNDS + 1):
        here, there = places[number % 2], places[(number + 1) % 2]
        old = one.destination()
        assert old == str(here)
        done = one.killed(one.downloads.move, one.name, str(there))
        # What was begun is ended by the restart.
        until(lambda: not one.moving())
        one.complete()
        found = Path(one.destination())
        assert found in ([there] if done else [here, there])
        one.is_whole(found)
        assert names(here if found == there else there) == []
        if found == here:
            one.downloads.move(one.name, str(there))
            one.is_whole(there)
