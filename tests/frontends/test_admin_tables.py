"""Export and import of all that a tracker keeps, in memory over the real resource."""

import json
import random

import pytest
from treq.testing import StubTreq
from twisted.internet.task import Clock

from p2pd.frontends import admin_dialect, admin_tables
from p2pd.frontends.authorisation import Gate
from p2pd.frontends.kit import application
from p2pd.frontends.root import Root
from p2pd.store.admin_tables import MemoryAdminTables
from p2pd.store.snapshot import MemorySnapshot
from p2pd.tracker.access import Access
from p2pd.tracker.administration import Administration
from p2pd.tracker.announcing import Announcing
from p2pd.tracker.peer_table import CompactTable
from p2pd.tracker.persistence import Persistence
from p2pd.tracker.records import Changes, KeyRecord
from p2pd.tracker.users import hash_of

NOW = 1_700_000_000
TOKEN = b"an admin token of some length"
A, B, C = "aa" * 20, "bb" * 20, "cc" * 20
USER = hash_of("42").hex()
FULL = {
    "torrents": {A: 7, B: 0},
    "whitelist": [A],
    "blacklist": [B, C],
    "keys": {A: {"timeout": 60, "expires": NOW + 30}, B: {"timeout": 0, "expires": 0}},
    "users": {
        USER: {
            "name": "42",
            "key": C,
            "uploaded": 1,
            "downloaded": 2,
            "completed": 3,
            "updated": 4,
            "active": False,
        }
    },
}


class Server:
    """A tracker's tables behind the operations."""

    def __init__(self):
        self.clock = Clock()
        self.clock.advance(NOW)
        table = CompactTable(lifetime=2700.0, now=NOW, rng=random.Random(1))
        self.access = Access(clock=self.clock.seconds)
        announcing = Announcing(table, self.access)
        self.persistence = Persistence(
            self.clock,
            announcing,
            MemoryAdminTables(portion=2),
            MemorySnapshot(),
            lifetime=2700.0,
        )
        self.administration = Administration(table, self.access, loaded=lambda: announcing.open)
        context = admin_tables.Tables(self.administration, self.persistence)
        gate = Gate(admin_token=TOKEN)
        app = application(gate, [(admin_tables.api, context)])
        self.treq = StubTreq(Root(gate, admin_dialect.error, app, {}))

    async def __call__(self, method, path, document=None, *, status=200, token=TOKEN):
        response = await self.treq.request(
            method,
            f"http://tracker.test/api/{path}",
            data=None if document is None else json.dumps(document).encode(),
            headers={"Authorization": b"Bearer " + token},
        )
        assert response.code == status
        return json.loads(await response.content())

    async def export(self):
        """Return everything, and how many portions it took."""
        whole = {"torrents": {}, "whitelist": [], "blacklist": [], "keys": {}, "users": {}}
        path, portions = "export", 0
        while path:
            portion = await self("GET", path)
            for section in ("torrents", "keys", "users"):
                whole[section] |= portion[section]
            for section in ("whitelist", "blacklist"):
                whole[section] += portion[section]
            path = portion["next"] and f"export?after={portion['next']}"
            portions += 1
        return whole, portions


@pytest.fixture
def server():
    server = Server()
    server.persistence.startService()
    yield server
    server.persistence.stopService()


async def test_exports_what_was_imported(server):
    told = await server("POST", "import", FULL)
    counts = {"torrents": 2, "whitelist": 1, "blacklist": 2, "keys": 2, "users": 1}
    assert told == {"status": "ok", **counts}
    whole, portions = await server.export()
    assert whole == FULL
    assert portions > 5


async def test_exports_what_is_not_written_yet(server):
    server.administration.put_torrent(bytes.fromhex(A), 5)
    assert (await server.export())[0]["torrents"] == {A: 5}


async def test_imports_beside_what_is_there(server):
    await server("POST", "import", FULL)
    await server("POST", "import", {"torrents": {A.upper(): 8, C: -1}, "whitelist": [B, B]})
    whole, _ = await server.export()
    assert whole == FULL | {"torrents": {A: 8, B: 0, C: 0}, "whitelist": [A, B]}


async def test_what_was_imported_acts_at_once(server):
    await server("POST", "import", FULL)
    assert server.access.keys.get(bytes.fromhex(A)) == KeyRecord(60, NOW + 30)
    assert not server.access.users.of(bytes.fromhex(C)).active


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ([], "bad json body"),
        ({"torrents": []}, "torrents must be an object"),
        ({"torrents": {"123": 4}}, "invalid info_hash 123"),
        ({"torrents": {"x" * 40: 4}}, "bad info_hash"),
        ({"torrents": {A: "4"}}, "invalid completed 4"),
        ({"torrents": {A: 2**63}}, f"invalid completed {2**63}"),
        ({"whitelist": {A: True}}, "whitelist must be an array"),
        ({"blacklist": [4]}, "invalid info_hash 4"),
        ({"keys": {A: 60}}, "a key_hash must have an object, not 60"),
        ({"keys": {A: {"timeout": 60}}}, "invalid expires null"),
        ({"keys": {"abc123": {}}}, "invalid key_hash abc123"),
        ({"users": {USER: {"key": A}}}, f"user_hash {USER} needs a name"),
        ({"users": {USER: {"name": "43", "key": A}}}, f"user_hash {USER} is not the SHA-1"),
        ({"users": {USER: {"name": "42"}}}, "invalid key_hash null"),
    ],
)
async def test_refuses_what_is_malformed_as_a_whole(server, document, reason):
    whole = {"whitelist": [C], **document} if isinstance(document, dict) else document
    told = await server("POST", "import", whole, status=400)
    assert told["status"].startswith(reason)
    assert not server.access.changes()


async def test_refuses_a_passkey_that_is_anothers(server):
    await server("POST", "import", FULL)
    other = {hash_of("7").hex(): {"name": "7", "key": C}}
    told = await server("POST", "import", {"users": other}, status=409)
    assert "another user's" in told["status"]


@pytest.mark.parametrize("after", ["", "nonsense", "counts-abc", "torrents-" + A])
async def test_refuses_a_mark_of_somebody_elses(server, after):
    told = await server("GET", f"export?after={after}", status=400)
    assert told["status"] == f"invalid after {after}"


async def test_wants_the_token(server):
    for method, path in (("GET", "export"), ("POST", "import")):
        told = await server(method, path, token=b"something else", status=400)
        assert told == {"status": "invalid token"}


async def test_takes_nothing_before_the_tables_are_loaded():
    server = Server()
    told = await server("POST", "import", FULL, status=503)
    assert "still loading" in told["status"]
    assert server.persistence.loaded.called is False
    assert server.access.changes() == Changes()
