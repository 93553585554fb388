"""The route tables of both daemons: what each route guards, and that all APIs guard it alike."""

import json
import random

import pytest
from treq.testing import StubTreq
from twisted.internet.task import Clock

from p2pd.frontends import jsonrpc
from p2pd.frontends.authorisation import LEAST, Gate, Policy
from p2pd.frontends.mount import Parts, node_root, tracker_root
from p2pd.frontends.sending import Uplink
from p2pd.frontends.sources import Sources
from p2pd.roles import Role
from p2pd.store.admin_tables import MemoryAdminTables
from p2pd.store.snapshot import MemorySnapshot
from p2pd.store.tracker_tables import MemoryCatalog
from p2pd.swarm.uploads import Uploads
from p2pd.tracker.access import Access
from p2pd.tracker.announcing import Announcing, Tally
from p2pd.tracker.peer_table import CompactTable
from p2pd.tracker.persistence import Persistence
from p2pd.tracker.tracker import Tracker
from tests.fleet import Fleet

SAFE = {"GET", "HEAD"}


@pytest.fixture
def fleet():
    return Fleet()


@pytest.fixture
def node(fleet):
    return fleet.node("node")


def root_of_node(fleet, node, gate):
    return node_root(fleet.control(node), gate, Uplink(node.uplink, Uploads()))


def root_of_tracker(tmp_path):
    clock = Clock()
    table = CompactTable(lifetime=1600.0, now=0.0, rng=random.Random(1))
    announcing = Announcing(table, Access(clock=clock.seconds))
    tallies = {name: lambda: (Tally(), Tally()) for name in ("http", "udp")}
    parts = Parts(
        Tracker(clock, MemoryCatalog()),
        announcing,
        Persistence(clock, announcing, MemoryAdminTables(), MemorySnapshot(), lifetime=1600.0),
        Sources((), ()),
        tallies,
        started=0.0,
        clock=clock,
        origin_dir=tmp_path,
    )
    return tracker_root(parts, Gate())._root


def rows(root):
    """Every method and path that a daemon serves, with its policy."""
    for api in root._app._apis:
        for route in api.routes:
            for method in route.methods:
                yield method, route.path, route.policy
    raw = {f"/{name.decode()}": policy for name, (_, policy) in root._raw.items()}
    if root._roaming:
        raw["/KEY"] = root._roaming.policy
    for path, policy in raw.items():
        yield "GET", path, policy


def public(table):
    return {(method, path) for method, path, policy in table if policy is Policy.PUBLIC}


def changing(table):
    return {
        (method, path, policy)
        for method, path, policy in table
        if method not in SAFE and policy in {Policy.PUBLIC, Policy.READ}
    }


def test_every_route_of_a_node_guards_what_it_gives_away(fleet, node):
    table = list(rows(root_of_node(fleet, node, Gate())))
    for area in ("/downloads", "/task/list", "/api/v1/jsonrpc", "/api/v1/transfers", "/pieces"):
        assert area in {path for _, path, _ in table}
    assert {policy for *_, policy in table} == {Policy.PUBLIC, Policy.SWARM, *LEAST}
    assert public(table) == {
        ("GET", "/"),
        ("GET", "/api/v1/health"),
        ("GET", "/api/v1/system"),
        ("POST", "/api/v1/auth/login"),
    }
    assert changing(table) == {
        ("POST", "/api/v1/auth/login", Policy.PUBLIC),
        ("POST", "/api/v1/jsonrpc", Policy.READ),  # and what each method takes: see below
    }


def test_every_route_of_a_tracker_guards_what_it_gives_away(tmp_path):
    table = list(rows(root_of_tracker(tmp_path)))
    assert {policy for *_, policy in table} <= set(Policy)
    assert public(table) == {
        ("GET", "/"),
        ("GET", "/api/v1/health"),
        ("GET", "/api/openapi.json"),
        ("GET", "/announce"),
        ("GET", "/scrape"),
        ("GET", "/KEY"),
    }
    assert changing(table) == set()
    assert {path for _, path, policy in table if policy is Policy.SWARM} >= {"/origin"}
    administered = {path for _, path, policy in table if policy is Policy.ADMIN}
    assert {"/metrics", "/stats", "/api/torrent"} <= {
        path.partition("/<")[0] for path in administered
    }


def test_every_method_of_json_rpc_guards_what_it_does():
    policies = {name: jsonrpc.methods.policy_of(name) for name in jsonrpc.methods}
    assert set(policies.values()) == set(LEAST)
    looks = {name for name, policy in policies.items() if policy is Policy.READ}
    assert {"torrents.list", "torrents.trackers.list", "sessions.list"} <= looks
    others = {"fs.space", "sys.versions", "torrents.overview"}
    assert {name for name in looks if not name.endswith((".list", ".get"))} == others


# -- what one API denies the others deny

FLEET_TOKEN = "a-token-of-the-fleet"
TOKENS = {
    "a-reader-of-this": Role.READER,
    "an-operator-of-it": Role.OPERATOR,
    "its-administrator": Role.ADMIN,
}
HOST = "127.0.0.1:48000"
ORIGIN = {"Origin": f"http://{HOST}"}
CARRIERS = {
    "bearer": lambda token: ({"Authorization": f"Bearer {token}"}, ""),
    "x-api-key": lambda token: ({"X-Api-Key": token}, ""),
    "x-porla-token": lambda token: ({"X-Porla-Token": f"Bearer {token}"}, ""),
    "bare x-porla-token": lambda token: ({"X-Porla-Token": token}, ""),
    "apikey": lambda token: ({}, f"apikey={token}"),
    "key": lambda token: ({}, f"key={token}"),
    "api_key cookie": lambda token: ({"Cookie": f"api_key={token}", **ORIGIN}, ""),
    "porla cookie": lambda token: ({"Cookie": f"porla-auth-token={token}", **ORIGIN}, ""),
    "forged cookie": lambda token: (
        {"Cookie": f"api_key={token}", "Origin": "http://evil.example"},
        "",
    ),
    "basic": lambda token: ({"Authorization": f"Basic {token}"}, ""),
    "wrong": lambda token: ({"X-Api-Key": f"{token}x"}, ""),
    "two": lambda token: ({"X-Api-Key": token}, "apikey=another-credential"),
    "none": lambda _: ({}, ""),
}
OPEN = {
    name for name in CARRIERS if name not in {"forged cookie", "basic", "wrong", "two", "none"}
}

NOBODYS = "0" * 40


def rpc(method, **params):
    call = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    return "POST", "/api/v1/jsonrpc", call


READS = {
    "downloads": ("GET", "/downloads", None),
    "tasks": ("GET", "/task/list", None),
    "jsonrpc": rpc("torrents.list"),
    "fleet": ("GET", "/api/v1/transfers", None),
}
VERBS = {
    "downloads": ("PATCH", f"/downloads/{NOBODYS}", {"state": "stop"}),
    "tasks": ("PUT", f"/task/tid/{NOBODYS}?act=pause", None),
    "jsonrpc": rpc("torrents.pause", info_hash=[NOBODYS, None]),
    "fleet": ("POST", f"/api/v1/transfers/{NOBODYS}/limits", {"max_upload_rate": 1}),
}
OWNERS = {
    "downloads": ("POST", "/settings", {}),
    "tasks": ("POST", "/config", {"general": {}}),
    "jsonrpc": rpc("webui.install"),
    "fleet": ("POST", "/api/v1/limits", {"max_upload_rate": 0}),
}
OPERATIONS = {Policy.READ: READS, Policy.CONTROL: VERBS, Policy.OWN: OWNERS}


@pytest.fixture
def ask(fleet, node):
    control = {token.encode(): role for token, role in TOKENS.items()}
    login = fleet.control(node).accounts.role_of
    return asking(fleet, node, Gate(FLEET_TOKEN.encode(), control=control, login=login))


def asking(fleet, node, gate):
    """`ask(operation, headers, query)` sends a request; returns how it was denied, if it was."""
    treq = StubTreq(root_of_node(fleet, node, gate))

    async def sending(operation, headers, query):
        method, path, document = operation
        mark = "&" if "?" in path else "?"
        body = None if document is None else json.dumps(document).encode()
        url = f"http://{HOST}{path}{mark}{query}"
        response = await treq.request(method, url, data=body, headers=headers)
        return denial(response, await response.content())

    return lambda *args: fleet.done(sending(*args), treq.flush)


def denial(response, content):
    """The status of a denial, None for anything else; JSON-RPC tells of its methods in bodies."""
    if response.code in (401, 403):
        return response.code
    error = json.loads(content).get("error")
    return 403 if isinstance(error, dict) and error.get("code") == -32003 else None


def denials(ask, policy, headers, query=""):
    """How the four APIs deny one operation of each: the same everywhere."""
    told = {api: ask(one, headers, query) for api, one in OPERATIONS[policy].items()}
    assert len(set(told.values())) == 1, (policy, told)
    return told["fleet"]


@pytest.mark.parametrize("carrier", CARRIERS)
def test_what_one_api_denies_the_others_deny(ask, carrier):
    for policy, least in LEAST.items():
        for token, role in TOKENS.items():
            if carrier == "forged cookie":
                expected = 403
            elif carrier not in OPEN:
                expected = 401
            else:
                expected = None if role >= least else 403
            assert denials(ask, policy, *CARRIERS[carrier](token)) == expected


def test_the_fleets_token_opens_none_beside_tokens_of_users(ask):
    for policy in OPERATIONS:
        assert denials(ask, policy, {"Authorization": f"Bearer {FLEET_TOKEN}"}) == 401


def test_who_has_logged_in_may_use_all(fleet, node, ask):
    accounts = fleet.control(node).accounts
    fleet.done(accounts.init("alice", "correct horse"))
    token = fleet.done(accounts.login("alice", "correct horse"))
    for carrier in OPEN:
        for policy in OPERATIONS:
            assert denials(ask, policy, *CARRIERS[carrier](token)) is None


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        (ORIGIN, None),
        ({"Sec-Fetch-Site": "none"}, None),
        ({"Origin": "http://evil.example"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Host": "evil.example:48000"}, 403),
    ],
)
def test_in_the_open_all_are_open_to_this_machine_only(fleet, node, headers, expected):
    ask = asking(fleet, node, Gate(hosts=["localhost"]))
    for policy in OPERATIONS:
        assert denials(ask, policy, headers) == expected


def test_a_batch_is_judged_call_by_call(fleet, node):
    gate = Gate(control={b"a-reader-of-this": Role.READER})
    treq = StubTreq(root_of_node(fleet, node, gate))
    calls = [rpc("torrents.list")[2], rpc("torrents.pause", info_hash=[NOBODYS, None])[2]]

    async def asking():
        response = await treq.post(
            f"http://{HOST}/api/v1/jsonrpc",
            data=json.dumps(calls).encode(),
            headers={"X-Porla-Token": "a-reader-of-this"},
        )
        return await response.json()

    looked, paused = fleet.done(asking(), treq.flush)
    assert "result" in looked
    assert paused["error"]["code"] == -32003
    assert "operator" in paused["error"]["message"]
