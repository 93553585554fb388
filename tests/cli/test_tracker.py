"""`p2pd tracker export` and `import`, over a real socket to a tracker's admin API."""

import json
import random
import stat

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import maybeDeferred

from p2pd.cli import tracker as commands
from p2pd.cli.outcome import Exit
from p2pd.frontends import (
    admin_dialect,
    admin_keys,
    admin_lists,
    admin_tables,
    admin_torrents,
    admin_users,
)
from p2pd.frontends.authorisation import Gate
from p2pd.frontends.kit import application
from p2pd.frontends.root import Root
from p2pd.frontends.site import Site
from p2pd.store.admin_tables import MemoryAdminTables
from p2pd.store.snapshot import MemorySnapshot
from p2pd.tracker.access import Access
from p2pd.tracker.administration import Administration
from p2pd.tracker.announcing import Announcing
from p2pd.tracker.peer_table import CompactTable
from p2pd.tracker.persistence import Persistence
from p2pd.tracker.users import hash_of

TOKEN = b"an-admin-token-of-some-length"
A, B, C = "aa" * 20, "bb" * 20, "cc" * 20
USER, OTHER = hash_of("42").hex(), hash_of("43").hex()
NUMBERS = {"uploaded": 1, "downloaded": 2, "completed": 3, "updated": 4, "active": True}
FULL = {
    "torrents": {A: 7, B: 0},
    "whitelist": [A],
    "blacklist": [B, C],
    "keys": {A: {"timeout": 60, "expires": 9_999_999_999}, B: {"timeout": 0, "expires": 0}},
    "users": {USER: {"name": "42", "key": C, **NUMBERS}},
}
TOLD = ["torrents", "2", "whitelist", "1", "blacklist", "2", "keys", "2", "users", "1"]
EMPTY = {section: type(value)() for section, value in FULL.items()}


class Tracker:
    """A tracker's admin API at `url`."""

    def __init__(self):
        table = CompactTable(lifetime=2700.0, now=reactor.seconds(), rng=random.Random(1))
        announcing = Announcing(table, Access(clock=reactor.seconds))
        self.administration = Administration(table, announcing.access)
        self.persistence = Persistence(
            reactor, announcing, MemoryAdminTables(portion=2), MemorySnapshot(), lifetime=2700.0
        )
        self.persistence.startService()
        gate = Gate(admin_token=TOKEN)
        admin = admin_dialect.Admin(self.administration, reactor)
        families = (admin_torrents, admin_lists, admin_keys, admin_users)
        tables = admin_tables.Tables(self.administration, self.persistence)
        apis = [*((each.api, admin) for each in families), (admin_tables.api, tables)]
        root = Root(gate, admin_dialect.error, application(gate, apis), {})
        self.port = reactor.listenTCP(0, Site(root), interface="127.0.0.1")
        self.url = f"http://127.0.0.1:{self.port.getHost().port}"

    async def stop(self):
        await self.port.stopListening()
        await maybeDeferred(self.persistence.stopService)


@pytest_twisted.async_yield_fixture
async def tracker():
    tracker = Tracker()
    yield tracker
    await tracker.stop()


@pytest.fixture
def run(command, tracker, tmp_path):
    """`await run("export", ...)` runs the command with the tracker's URL and token."""
    token = tmp_path / "token"
    token.write_bytes(TOKEN)
    token.chmod(0o600)

    def start(*argv, url=tracker.url):
        return command.start("tracker", *argv, "--tracker", url, "--admin-token-file", str(token))

    return start


@pytest.fixture
def file(tmp_path):
    return tmp_path / "tracker.json"


async def export(command, run):
    assert await run("export") == Exit.DONE
    return json.loads(command.out)


async def test_exports_what_was_imported(command, run, file):
    file.write_text(json.dumps(FULL))
    assert await run("import", str(file)) == Exit.DONE
    assert command.out.split() == TOLD
    assert await export(command, run) == FULL


async def test_imports_beside_what_is_there(command, run, file, tracker):
    tracker.administration.put_torrent(bytes.fromhex(A), 1)
    tracker.administration.put_torrent(bytes.fromhex(C), 1)
    file.write_text(json.dumps(FULL))
    await run("import", str(file), "--json")
    assert json.loads(command.out)["torrents"] == 2
    assert await export(command, run) == FULL | {"torrents": {A: 7, B: 0, C: 1}}


async def test_replaces_the_sections_that_are_given(command, run, file):
    file.write_text(json.dumps(FULL))
    await run("import", str(file))
    given = {
        "torrents": {B.upper(): 5},
        "blacklist": [A],
        "keys": {},
        "users": {OTHER: {"name": "43", "key": C, **NUMBERS}},
    }
    file.write_text(json.dumps(given))
    assert await run("import", str(file), "--replace") == Exit.DONE
    expected = FULL | given | {"torrents": {B: 5}}
    assert await export(command, run) == expected


async def test_a_file_need_not_fit_into_one_request(command, run, file, monkeypatch):
    monkeypatch.setattr(commands, "_ALMOST_ALL", 3)
    hashes = [bytes([at]).hex() * 20 for at in range(10)]
    given = EMPTY | {"torrents": dict.fromkeys(hashes, 1), "whitelist": hashes}
    file.write_text(json.dumps(given))
    await run("import", str(file))
    assert await export(command, run) == given
    file.write_text(json.dumps(EMPTY))
    await run("import", str(file), "--replace")
    assert await export(command, run) == EMPTY


async def test_a_file_is_replaced_and_its_owners_only(command, run, file):
    file.write_text("old")
    left = file.with_name(f"{file.name}.new")
    left.write_text("of an export that was cut off")
    left.chmod(0o644)
    assert await run("export", str(file)) == Exit.DONE
    assert json.loads(file.read_text()) == EMPTY
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "torrents   0" in command.out
    assert await run("export", str(file / "x")) == Exit.FAILED
    assert "cannot write" in command.err


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "is not JSON"),
        ("[]", "must be a JSON object with any of torrents, whitelist"),
        ('{"torrent": {}}', "must be a JSON object with any of torrents, whitelist"),
        ('{"torrents": []}', "torrents in"),
        ('{"torrents": {"123": 1}}', "invalid info_hash 123"),
    ],
)
async def test_refuses_a_malformed_file(command, run, file, text, complaint):
    file.write_text(text)
    assert await run("import", str(file)) == Exit.REFUSED
    assert complaint in command.err


async def test_tells_of_a_file_that_is_not_there(command, run, file):
    assert await run("import", str(file)) == Exit.FAILED
    assert "cannot read" in command.err


async def test_tells_of_a_wrong_token(command, run, tmp_path):
    (tmp_path / "token").write_bytes(b"this-is-another-token")
    assert await run("export") == Exit.REFUSED
    assert "--admin-token-file" in command.err


async def test_tells_of_what_is_no_tracker(command, run, scripted):
    assert await run("export", url=scripted(200, b"{}")) == Exit.UNREACHABLE
    assert "is no p2pd tracker" in command.err
    assert await run("export", url=scripted(200, b'{"status": "ok"}')) == Exit.UNREACHABLE
    assert "exports in an unknown way" in command.err
    assert await run("export", url="http://127.0.0.1:1") == Exit.UNREACHABLE
    assert "twistd -n p2p-tracker" in command.err
