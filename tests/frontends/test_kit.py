"""Routes, replies and bounds that all frontends share."""

import json
from http import HTTPStatus

import pytest
from treq.testing import StubTreq
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import capturedLogs
from twisted.python.failure import Failure
from twisted.web.resource import Resource

from p2pd import errors
from p2pd.frontends.authorisation import Gate, Policy
from p2pd.frontends.kit import (
    TEXT,
    Api,
    Nowhere,
    Reply,
    TooLarge,
    Unprocessable,
    application,
    query,
    query_flag,
    read_body,
    status_of,
)
from p2pd.frontends.root import Root
from p2pd.frontends.site import Site


def dialect(status, reason):
    return Reply(json.dumps({"wrong": reason}).encode(), status=status)


api = Api(dialect, "/v1")


@api.route("/echo", methods=("GET", "POST"), policy=Policy.SWARM, max_body=100)
async def echo(context, request):
    return read_body(request)


@api.route("/raise", methods=("POST",), policy=Policy.PUBLIC)
async def refuse(context, request):
    raise context.errors[read_body(request).decode()]


@api.route("/wait/<what>", policy=Policy.PUBLIC)
async def wait(context, request, what):
    context.began.append(what)
    context.ended.append(await context.event)
    return b"{}"


@api.route("/query", policy=Policy.PUBLIC)
async def ask(context, request):
    return json.dumps([query(request, "name"), query_flag(request, "flag")]).encode()


@api.route("/either", policy=Policy.PUBLIC)
async def either(context, request):
    return Reply(b"{}", alternative=TEXT)


class Context:
    def __init__(self):
        self.errors = {}
        self.began = []
        self.ended = []
        self.event = Deferred()


class Raw(Resource):
    isLeaf = True
    policy = Policy.SWARM

    def render_GET(self, request):
        return b"/".join(request.postpath)


@pytest.fixture
def context():
    return Context()


def root(context, gate):
    return Root(gate, dialect, application(gate, [(api, context)]), {b"raw": Raw()})


@pytest.fixture
def client(context):
    return StubTreq(root(context, Gate()))


@pytest.fixture
def locked(context):
    return StubTreq(root(context, Gate(b"0123456789abcdef")))


URL = "http://tracker.test"


async def test_every_reply_has_its_type_and_length(client):
    response = await client.get(f"{URL}/v1/echo", data=b"{}")
    assert response.code == 200
    assert response.headers.getRawHeaders("content-type") == ["application/json; charset=utf-8"]
    assert response.length == 2
    assert response.headers.getRawHeaders("x-content-type-options") == ["nosniff"]
    assert await response.content() == b"{}"


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("application/json, text/plain, */*", "text/plain; charset=utf-8"),
        ("text/html, Text/Plain;q=0.5", "text/plain; charset=utf-8"),
        ("*/*", "application/json; charset=utf-8"),
        ("text/plainer", "application/json; charset=utf-8"),
    ],
)
async def test_a_body_is_called_what_the_client_names(client, accept, kind):
    response = await client.get(f"{URL}/v1/either", headers={"Accept": accept})
    assert response.headers.getRawHeaders("content-type") == [kind]
    assert response.headers.getRawHeaders("vary") == ["Accept"]


def test_head_comes_with_get(context):
    answer, _ = exchange(
        context, b"HEAD /v1/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n12345"
    )
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"Content-Length: 5\r\n" in answer
    assert answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize("path", ["/v1/echo/", "/v1/echo"])
async def test_a_slash_at_the_end_is_no_matter(client, path):
    assert (await client.get(URL + path)).code == 200


@pytest.mark.parametrize(
    "path", ["/", "/v1", "/v1/", "/v1/nothing", "/v1/echo/more", "/elsewhere"]
)
async def test_unknown_paths_are_told_of_in_the_dialect(client, path):
    response = await client.get(URL + path)
    assert response.code == 404
    assert response.headers.getRawHeaders("content-type") == ["application/json; charset=utf-8"]
    assert await response.json() == {"wrong": "there is nothing at this path"}


@pytest.mark.parametrize("method", ["DELETE", "OPTIONS", "PATCH", "NONSENSE"])
async def test_other_methods_are_told_which_are_taken(client, method):
    response = await client.request(method, f"{URL}/v1/echo")
    assert response.code == 405
    assert response.headers.getRawHeaders("allow") == ["GET, HEAD, POST"]
    assert "GET" in (await response.json())["wrong"]


@pytest.mark.parametrize(
    ("refusal", "status"),
    [
        (errors.Invalid("why"), 400),
        (errors.NotFound("why"), 404),
        (errors.Conflict("why"), 409),
        (errors.Denied("why"), 403),
        (errors.Unavailable("why"), 503),
        (errors.Busy("why"), 429),
        (TooLarge("why"), 413),
        (Unprocessable("why"), 422),
        (errors.Refusal("why"), 400),
    ],
)
async def test_each_refusal_has_its_status(client, context, refusal, status):
    context.errors["it"] = refusal
    assert status_of(refusal) == status
    response = await client.post(f"{URL}/v1/raise", data=b"it")
    assert response.code == status
    assert await response.json() == {"wrong": "why"}


async def test_a_bug_is_logged_and_not_shown(client, logged_errors):
    response = await client.post(f"{URL}/v1/raise", data=b"secret")
    assert response.code == 500
    assert await response.json() == {"wrong": "p2pd failed; its log tells why"}
    assert len(logged_errors.flush(KeyError)) == 1


async def test_a_body_over_the_routes_bound_is_refused(client):
    assert (await client.post(f"{URL}/v1/echo", data=b"x" * 100)).code == 200
    response = await client.post(f"{URL}/v1/echo", data=b"x" * 101)
    assert response.code == 413
    assert "at most 100" in (await response.json())["wrong"]


async def test_work_outlives_the_client(context):
    site = Site(root(context, Gate()), reactor=Clock())
    channel = site.buildProtocol(IPv4Address("TCP", "127.0.0.1", 1))
    channel.makeConnection(StringTransport())
    channel.dataReceived(b"GET /v1/wait/long HTTP/1.1\r\nHost: a\r\n\r\n")
    assert context.began == ["long"]
    channel.connectionLost(Failure(ConnectionDone()))
    context.event.callback("done")
    assert context.ended == ["done"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", [None, False]),
        ("?name=%C3%A4&flag=1", ["ä", True]),
        ("?name=&flag=", ["", True]),
        ("?flag=no&name=a&name=b", ["a", False]),
    ],
)
async def test_query_arguments(client, text, expected):
    assert await (await client.get(f"{URL}/v1/query{text}")).json() == expected


@pytest.mark.parametrize("text", ["?name=%FF", "?flag=maybe"])
async def test_bad_query_arguments(client, text):
    assert (await client.get(f"{URL}/v1/query{text}")).code == 400


async def test_the_gate_guards_routes_and_raw_resources(locked):
    for path in ("/v1/echo", "/raw/a"):
        response = await locked.get(URL + path)
        assert response.code == 401
        assert response.headers.getRawHeaders("www-authenticate") == ['Bearer realm="p2pd"']
        assert "Bearer" in (await response.json())["wrong"]
        token = {"Authorization": "Bearer 0123456789abcdef"}
        assert (await locked.get(URL + path, headers=token)).code == 200
    assert (await locked.get(f"{URL}/v1/query")).code == 200


async def test_the_gate_is_asked_before_the_body_is_looked_at(locked):
    assert (await locked.post(f"{URL}/v1/echo", data=b"x" * 101)).code == 401


async def test_raw_resources_get_the_rest_of_the_path(client):
    response = await client.get(f"{URL}/raw/a%2Fb/c")
    assert await response.content() == b"a/b/c"


def test_a_raw_resource_must_name_its_policy(context):
    with pytest.raises(AttributeError, match="policy"):
        Root(Gate(), dialect, application(Gate(), [(api, context)]), {b"raw": Resource()})


def test_a_route_must_name_its_policy():
    with pytest.raises(TypeError, match="policy"):
        api.route("/free")
    assert all(isinstance(route.policy, Policy) for route in api.routes)
    assert (("GET", "POST"), "/v1/echo", Policy.SWARM) in [
        (route.methods, route.path, route.policy) for route in api.routes
    ]


def exchange(context, *received):
    """Return what a real site answers to raw bytes, and whether it then hangs up."""
    site = Site(root(context, Gate()), reactor=Clock())
    channel = site.buildProtocol(IPv4Address("TCP", "127.0.0.1", 1))
    transport = StringTransport()
    channel.makeConnection(transport)
    for data in received:
        if not transport.disconnecting:
            channel.dataReceived(data)
    return transport.value(), transport.disconnecting


def test_a_declared_body_over_every_bound_is_refused_at_once(context):
    answer, hung_up = exchange(
        context,
        b"POST /v1/echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
        b"Content-Length: 33554433\r\n\r\n",
    )
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert answer.count(b"HTTP/1.1") == 1
    assert hung_up


def test_a_chunked_body_is_refused_once_it_is_too_long(context):
    chunk = b"800000\r\n" + bytes(0x800000) + b"\r\n"
    answer, hung_up = exchange(
        context,
        b"POST /v1/echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
        *[chunk] * 4,
        b"1\r\nx\r\n0\r\n\r\n",
    )
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert answer.count(b"HTTP/1.1") == 1
    assert hung_up


def test_a_body_of_the_longest_kind_reaches_its_route(context):
    answer, hung_up = exchange(
        context,
        b"POST /v1/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 33554432\r\n\r\n",
        bytes(33554432),
    )
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"at most 100" in answer
    assert not hung_up


@pytest.mark.parametrize(
    "head",
    [
        b"GET /v1/%FF HTTP/1.1\r\nHost: a",
        b"GET /v1/echo HTTP/1.1\r\nHost: \xff",
        b"GET /v1/echo HTTP/1.1\r\nHost: a..b",
        b"GET /v1/echo HTTP/1.1\r\nHost: " + b"a" * 100,
    ],
)
def test_what_cannot_be_routed_is_refused_in_the_dialect(context, head):
    with capturedLogs() as logs:
        answer, _ = exchange(context, head + b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b'{"wrong"' in answer
    assert logs == []


def test_form_bodies_are_not_parsed(context):
    answer, _ = exchange(
        context,
        b"POST /v1/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n"
        b"Content-Type: application/x-www-form-urlencoded\r\n\r\na=1",
    )
    assert answer.endswith(b"a=1")


async def test_errors_outside_all_routes_are_worded_by_the_nearest_api(context):
    def other(status, reason):
        return Reply(b"other", status=HTTPStatus(status))

    nested = Api(other, "/v1/nested")
    app = application(Gate(), [(nested, None), (api, context)])
    client = StubTreq(Root(Gate(), dialect, app, {}))
    assert await (await client.get(f"{URL}/v1/nested/x")).content() == b"other"
    assert await (await client.get(f"{URL}/v1/x")).content() != b"other"
    assert await (await client.get(f"{URL}/x")).content() == b"other"


# -- an API's own words


own = Api(
    dialect,
    "/own",
    words={
        TooLarge: (HTTPStatus.BAD_REQUEST, "overflow"),
        Nowhere: (HTTPStatus.NOT_FOUND, "nothing"),
    },
    max_body=10,
)


@own.route("/echo", methods=("POST",), policy=Policy.PUBLIC)
async def own_echo(context, request):
    return read_body(request)


@pytest.fixture
def both(context):
    apis = [(api, context), (own, context)]
    return StubTreq(Root(Gate(), dialect, application(Gate(), apis), {}))


@pytest.mark.parametrize(
    ("method", "path", "status", "text"),
    [
        ("POST", "/own/echo", 400, "overflow"),
        ("GET", "/own/nothing", 404, "nothing"),
        ("GET", "/own/echo", 405, "this path takes POST only"),
        ("GET", "/v1/nothing", 404, "there is nothing at this path"),
        ("POST", "/v1/echo", 413, "the body has 101 bytes; at most 100 are taken here"),
    ],
)
async def test_an_api_has_its_own_words(both, method, path, status, text):
    response = await both.request(method, URL + path, data=b"x" * 101)
    assert response.code == status
    assert await response.json() == {"wrong": text}
