"""Pages of other sites: what browsers are told of them, on routes and raw resources alike."""

import json

import pytest
from treq.testing import StubTreq
from twisted.web.resource import Resource

from p2pd.frontends.authorisation import Gate, Policy
from p2pd.frontends.kit import Api, Reply, application
from p2pd.frontends.root import Root
from p2pd.roles import Role

URL = "http://localhost:8085"
UI = "https://ui.example"
ORIGINS = [UI, "http://localhost:3000"]
TOKEN = "0123456789abcdef"
PREFLIGHT = {"Origin": UI, "Access-Control-Request-Method": "PATCH"}
PATHS = ["/downloads", "/raw/a"]


def dialect(status, reason):
    return Reply(json.dumps({"wrong": reason}).encode(), status=status)


api = Api(dialect)


@api.route("/downloads", policy=Policy.READ)
async def downloads(context, request):
    return Reply(b"[]", headers={b"Vary": b"Accept"})


class Raw(Resource):
    isLeaf = True
    policy = Policy.READ

    def render_GET(self, request):
        return b"raw"


def client(gate):
    return StubTreq(Root(gate, dialect, application(gate, [(api, None)]), {b"raw": Raw()}))


@pytest.fixture(params=["open", "closed"])
def inviting(request):
    control = {TOKEN.encode(): Role.ADMIN} if request.param == "closed" else {}
    return client(Gate(hosts=["localhost"], control=control, origins=ORIGINS))


def allowed(response):
    headers = response.headers
    shown = {
        name.decode().lower(): values
        for name, values in headers.getAllRawHeaders()
        if name.lower().startswith(b"access-control-")
    }
    return {name.removeprefix("access-control-"): value for name, (value,) in shown.items()}


def vary(response):
    return b", ".join(response.headers.getRawHeaders(b"Vary", []))


@pytest.mark.parametrize("path", [*PATHS, "/nothing"])
async def test_browsers_may_ask_before_they_show_a_credential(inviting, path):
    response = await inviting.request("OPTIONS", URL + path, headers=PREFLIGHT)
    assert response.code == 204
    assert await response.content() == b""
    assert not response.headers.hasHeader("content-length")  # RFC 9110, 8.6
    told = allowed(response)
    assert told["allow-origin"] == UI.encode()
    assert told["allow-credentials"] == b"true"
    assert set(told["allow-methods"].split(b", ")) >= {b"PUT", b"PATCH", b"DELETE"}
    asked = {b"Authorization", b"Content-Type", b"X-Api-Key", b"X-Porla-Token"}
    assert set(told["allow-headers"].split(b", ")) >= asked
    assert int(told["max-age"]) > 0
    assert vary(response) == b"Origin"


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("origin", ORIGINS)
async def test_an_invited_page_sees_the_answer(inviting, path, origin):
    headers = {"Origin": origin, "Authorization": f"Bearer {TOKEN}"}
    response = await inviting.get(URL + path, headers=headers)
    assert response.code == 200
    assert allowed(response) == {"allow-origin": origin.encode(), "allow-credentials": b"true"}
    assert b"Origin" in vary(response)


@pytest.mark.parametrize("path", PATHS)
async def test_and_why_it_was_refused(path):
    gate = Gate(control={TOKEN.encode(): Role.ADMIN}, origins=ORIGINS)
    response = await client(gate).get(URL + path, headers={"Origin": UI})
    assert response.code == 401
    assert allowed(response)["allow-origin"] == UI.encode()


async def test_a_reply_keeps_what_else_it_varies_by(inviting):
    headers = {"Authorization": f"Bearer {TOKEN}"}
    response = await inviting.get(f"{URL}/downloads", headers=headers)
    assert vary(response) == b"Origin, Accept"
    assert allowed(response) == {}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "origin", ["http://ui.example", "https://ui.example:8443", "https://evil.example", "null", "*"]
)
async def test_other_pages_are_told_nothing(inviting, path, origin):
    answer = await inviting.get(URL + path, headers={"Origin": origin})
    assert answer.code in (401, 403)
    before = await inviting.request("OPTIONS", URL + path, headers={**PREFLIGHT, "Origin": origin})
    assert before.code != 204
    assert allowed(answer) == allowed(before) == {}


async def test_an_origin_that_is_given_twice_is_nobodys(inviting):
    response = await inviting.request(
        "OPTIONS",
        f"{URL}/downloads",
        headers={**PREFLIGHT, "Origin": [UI, "https://evil.example"]},
    )
    assert response.code == 405
    assert allowed(response) == {}


@pytest.mark.parametrize("headers", [{}, PREFLIGHT])
async def test_without_invitations_nothing_is_different(headers):
    response = await client(Gate()).request("OPTIONS", f"{URL}/downloads", headers=headers)
    assert response.code == 405
    assert response.headers.getRawHeaders("allow") == ["GET, HEAD"]
    assert allowed(response) == {}
    assert vary(response) == b""


async def test_options_that_ask_for_nothing_are_no_preflight(inviting):
    assert (
        await inviting.request("OPTIONS", f"{URL}/downloads", headers={"Origin": UI})
    ).code == 405
