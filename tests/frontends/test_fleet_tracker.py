"""The tracker's half of the fleet API, in memory over the real resource."""

import base64
import json
import random
from urllib.parse import quote

import pytest
from treq.testing import StubTreq
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from p2pd.frontends import fleet, fleet_tracker
from p2pd.frontends.authorisation import Gate, Policy
from p2pd.frontends.kit import application
from p2pd.frontends.root import Root
from p2pd.metainfo import create
from p2pd.metainfo.torrent import Torrent
from p2pd.store.tracker_tables import MemoryCatalog
from p2pd.tracker.tracker import Tracker
from tests.samples import PIECE, torrent

SAMPLE = torrent("a.bin", 4)
HASH = SAMPLE.infohash.hex()
NODE = "1b4e28ba-2fa1-11d2-883f-0016d3cca427"
JSON = "application/json; charset=utf-8"


@pytest.fixture
def clock():
    clock = Clock()
    clock.advance(1000)
    return clock


@pytest.fixture
def tracker(clock):
    tracker = Tracker(clock, MemoryCatalog(), rng=random.Random(1))
    tracker.startService()
    Deferred.fromCoroutine(tracker.publish(SAMPLE.to_bytes()))
    yield tracker
    tracker.stopService()


class Client:
    def __init__(self, tracker, gate):
        apis = [(fleet_tracker.api, tracker), (fleet_tracker.top, tracker)]
        self.treq = StubTreq(Root(gate, fleet.error, application(gate, apis), {}))

    async def __call__(self, path, body=None, *, method="POST", status=200, headers=None):
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        url = f"http://tracker.test/api/v1/{path}"
        response = await self.treq.request(method, url, data=body, headers=headers)
        answer = await response.content()
        assert response.code == status, answer
        assert response.headers.getRawHeaders("content-type") == [JSON]
        answer = json.loads(answer)
        assert isinstance(answer["code"], str)
        assert isinstance(answer["msg"], str)
        if status != 200:
            assert answer["code"].startswith(f"{status} ")
            assert answer["error"]
        return answer


@pytest.fixture
def call(tracker):
    return Client(tracker, Gate())


async def beat(call, node=NODE, addr="127.0.0.1:48001"):
    return await call("heart_beat", {"node_id": node, "addr": addr})


async def announce(call, node=NODE, **fields):
    return await call("report", {"node_id": node, "infohash": HASH, **fields})


# -- the documented operations


async def test_heart_beat(call, tracker):
    answer = await beat(call)
    assert (answer["code"], answer["msg"]) == ("200 OK", "ok")
    assert answer["instance"] == tracker.instance
    assert 0 < answer["interval"] < 10
    assert tracker.dump().nodes == ((NODE, "127.0.0.1:48001"),)


async def test_node_list_gives_addresses(call):
    await beat(call)
    await beat(call, "other", "127.0.0.1:48002")
    piece_id = SAMPLE.piece_ids[1].hex()
    report = {"piece_id": piece_id, "progress": 0.25, "filename": "a.bin"}
    await call("report", {"node_id": NODE, **report})
    await call("report", {"node_id": "other", **report, "progress": "0.5"})
    await call("report", {"node_id": "absent", **report})
    for asked in (piece_id, piece_id.upper()):
        answer = await call("node_list", {"piece_id": asked})
        assert sorted(answer["node_list"]) == ["127.0.0.1:48001", "127.0.0.1:48002"]


async def test_silent_nodes_are_not_listed(call, clock):
    await beat(call)
    await announce(call, complete=True)
    clock.advance(10.1)
    assert (await call("node_list", {"piece_id": SAMPLE.piece_ids[0].hex()}))["node_list"] == []


@pytest.mark.parametrize("piece_id", ["ab" * 32, "cd" * 20, NODE, "string", "ä"])
async def test_an_unknown_piece_has_no_nodes(call, piece_id):
    answer = await call("node_list", {"piece_id": piece_id})
    assert answer == {"code": "200 OK", "msg": "ok", "node_list": []}


async def test_fetch_seed(call):
    answer = await call("fetch_seed", {"filename": "a.bin"})
    ids = [piece_id.hex() for piece_id in SAMPLE.piece_ids]
    assert answer["seed_info"] == {
        "filename": "a.bin",
        "content_length": 4 * PIECE - 7,
        "piece_list": [
            {"filename": "a.bin", "index": 0, "size": PIECE, "checksum": ids[0]},
            {"filename": "a.bin", "index": PIECE, "size": PIECE, "checksum": ids[1]},
            {"filename": "a.bin", "index": 2 * PIECE, "size": PIECE, "checksum": ids[2]},
            {"filename": "a.bin", "index": 3 * PIECE, "size": PIECE - 7, "checksum": ids[3]},
        ],
    }
    assert (answer["infohash"], answer["web_seeds"]) == (HASH, [])
    assert (await call("fetch_seed", {"filename": HASH}))["seed_info"] == answer["seed_info"]


def test_equal_pieces_are_listed_apart():
    stream = create.describe_stream("zeros", 3 * PIECE, PIECE)
    stream.feed(bytes(3 * PIECE))
    pieces = fleet_tracker.seed_info(stream.finish(), "zeros")["piece_list"]
    assert [piece["index"] for piece in pieces] == [0, PIECE, 2 * PIECE]
    assert len({piece["checksum"] for piece in pieces}) == 1


async def test_a_seed_that_is_not_there_is_told_of_at_200(call):
    answer = await call("fetch_seed", {"filename": "missing"})
    assert answer["code"] == "404 Not Found"
    assert answer["msg"] == "Fetch metadata failed."
    assert "missing" in answer["error"]
    assert answer["seed_info"] == {"filename": "missing", "content_length": 0, "piece_list": []}


async def test_a_brief_seed_has_real_statuses(call):
    answer = await call("fetch_seed", {"filename": "a.bin", "brief": True})
    assert answer["infohash"] == HASH
    assert answer["filename"] == "a.bin"
    assert "seed_info" not in answer
    await call("fetch_seed", {"filename": "missing", "brief": True}, status=404)


async def test_info_is_arrays_of_pairs(call, clock):
    await beat(call)
    await announce(call, bitfield=base64.b64encode(b"\x40").decode())
    answer = await call("info", {"ignored": 1}, method="GET")
    piece_id = SAMPLE.piece_ids[1].hex()
    assert answer["session_info"] == [[NODE, 1_000_000]]
    assert answer["node_info"] == [[NODE, "127.0.0.1:48001"]]
    assert answer["piece_node_info"] == [[piece_id, [NODE]]]
    assert answer["piece_info"][1] == [
        piece_id,
        {"filename": "a.bin", "index": PIECE, "size": PIECE, "checksum": piece_id},
    ]
    assert len(answer["piece_info"]) == 4


@pytest.mark.parametrize("body", [None, b"", b"{}", b"not json"])
async def test_a_body_on_get_is_ignored(call, body):
    assert (await call("info", body, method="GET"))["code"] == "200 OK"


async def test_the_document_read_literally(call):
    await beat(call)
    native = await call("info", method="GET")
    literal = await call("info?as=string", method="GET")
    for name in ("session_info", "node_info", "piece_info", "piece_node_info"):
        assert isinstance(literal[name], str)
        assert json.loads(literal[name]) == native[name]
    seed = await call("fetch_seed?as=string", {"filename": "a.bin"})
    assert json.loads(seed["seed_info"])["content_length"] == 4 * PIECE - 7
    listed = await call("node_list?as=string", {"piece_id": "ab" * 32})
    assert listed["node_list"] == []


# -- malformed requests


@pytest.mark.parametrize("path", ["heart_beat", "node_list", "report", "fetch_seed", "leave"])
@pytest.mark.parametrize(
    ("body", "status"),
    [
        (None, 400),
        (b"", 400),
        (b" \n", 400),
        (b"{", 400),
        (b"\xff\xfe", 400),
        (b'{"node_id": NaN}', 400),
        (b"[" * 100_000, 400),
        (b'{"a":' * 100_000, 400),
        (b"1" * 5000, 400),
        (b"[]", 422),
        (b'"text"', 422),
        (b"null", 422),
        (b"{}", 422),
        (b'{"node_id": 1, "piece_id": 1, "filename": [], "infohash": {}}', 422),
        (b'{"node_id": null, "piece_id": null, "filename": null}', 422),
        (b'{"node_id": "", "piece_id": "", "filename": "", "addr": "a:1", "progress": 1}', 400),
        (b" " * (2 * 1024 * 1024 + 1), 413),
    ],
)
async def test_malformed_bodies(call, tracker, path, body, status):
    await call(path, body, status=status)
    assert tracker.dump().nodes == ()
    assert tracker.dump().piece_nodes == ()


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"addr": "no port"}, 400),
        ({"addr": "http://host:1"}, 400),
        ({"addr": "host:99999"}, 400),
        ({"addr": "host:1\r\nX: y"}, 400),
        ({"addr": 5}, 422),
        ({"node_id": "two words"}, 400),
        ({"node_id": "x" * 129}, 400),
        ({"node_id": "\ud800"}, 400),
        ({"node_id": ["a"]}, 422),
    ],
)
async def test_malformed_heart_beats(call, tracker, fields, status):
    await call("heart_beat", {"node_id": NODE, "addr": "host:1", **fields}, status=status)
    assert tracker.dump().nodes == ()


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"piece_id": ""}, 400),
        ({"piece_id": "string"}, 400),
        ({"node_id": ""}, 400),
        ({"progress": "string"}, 422),
        ({"progress": True}, 422),
        ({"progress": None}, 422),
        ({"progress": "nan"}, 422),
        ({"progress": "1e999"}, 422),
        ({"progress": 10**400}, 422),
        ({"progress": 1.01}, 400),
        ({"progress": -1}, 400),
        ({"filename": 3}, 422),
        ({"filename": "\udfff"}, 400),
    ],
)
async def test_malformed_reports(call, tracker, fields, status):
    good = {"node_id": NODE, "piece_id": "ab" * 32, "progress": 1, "filename": "f"}
    await call("report", {**good, **fields}, status=status)
    assert tracker.dump().piece_nodes == ()


@pytest.mark.parametrize(("number", "status"), [(b"1e999", 400), (b'"1e999"', 422)])
async def test_an_infinite_number_in_json_is_no_number(call, number, status):
    body = b'{"node_id":"a","piece_id":"%s","progress":%s,"filename":"f"}' % (b"ab" * 32, number)
    await call("report", body, status=status)


@pytest.mark.parametrize("kind", [None, "text/plain", "application/x-www-form-urlencoded", "x"])
async def test_the_content_type_is_no_matter(call, kind):
    headers = {"Content-Type": kind} if kind else {}
    await call("heart_beat", {"node_id": NODE, "addr": "host:1"}, headers=headers)


async def test_unknown_fields_are_ignored_and_a_byte_order_mark_too(call):
    body = json.dumps({"node_id": NODE, "addr": "host:1", "more": [1e999]}).encode()
    await call("heart_beat", b"\xef\xbb\xbf" + body.replace(b"Infinity", b"1"))


async def test_other_paths_and_methods(call):
    await call("nothing", status=404)
    await call("heart_beat", method="GET", status=405)
    await call("info", method="POST", status=405)


# -- what p2pd adds


async def test_health(call):
    for path in ("/", "/api/v1/health"):
        response = await call.treq.get(f"http://tracker.test{path}")
        assert await response.content() == b"Tracker is running!"
        assert response.headers.getRawHeaders("content-type") == ["text/plain; charset=utf-8"]


async def test_announce(call):
    await beat(call)
    await beat(call, "other", "[::1]:9")
    first = await announce(call, complete=True, event="started", uploaded=1, left="0")
    assert first["peers"] == []
    assert 24 <= first["interval"] <= 36
    some = base64.b64encode(b"\x90").decode()
    second = await announce(call, "other", bitfield=some, downloaded=10**15, numwant=9)
    assert second["peers"] == [{"node_id": NODE, "addr": "127.0.0.1:48001", "complete": True}]
    assert (await announce(call))["peers"] == [
        {"node_id": "other", "addr": "[::1]:9", "complete": False}
    ]
    assert (await announce(call, zone="rack/4"))["peers"] == [
        {"node_id": "other", "addr": "[::1]:9", "complete": False}
    ]
    third = await announce(call, "other", bitfield=some)
    assert [peer["zone"] for peer in third["peers"]] == ["rack/4"]
    assert (await announce(call, "other", event="stopped"))["peers"] == []
    assert (await announce(call))["peers"] == []


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"infohash": "short"}, 400),
        ({"infohash": "ab" * 20}, 404),
        ({"bitfield": "!"}, 400),
        ({"bitfield": "ä"}, 400),
        ({"bitfield": ""}, 400),
        ({"bitfield": "/w=="}, 400),
        ({"bitfield": 255}, 422),
        ({"complete": "perhaps"}, 422),
        ({"event": "paused"}, 400),
        ({"uploaded": -1}, 422),
        ({"uploaded": 1.5}, 422),
        ({"uploaded": 2**63}, 422),
        ({"uploaded": True}, 422),
        ({"numwant": "many"}, 422),
        ({"zone": "a b"}, 400),
        ({"zone": 4}, 422),
        ({"node_id": ""}, 400),
    ],
)
async def test_malformed_announces(call, tracker, fields, status):
    body = {"node_id": NODE, "infohash": HASH, "bitfield": "8A==", **fields}
    await call("report", body, status=status)
    assert tracker.dump().piece_nodes == ()


async def test_leave(call):
    await beat(call)
    await announce(call, complete=True)
    await call("leave", {"node_id": NODE})
    answer = await call("info", method="GET")
    assert answer["session_info"] == answer["piece_node_info"] == []
    await call("leave", {"node_id": NODE})


async def test_publish_and_metainfo(call):
    other = torrent("other.bin", seed=3)
    name = "dir/ä +;.bin"
    answer = await call(f"publish?filename={quote(name)}", other.to_bytes())
    assert (answer["filename"], answer["infohash"]) == (name, other.infohash.hex())
    assert (await call("publish", other.to_bytes()))["filename"] == "other.bin"
    assert (await call("fetch_seed", {"filename": name}))["infohash"] == other.infohash.hex()
    for infohash in (other.infohash.hex(), other.infohash.hex().upper()):
        response = await call.treq.get(f"http://tracker.test/api/v1/metainfo/{infohash}")
        assert response.headers.getRawHeaders("content-type") == ["application/x-bittorrent"]
        assert await response.content() == other.to_bytes()
    await call(f"metainfo/{'ab' * 20}", method="GET", status=404)
    await call("metainfo/short", method="GET", status=400)


async def test_a_torrent_for_bittorrent_clients_names_tracker_and_nodes(call):
    await call("heart_beat", {"node_id": NODE, "addr": "10.0.0.1:48000"})
    await call("report", {"node_id": NODE, "infohash": HASH, "complete": True})
    response = await call.treq.get(f"http://tracker.test/api/v1/torrent/{HASH}")
    assert response.headers.getRawHeaders("content-type") == ["application/x-bittorrent"]
    read = Torrent.from_bytes(await response.content())
    assert read.infohash == SAMPLE.infohash
    assert read.trackers == (("http://tracker.test/announce",),)
    assert read.web_seeds == (f"http://10.0.0.1:48000/files/{HASH}/",)
    await call(f"torrent/{'ab' * 20}", method="GET", status=404)


@pytest.mark.parametrize("body", [None, b"", b"{}", b"d4:infode"])
async def test_publishing_garbage(call, body):
    await call("publish", body, status=400)


async def test_publishing_under_an_unsafe_name(call):
    await call("publish?filename=..%2Fup", SAMPLE.to_bytes(), status=400)
    await call("publish?filename=%FF", SAMPLE.to_bytes(), status=400)


async def test_a_torrent_may_be_longer_than_other_bodies(call):
    web_seeds = [f"http://seed.test/{at}/{'x' * 2000}" for at in range(1000)]
    sample = torrent("long.bin", 4, seed=7).to_bytes(web_seeds=web_seeds)
    longer = sample[:-1] + b"1:z3000000:" + bytes(3_000_000) + b"e"
    answer = await call("publish", longer)
    assert answer["filename"] == "long.bin"


async def test_files(call):
    await beat(call)
    await announce(call, complete=True)
    [file] = (await call("files", method="GET"))["files"]
    assert file == {
        "filename": "a.bin",
        "infohash": HASH,
        "size": 4 * PIECE - 7,
        "pieces": 4,
        "piece_length": PIECE,
        "added": 1000,
        "completed": 0,
        "seeds": 1,
        "leeches": 0,
        "web_seeds": [],
    }


async def test_what_is_unavailable_says_so(clock):
    call = Client(Tracker(clock, MemoryCatalog()), Gate())  # not started
    await call("publish", SAMPLE.to_bytes(), status=503)
    await call("report", {"node_id": NODE, "infohash": HASH}, status=503)
    answer = await call("fetch_seed", {"filename": "a.bin"})
    assert answer["code"] == "503 Service Unavailable"


# -- authorisation


def test_every_route_names_its_policy():
    table = {
        (" ".join(route.methods), route.path): route.policy
        for route in [*fleet_tracker.api.routes, *fleet_tracker.top.routes]
    }
    assert table == {
        ("GET", "/"): Policy.PUBLIC,
        ("GET", "/api/v1/health"): Policy.PUBLIC,
        ("POST", "/api/v1/heart_beat"): Policy.SWARM,
        ("POST", "/api/v1/leave"): Policy.SWARM,
        ("POST", "/api/v1/claim"): Policy.SWARM,
        ("POST", "/api/v1/release"): Policy.SWARM,
        ("POST", "/api/v1/node_list"): Policy.SWARM,
        ("POST", "/api/v1/report"): Policy.SWARM,
        ("POST", "/api/v1/publish"): Policy.SWARM,
        ("POST", "/api/v1/fetch_seed"): Policy.SWARM,
        ("GET", "/api/v1/metainfo/<infohash>"): Policy.SWARM,
        ("GET", "/api/v1/torrent/<infohash>"): Policy.SWARM,
        ("GET", "/api/v1/info"): Policy.READ,
        ("GET", "/api/v1/files"): Policy.READ,
    }


async def test_without_the_token_nothing_is_told_or_changed(tracker):
    call = Client(tracker, Gate(b"0123456789abcdef"))
    body = {"node_id": NODE, "addr": "host:1"}
    await call("heart_beat", body, status=401)
    await call("info", method="GET", status=401)
    assert tracker.dump().nodes == ()
    await call("heart_beat", body, headers={"Authorization": "Bearer 0123456789abcdef"})


async def test_a_web_page_cannot_reach_it_by_rebinding(tracker):
    call = Client(tracker, Gate(hosts=["localhost"]))
    await call("info", method="GET", status=403)


async def test_one_node_claims_a_name_until_it_releases_it(call):
    name = {"name": "http://origin.test/image"}
    assert (await call("claim", {**name, "node_id": "a"}))["granted"] is True
    assert (await call("claim", {**name, "node_id": "b"}))["granted"] is False
    await call("release", {**name, "node_id": "a"})
    assert (await call("claim", {**name, "node_id": "b"}))["granted"] is True
    await call("claim", {"node_id": "a"}, status=422)
    await call("claim", {"name": "x", "node_id": "no id"}, status=400)
    await call("claim", {"name": "x" * 5000, "node_id": "a"}, status=400)
