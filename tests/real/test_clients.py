"""Stock BitTorrent clients find each other through the tracker, and hear why they are refused."""

import importlib.util
import os

import pytest

from tests.real.announces import PublicTracker, User
from tests.real.clients import (
    Aria2,
    Libtorrent,
    Npm,
    Qbittorrent,
    Shared,
    Transmission,
    install_npm_packages,
)
from tests.real.fleet import until

pytestmark = pytest.mark.real

CLIENTS = {
    "libtorrent": Libtorrent,
    "aria2c": Aria2,
    "transmission-daemon": Transmission,
    "qbittorrent-nox": Qbittorrent,
}
KEY = "1a" * 20
CLIENTS_USER = User("1", "2b" * 20)
OTHERS_USER = User("2", "3c" * 20)
FORMER_USER = User("3", "4d" * 20)
NOBODYS = "5e" * 20


@pytest.fixture
def client(request, other, tmp_path, require_program):
    """The client that the test is for, started."""
    name = request.param
    if name != "libtorrent":
        require_program(name)
    started = CLIENTS[name](tmp_path / name)
    yield started
    started.stop()


@pytest.fixture
def other(tmp_path):
    """A session of libtorrent at the other end."""
    if importlib.util.find_spec("libtorrent") is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("libtorrent is not installed")
    session = Libtorrent(tmp_path / "other")
    yield session
    session.stop()


@pytest.fixture
def npm(tmp_path, require_program):
    """bittorrent-tracker's client."""
    for program in ("node", "npm"):
        require_program(program)
    install_npm_packages()
    started = Npm(tmp_path / "npm")
    yield started
    started.stop()


def every_client(test):
    return pytest.mark.parametrize("client", CLIENTS, indirect=True)(test)


class Transfer:
    """One torrent that `giver` has and `taker` wants, each in a directory of its own.

    Both announce to the same tracker, the giver by another URL if there is one.
    """

    def __init__(self, tmp_path, name, tracker, giver, taker, givers_tracker=None):
        self.shared = Shared.random(name).announced_to(tracker)
        self._offered = self.shared.announced_to(givers_tracker or tracker)
        self.giver = giver
        self.taker = taker
        self._given = tmp_path / "given" / name
        self._taken = tmp_path / "taken" / name

    def give(self):
        self.giver.add(self._offered, self._offered.put(self._given))

    def take(self):
        self._taken.mkdir(parents=True)
        self.taker.add(self.shared, self._taken)

    @property
    def done(self):
        return self.shared.is_in(self._taken)


def run(transfers, tracker):
    """Let one side of each be known to the tracker, then start the other, and wait."""
    first, then = [], []
    for each in transfers:
        # Whoever comes second hears of the first, and has to call it.
        if each.taker.must_be_called:
            first.append(each.take)
            then.append(each.give)
        else:
            first.append(each.give)
            then.append(each.take)
    for start in first:
        start()
    for each in transfers:
        until(
            lambda each=each: tracker.swarm(each.shared),
            what=f"{each.shared.name} is unknown\n{tracker.log}",
        )
    for start in then:
        start()
    for each in transfers:
        until(
            lambda each=each: each.done,
            within=60,
            what=f"{each.shared.name} is not there\n{tracker.log}",
        )


@every_client
def test_finds_others_by_every_door(client, other, twistd, tmp_path):
    tracker = PublicTracker(twistd, tmp_path / "tracker")
    transfers = []
    for door, url in tracker.doors.items():
        if door in client.doors:
            transfers.append(Transfer(tmp_path, f"fetched-{door}", url, other, client))
            transfers.append(Transfer(tmp_path, f"seeded-{door}", url, client, other))
    assert transfers
    run(transfers, tracker)
    for each in transfers:
        until(lambda each=each: tracker.swarm(each.shared)["completed"] == 1)


@every_client
def test_is_let_in_with_key_and_passkey_and_told_why_not(client, other, twistd, tmp_path):
    strict = ["--access", "whitelist", "--require-keys", "--users"]
    tracker = PublicTracker(twistd, tmp_path / "strict", *strict)
    forbidding = PublicTracker(twistd, tmp_path / "forbidding", "--access", "blacklist")
    http, udp = tracker.doors["http-4"], tracker.doors["udp-4"]
    tracker.admin("POST", f"key/{KEY}/0")
    for user, active in ((CLIENTS_USER, 1), (OTHERS_USER, 1), (FORMER_USER, 0)):
        tracker.admin("POST", f"user/{user.name}/{user.passkey}/0/0/0/0/{active}")

    transfers = []
    for url in (http, udp) if client.sends_path_by_udp else (http,):
        mine, others = (f"{url}/{KEY}/{user.passkey}" for user in (CLIENTS_USER, OTHERS_USER))
        door = url[:3]
        transfers.append(Transfer(tmp_path, f"fetched-{door}", mine, other, client, others))
        transfers.append(Transfer(tmp_path, f"seeded-{door}", others, client, other, mine))
    for each in transfers:
        tracker.admin("POST", f"whitelist/{each.shared.infohash.hex()}")

    good = f"{KEY}/{CLIENTS_USER.passkey}"
    refusals = [
        (http, "missing key"),
        (f"{http}/abc", "invalid key"),
        (f"{http}/{NOBODYS}/{CLIENTS_USER.passkey}", "unknown key"),
        (f"{http}/{KEY}/{NOBODYS}", "unknown user key"),
        (f"{http}/{KEY}/{FORMER_USER.passkey}", "inactive user"),
        (f"{http}/{good}", "unknown info_hash"),
        (udp, "unknown key"),
        (forbidding.doors["http-4"], "forbidden info_hash"),
        (forbidding.doors["udp-4"], "torrent blacklist"),
    ]
    if client.sends_path_by_udp:
        refusals += [
            (f"{udp}/{KEY}/{NOBODYS}", "unknown user key"),
            (f"{udp}/{good}", "torrent not on whitelist"),
        ]
    refused = [
        (Shared.random(f"refused-{number}").announced_to(url), text)
        for number, (url, text) in enumerate(refusals)
    ]
    for shared, _ in refused:
        forbidding.admin("POST", f"blacklist/{shared.infohash.hex()}")
        client.add(shared, shared.put(tmp_path / "refused" / shared.name))

    run(transfers, tracker)
    for shared, reason in refused:
        text = (shared.tracker.startswith("udp") and client.says_by_udp) or reason
        until(
            lambda shared=shared, text=text: text in client.failure(shared),
            what=f"not {text!r}, but {client.failure(shared)!r} of {shared.tracker}",
        )
    fetched = len(transfers) // 2
    for user in (CLIENTS_USER, OTHERS_USER):
        until(lambda user=user: tracker.user(user)["completed"] == fetched)
        assert tracker.user(user)["downloaded"] >= fetched * len(transfers[0].shared.content)


def test_npm_client(npm, other, twistd, tmp_path):
    """It transfers nothing: it tells of itself, and hears of others and of refusals."""
    tracker = PublicTracker(twistd, tmp_path / "tracker", "--access", "blacklist")
    doors = {door: url for door, url in tracker.doors.items() if door in npm.doors}
    for door, url in doors.items():
        host = "[::1]" if door.endswith("6") else "127.0.0.1"
        shared = Shared.random(door).announced_to(url)
        other.add(shared, shared.put(tmp_path / door))
        until(lambda shared=shared: tracker.swarm(shared))
        npm.add(shared, tmp_path)
        until(
            lambda shared=shared, host=host: f"{host}:{other.port}" in npm.heard(shared, "peer"),
            what=npm.failure(shared),
        )
        assert npm.heard(shared, "update")[-1] == {"complete": 1, "incomplete": 1}
        peers = tracker.swarm(shared)["peers"]
        assert [peer["peer_addr"] for peer in peers] == [f"{host}:{npm.port}"]

        forbidden = Shared.random(f"forbidden-{door}").announced_to(url)
        tracker.admin("POST", f"blacklist/{forbidden.infohash.hex()}")
        npm.add(forbidden, tmp_path)
        text = "torrent blacklist" if url.startswith("udp") else "forbidden info_hash"
        until(
            lambda forbidden=forbidden, text=text: npm.failure(forbidden) == text,
            what=npm.failure(forbidden),
        )


@pytest.mark.parametrize("form", ["announce/{}/{}", "{}/{}/announce"])
def test_npm_client_with_key_and_passkey(form, npm, twistd, tmp_path):
    tracker = PublicTracker(twistd, tmp_path / "tracker", "--require-keys", "--users")
    tracker.admin("POST", f"key/{KEY}/0")
    user = CLIENTS_USER
    tracker.admin("POST", f"user/{user.name}/{user.passkey}/0/0/0/0/1")
    base = tracker.doors["http-4"].removesuffix("announce")
    told = {}
    for text, key, passkey in (
        ("", KEY, user.passkey),
        ("unknown key", NOBODYS, user.passkey),
        ("unknown user key", KEY, NOBODYS),
    ):
        told[text] = Shared.random(text).announced_to(base + form.format(key, passkey))
        npm.add(told[text], tmp_path)
    until(lambda: npm.heard(told[""], "update"), what=npm.failure(told[""]))
    for text, shared in told.items():
        until(lambda text=text, shared=shared: npm.failure(shared) == text)
