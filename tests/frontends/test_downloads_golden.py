"""Golden pairs of the downloads API, held against both sides.

Each file of `tests/golden/downloads` has a `request`, and the `response` that the resources give
to it in the state that is `given`; and the `call` by which a client as the originals are sends
exactly that, with what it `reads` in the response (after a "!", a failure that it shows).  In
texts `<infohash>` stands for the download's; as values `<number>`, `<text>` and `<base64>` stand
for what differs from run to run.
"""

import base64
import json
from pathlib import Path

import pytest

from tests.frontends.downloads_client import Client
from tests.golden import downloads_client as clients

PAIRS = {
    path.stem: json.loads(path.read_text())
    for path in sorted((Path(__file__).parents[1] / "golden" / "downloads").glob("*.json"))
}
NODE = "leech"
TRACKER = "http://192.0.2.1/announce"
LOCAL = Path("/memory/b.bin")


@pytest.fixture
def shared(fleet):
    return fleet.share(fleet.node("seed"), "image", fleet.data(600_000))


@pytest.fixture
def infohash(shared):
    return shared.torrent.infohash.hex()


@pytest.fixture
def client(fleet, shared):
    leech = fleet.node(NODE)
    fleet.disks[NODE].published[LOCAL] = b"b" * 5000
    return Client(fleet, leech)


def bring_about(fleet, client, shared, given):
    """The state that a pair begins with."""
    if given == "nothing":
        return
    infohash = shared.torrent.infohash.hex()
    assert client.put("/downloads", f"uri=magnet:?xt=urn:btih:{infohash}")[0] == 200
    fleet.until(lambda: client.one(infohash)["status"] == "DLSTATUS_SEEDING")
    fleet.advance(10, 0.5)
    if given == "paused":
        assert client.patch(infohash, "state=stop")[0] == 200
    if given == "tracked":
        assert client.put(f"/downloads/{infohash}/trackers", f"url={TRACKER}")[0] == 200


def fill(value, infohash):
    """Put the download's infohash in its places."""
    return json.loads(json.dumps(value).replace("<infohash>", infohash))


def same(expected, told):
    match expected:
        case "<number>":
            return isinstance(told, int | float) and not isinstance(told, bool)
        case "<text>":
            return isinstance(told, str)
        case "<base64>":
            return bool(base64.b64decode(told, validate=True))
        case dict():
            return (
                isinstance(told, dict)
                and list(expected) == list(told)
                and all(same(expected[key], told[key]) for key in expected)
            )
        case list():
            return (
                isinstance(told, list)
                and len(expected) == len(told)
                and all(map(same, expected, told))
            )
    return type(expected) is type(told) and expected == told


@pytest.mark.parametrize("name", PAIRS)
def test_the_resources_answer_so(fleet, client, shared, infohash, name):
    pair = PAIRS[name]
    bring_about(fleet, client, shared, pair["given"])
    request = fill(pair["request"], infohash)
    headers = {key: [value] for key, value in request.get("headers", {}).items()}
    response = client.ask(request["method"], request["path"], request.get("body"), headers)
    expected = fill(pair["response"], infohash)
    assert response.code == expected["status"]
    assert response.headers.getRawHeaders("Content-Type") == [expected["content_type"]]
    told = json.loads(response.whole)
    assert same(expected["body"], told), json.dumps(told, indent=2)


@pytest.mark.parametrize("name", PAIRS)
def test_a_client_sends_and_reads_so(name):
    pair = PAIRS[name]
    who, method, arguments, options = pair["call"]
    call, reads = getattr(getattr(clients, who)(), method)(*arguments, **options)
    sent = json.dumps(call.request).replace("%3Cinfohash%3E", "<infohash>")
    assert json.loads(sent) == pair["request"]
    body = json.dumps(concrete(pair["response"]["body"]))
    try:
        understood = reads(body)
    except clients.ShownError as failure:
        understood = f"!{failure}"
    assert understood == concrete(pair["reads"])


def concrete(value):
    """An example of what placeholders stand for."""
    match value:
        case "<number>":
            return 1.0
        case dict():
            return {key: concrete(each) for key, each in value.items()}
        case list():
            return [concrete(each) for each in value]
    return value


def test_every_operation_has_a_pair():
    asked = {
        (pair["request"]["method"], pair["request"]["path"].partition("?")[0])
        for pair in PAIRS.values()
    }
    one = "/downloads/<infohash>"
    assert asked >= {
        ("GET", "/downloads"),
        ("PUT", "/downloads"),
        ("PATCH", one),
        ("DELETE", one),
        ("GET", f"{one}/files"),
        ("PUT", f"{one}/trackers"),
        ("DELETE", f"{one}/trackers"),
        ("PUT", f"{one}/tracker_force_announce"),
        ("GET", "/torrentinfo"),
        ("POST", "/createtorrent"),
        ("GET", "/settings"),
        ("POST", "/settings"),
        ("GET", "/state"),
        ("GET", "/statistics/tribler"),
        ("PUT", "/shutdown"),
    }
