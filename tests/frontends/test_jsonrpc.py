"""The JSON-RPC API over HTTP: who may call what, and what stands around the one route."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from p2pd.frontends import jsonrpc
from p2pd.frontends.authorisation import Gate
from p2pd.node.events import Kind
from p2pd.roles import Role
from tests.fleet import Door
from tests.golden.jsonrpc_client import PorlaClient, RpcError, UnauthorizedError

READER, OPERATOR, ADMIN = b"reader" * 4, b"operator" * 4, b"admin" * 4
ROLES = {READER: Role.READER, OPERATOR: Role.OPERATOR, ADMIN: Role.ADMIN}
RPC = "/api/v1/jsonrpc"

DOCUMENTED = [
    "fs.space",
    "presets.list",
    "sessions.list",
    "sessions.pause",
    "sessions.resume",
    "sessions.settings.list",
    "sys.versions",
    "torrents.add",
    "torrents.files.list",
    "torrents.list",
    "torrents.metadata.list",
    "torrents.move",
    "torrents.overview",
    "torrents.pause",
    "torrents.peers.add",
    "torrents.peers.list",
    "torrents.properties.get",
    "torrents.properties.set",
    "torrents.recheck",
    "torrents.remove",
    "torrents.resume",
    "torrents.trackers.list",
    "torrents.trackers.add",
    "plugins.configure",
    "plugins.get",
    "plugins.install",
    "plugins.list",
    "plugins.reload",
    "plugins.uninstall",
    "plugins.update",
    "webui.install",
]


@pytest.fixture
def node(fleet):
    return fleet.node("node")


@pytest.fixture
def door(fleet, node):
    return Door(fleet, node)


@pytest.fixture
def closed(fleet, node):
    return Door(fleet, node, Gate(control=ROLES, login=fleet.control(node).accounts.role_of))


def post(door, body, token=None, **headers):
    if token:
        headers["Authorization"] = f"Bearer {token.decode()}"
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    return door.ask("POST", RPC, body, headers=headers)


def client(door, token=None):
    def send(method, path, headers, body):
        response = door.ask(method, path, body, headers=headers)
        return response.code, header(response, "Content-Type"), response.whole

    return PorlaClient(send, token)


def header(response, name):
    return ", ".join(response.headers.getRawHeaders(name) or ())


def call(method, id_=1, **params):
    return {"jsonrpc": "2.0", "id": id_, "method": method, "params": params}


# -- the one route


def test_every_documented_method_is_there():
    assert sorted(jsonrpc.methods) == sorted(DOCUMENTED)


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "", "a/b"])
def test_a_call_is_read_whatever_its_type_is_said_to_be(door, kind):
    response = post(door, call("presets.list"), **{"Content-Type": kind})
    assert response.code == 200
    assert header(response, "Content-Type").startswith("application/json")
    assert json.loads(response.whole) == {"jsonrpc": "2.0", "id": 1, "result": {"presets": {}}}


def test_a_method_that_is_not_there_is_refused_at_200(door):
    response = post(door, call("torrents.explode"))
    assert response.code == 200
    assert json.loads(response.whole)["error"]["code"] == -32601


def test_notifications_are_answered_with_nothing(door):
    response = post(door, {"jsonrpc": "2.0", "method": "presets.list"})
    assert (response.code, response.whole) == (204, b"")
    assert not header(response, "Content-Length")


def test_what_is_no_json_is_refused_at_200(door):
    response = post(door, b"{")
    assert response.code == 200
    assert json.loads(response.whole)["error"]["code"] == -32700


def test_another_method_of_http_is_refused_in_this_dialect(door):
    response = door.ask("GET", RPC)
    assert response.code == 405
    assert header(response, "Allow") == "POST"
    assert json.loads(response.whole)["error"]["code"] == -32600


def test_paths_beside_it_speak_the_dialect_of_the_fleet(door):
    response = door.ask("GET", "/api/v1/nowhere")
    assert response.code == 404
    assert json.loads(response.whole)["code"] == "404 Not Found"


@pytest.mark.parametrize(
    "params",
    [
        {"page": 1, "page_size": 0},
        ["page", 1, "page_size", 0],
        [None, None, None, None, 1, 0],
    ],
)
def test_parameters_may_come_by_position_or_after_their_names(door, params):
    answered = json.loads(post(door, call("torrents.list") | {"params": params}).whole)
    assert (answered["result"]["page"], answered["result"]["page_size"]) == (1, 0)


@pytest.mark.parametrize("params", [[1] * 7, {"page": "a"}, {"page": -1}, {"filters": 3}])
def test_parameters_that_do_not_fit_are_refused(door, params):
    answered = json.loads(post(door, call("torrents.list") | {"params": params}).whole)
    assert answered["error"]["code"] == -32602


# -- who may


def test_without_a_credential_nothing_is_answered(closed):
    with pytest.raises(UnauthorizedError):
        client(closed).call("sys.versions")


def test_a_batch_without_a_credential_is_refused_as_a_whole(closed):
    response = post(closed, [call("sys.versions"), call("torrents.list")])
    assert (response.code, response.whole) == (401, b"Unauthorized")


@pytest.mark.parametrize("token", [b"nonsense", READER + b"x"])
def test_a_wrong_credential_is_refused(closed, token):
    assert post(closed, call("sys.versions"), token).code == 401


def test_each_call_of_a_batch_is_judged_by_itself(closed):
    batch = [call("torrents.list"), call("sessions.pause", 2), call("webui.install", 3)]
    codes = {}
    for token in ROLES:
        answers = json.loads(post(closed, batch, token).whole)
        codes[token] = [one.get("error", {}).get("code") for one in answers]
    assert codes == {
        READER: [None, -32003, -32003],
        OPERATOR: [None, None, -32003],
        ADMIN: [None, None, -32000],
    }


def test_what_a_reader_asks_for_and_may_not_changes_nothing(closed, fleet, node):
    with pytest.raises(RpcError):
        client(closed, READER.decode()).call("sessions.pause")
    assert not fleet.control(node).downloads.settings.paused


def test_pages_of_other_sites_may_not_call(door):
    response = post(door, call("sys.versions"), Origin="http://evil.example")
    assert response.code == 403


# -- accounts


def test_the_first_user_is_made_once_and_may_log_in(door):
    assert json.loads(door.ask("GET", "/api/v1/system").whole) == {"status": "setup"}
    user = {"username": "me", "password": "correct horse"}
    assert json.loads(door.ask("POST", "/api/v1/auth/init", user).whole) == {"ok": True}
    again = door.ask("POST", "/api/v1/auth/init", user)
    assert (again.code, again.whole) == (400, b"Already initialized")
    assert json.loads(door.ask("GET", "/api/v1/system").whole) == {"status": "ok"}
    response = door.ask("POST", "/api/v1/auth/login", user)
    token = json.loads(response.whole)["token"]
    cookie = header(response, "Set-Cookie")
    assert cookie == (
        f"porla-auth-token={token}; Path=/; Max-Age=86400; HttpOnly; SameSite=Strict"
    )


@pytest.mark.parametrize(
    "user", [{"username": "me", "password": "wrong"}, {"username": "you", "password": "x"}]
)
def test_who_does_not_know_the_password_is_told_so_at_200(door, user):
    known = {"username": "me", "password": "correct horse"}
    door.ask("POST", "/api/v1/auth/init", known)
    response = door.ask("POST", "/api/v1/auth/login", user)
    assert response.code == 200
    assert json.loads(response.whole) == {"error": "invalid_auth"}
    assert not header(response, "Set-Cookie")


@pytest.mark.parametrize("path", ["init", "login"])
@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"username": 1, "password": 2}'])
def test_what_names_no_user_is_refused(door, path, body):
    response = door.ask("POST", f"/api/v1/auth/{path}", body)
    assert response.code in {400, 422}
    assert header(response, "Content-Type").startswith("text/plain")


@pytest.mark.parametrize("place", ["Authorization", "X-Porla-Token", "Cookie"])
def test_a_login_opens_what_is_closed(closed, fleet, node, place):
    user = {"username": "me", "password": "correct horse"}
    fleet.done(fleet.control(node).accounts.init(user["username"], user["password"]))
    token = json.loads(closed.ask("POST", "/api/v1/auth/login", user).whole)["token"]
    shown = f"porla-auth-token={token}" if place == "Cookie" else f"Bearer {token}"
    assert post(closed, call("sys.versions"), **{place: shown}).code == 200


def test_only_an_admin_makes_the_first_user_of_a_closed_node(closed):
    user = {"username": "me", "password": "correct horse"}
    assert closed.ask("POST", "/api/v1/auth/init", user).code == 401
    token = {"Authorization": f"Bearer {ADMIN.decode()}"}
    assert closed.ask("POST", "/api/v1/auth/init", user, headers=token).code == 200


# -- what happens


def listened(door, fleet, **headers):
    """A stream of events, as the bytes that came so far."""
    told = bytearray()

    async def listen():
        url = f"{door.URL}/api/v1/events"
        response = await door.treq.get(url, headers=headers, unbuffered=True)
        assert header(response, "Content-Type").startswith("text/event-stream")
        response.collect(told.extend).addErrback(lambda _: None)

    fleet.done(listen(), door.treq.flush)
    door.treq.flush()
    return told


def event(number, name, **data):
    return f"id: {number}\nevent: {name}\ndata: {json.dumps(data)}\n\n".encode()


def test_events_tell_what_happens(door, fleet, node):
    events = fleet.control(node).downloads.events
    told = listened(door, fleet)
    one = "a" * 40
    for kind in (Kind.ADDED, Kind.MOVED_ON, Kind.PAUSED, Kind.RESUMED, Kind.REMOVED):
        events.publish(kind, one)
    events.publish(Kind.SETTINGS)
    door.treq.flush()
    pair = {"session": "default", "info_hash": [one, None]}
    assert bytes(told) == b"".join(
        [
            b"event: hello\ndata: {}\n\n",
            event(1, "torrent_added", **pair),
            event(2, "state_update", session="default", info_hashes=[[one, None]]),
            event(3, "torrent_paused", **pair),
            event(4, "torrent_resumed", **pair),
            event(5, "torrent_removed", **pair),
        ]
    )
    events.publish(Kind.SHUTDOWN)
    door.treq.flush()


def test_events_go_on_after_the_last_that_was_seen(door, fleet, node):
    events = fleet.control(node).downloads.events
    for one in ("a" * 40, "b" * 40):
        events.publish(Kind.ADDED, one)
    told = listened(door, fleet, **{"Last-Event-ID": "1"})
    pair = {"session": "default", "info_hash": ["b" * 40, None]}
    assert bytes(told) == b"event: hello\ndata: {}\n\n" + event(2, "torrent_added", **pair)
    events.publish(Kind.SHUTDOWN)
    door.treq.flush()


# -- whatever comes

METHODS = st.sampled_from([*DOCUMENTED, "nothing"])
NAMES = st.sampled_from(
    [
        "info_hash",
        "info_hashes",
        "filters",
        "flags",
        "page",
        "page_size",
        "order_by",
        "query",
        "path",
        "peers",
        "ti",
        "tags",
    ]
)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.sampled_from(["a" * 40, "b" * 64, "is:paused", "/etc", "\ud800"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES | st.text(), inner),
    max_leaves=8,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(method=METHODS, params=st.dictionaries(NAMES, VALUES) | st.lists(VALUES, max_size=4))
def test_any_parameters_get_a_result_or_an_error_of_theirs(door, method, params):
    response = post(door, call(method) | {"params": params})
    assert response.code == 200
    answered = json.loads(response.whole)
    assert answered["id"] == 1
    assert answered.get("error", {}).get("code") != -32603
