"""What both daemons are composed of."""

import stat

import pytest
from twisted.application.service import Service
from twisted.internet import reactor

from p2pd.daemon.composition import (
    OnDatabase,
    StateDir,
    make_gate,
    make_origin,
    read_control_tokens,
    read_token,
)
from p2pd.daemon.config import TrackerConfig
from p2pd.daemon.settings import load
from p2pd.errors import Denied
from p2pd.frontends.authorisation import Policy
from p2pd.links.origin import DirectoryOrigin, UrlOrigin
from p2pd.roles import Role
from p2pd.store.sqlite import Database


def config(**texts):
    return load(TrackerConfig, {name.replace("_", "-"): [text] for name, text in texts.items()})


def test_the_state_directory_is_its_owners(tmp_path):
    state = StateDir(tmp_path / "a" / "b")
    assert stat.S_IMODE(state.path.stat().st_mode) == 0o700
    state.release()


def test_one_daemon_for_each_state_directory(tmp_path):
    state = StateDir(tmp_path)
    with pytest.raises(SystemExit, match="another daemon uses the state directory"):
        StateDir(tmp_path)
    state.release()
    StateDir(tmp_path).release()


def test_a_secret_is_made_once_and_its_owners(tmp_path):
    state = StateDir(tmp_path)
    secret = state.secret("door")
    assert len(set(secret)) > 10
    assert len(secret) == 32
    assert state.secret("door") == secret != state.secret("other")
    assert stat.S_IMODE((tmp_path / "door").stat().st_mode) == 0o600
    state.release()
    (tmp_path / "full").mkdir()
    with pytest.raises(SystemExit, match=r"cannot keep a secret in .*: Is a directory"):
        state.secret("full")


def test_a_state_directory_that_cannot_be(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit, match=r"cannot use the state directory .*: "):
        StateDir(tmp_path / "file" / "below")


def test_tokens(tmp_path):
    file = tmp_path / "token"
    file.touch(0o600)
    file.write_text("0123456789abcdef\n")
    assert read_token(config(token_file=str(file))) == b"0123456789abcdef"
    assert read_token(config()) is None
    file.write_text("short")
    with pytest.raises(SystemExit, match="must have 16 to"):
        read_token(config(token_file=str(file)))


def test_control_tokens(tmp_path):
    assert read_control_tokens(None) == {}
    file = tmp_path / "tokens"
    file.touch(0o600)
    file.write_text("0123456789abcdef reader\n")
    assert read_control_tokens(file) == {b"0123456789abcdef": Role.READER}
    file.write_text("0123456789abcdef king\n")
    with pytest.raises(SystemExit, match="'king' is no role"):
        read_control_tokens(file)


class Asked:
    """As much of a request as the gate looks at."""

    def __init__(self, host):
        self.requestHeaders = self
        self.headers = {b"Host": [host]}

    def getRawHeaders(self, name):
        return self.headers.get(name)


def test_without_a_token_requests_must_name_loopback():
    rebound = Asked(b"evil.example")
    with pytest.raises(Denied, match="Host header"):
        make_gate(config(), None).check(rebound, Policy.CONTROL)
    make_gate(config(), None).check(Asked(b"localhost:38080"), Policy.CONTROL)
    make_gate(config(insecure="yes"), None).check(rebound, Policy.CONTROL)


def test_origins(tmp_path):
    assert make_origin(config(), reactor, "origin") is None
    directory = make_origin(config(origin_dir=str(tmp_path)), reactor, "origin")
    assert isinstance(directory, DirectoryOrigin)
    assert isinstance(make_origin(config(origin_url="http://x"), reactor, "o"), UrlOrigin)


class Recorder(Service):
    """Notes whether the database answers when it starts and stops."""

    def __init__(self, database):
        self.database = database
        self.seen = []

    def startService(self):
        super().startService()
        self.seen.append(self.database.opened)

    def stopService(self):
        super().stopService()
        self.seen.append(self.database.opened)


class Watched(Database):
    opened = False

    async def open(self):
        await super().open()
        self.opened = True

    async def close(self):
        await super().close()
        self.opened = False


async def test_a_service_runs_while_its_database_is_open(tmp_path):
    database = Watched(tmp_path / "x.sqlite3", [], reactor=reactor)
    service = Recorder(database)
    both = OnDatabase(database, service, reactor)
    both.startService()
    await both.stopService()
    assert service.seen == [True, True]
    assert not database.opened


async def test_what_it_knows_is_read_before_a_service_starts(tmp_path):
    database = Watched(tmp_path / "x.sqlite3", [], reactor=reactor)
    service = Recorder(database)
    read = []

    async def first():
        read.append((database.opened, service.running))

    both = OnDatabase(database, service, reactor, first=first)
    both.startService()
    await both.stopService()
    assert [tuple(map(bool, each)) for each in read] == [(True, False)]
    assert service.seen == [True, True]
