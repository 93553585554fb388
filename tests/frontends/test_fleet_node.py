"""The fleet API, node half, over HTTP in memory: every operation, every documented trap."""

import base64
import json
from pathlib import Path

import pytest

from p2pd.frontends import fleet_node
from p2pd.frontends.authorisation import Gate, Policy
from tests.fleet import Door

PIECE = 256 * 1024


@pytest.fixture
def seed(fleet):
    return fleet.node("seed")


@pytest.fixture
def data(fleet):
    return fleet.data(2 * PIECE + 1000)


@pytest.fixture
def shared(fleet, seed, data):
    return fleet.share(seed, "image", data)


@pytest.fixture
def leech(fleet, shared):
    return fleet.node("leech")


@pytest.fixture
def door(fleet, leech):
    return Door(fleet, leech)


def test_every_route_names_its_policy():
    routes = [*fleet_node.api.routes, *fleet_node.top.routes]
    public = {route.path for route in routes if route.policy is Policy.PUBLIC}
    assert public == {"/api/v1/health", "/"}
    assert {route.path for route in routes if route.policy is Policy.SWARM} == {
        "/api/v1/fetch_piece"
    }
    assert {route.path for route in routes if route.policy is Policy.READ} == {
        "/api/v1/info",
        "/api/v1/transfers",
        "/api/v1/transfers/<infohash>",
    }
    assert {route.path for route in routes if route.policy is Policy.CONTROL} == {
        "/api/v1/start_download",
        "/api/v1/transfers/<infohash>/limits",
    }
    assert {route.path for route in routes if route.policy is Policy.OWN} == {
        "/api/v1/share",
        "/api/v1/limits",
    }


@pytest.mark.parametrize("path", ["/", "/api/v1/health"])
def test_health_is_plain_text(door, path):
    response = door.ask("GET", path)
    assert response.whole == b"Node is running!"
    assert response.headers.getRawHeaders("Content-Type") == ["text/plain; charset=utf-8"]


def test_start_download_and_wait(door, fleet, leech, data):
    code, answer = door.post("start_download?wait=1", {"filename": "image"})
    assert code == 200
    assert answer["code"] == "200 OK"
    assert answer["msg"] == "ok"
    assert (answer["success_count"], answer["failed_count"], answer["total_count"]) == (3, 0, 3)
    assert fleet.content(leech, leech.library.named("image")) == data


def test_start_download_answers_at_once_without_wait(door, leech, shared):
    code, answer = door.post("start_download", {"filename": "image"})
    assert code == 200
    assert answer["infohash"] == shared.torrent.infohash.hex()
    assert answer["total_count"] == 3


def test_start_download_by_infohash_and_by_torrent(door, fleet, leech, shared):
    infohash = shared.torrent.infohash.hex()
    assert door.post("start_download?wait=1", {"infohash": infohash})[0] == 200
    other = fleet.node("other")
    code, answer = Door(fleet, other).post(
        "start_download?wait=1&destination=there", shared.torrent.to_bytes()
    )
    assert (code, answer["success_count"]) == (200, 3)
    assert other.library.named("image").content.path.name == "there"


def test_an_unknown_file_is_404_in_the_dialect(door):
    code, answer = door.post("start_download", {"filename": "nothing"})
    assert code == 404
    assert answer["code"] == "404 Not Found"
    assert "nothing" in answer["error"]
    assert answer["msg"] == answer["error"]


def test_a_failed_download_is_told_to_who_waits(door, fleet):
    fleet.disks["leech"].capacity = 10
    code, answer = door.post("start_download?wait=1", {"filename": "image"})
    assert code == 200
    assert answer["code"] == "500 Internal Server Error"
    assert answer["msg"] == "Download file failed."
    assert "bytes free" in answer["reason"]
    assert answer["failed_count"] == 3


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[" * 100_000, 400),
        (b"[]", 422),
        (b"{}", 422),
        ({"filename": 5}, 422),
        ({"filename": ""}, 400),
        ({"filename": "x", "replace": "maybe"}, 422),
        ({"filename": "image", "destination": "../../etc/passwd"}, 400),
        ({"filename": "image", "destination": "/etc/passwd"}, 400),
        (b"d4:infoi1ee", 400),
        (b"dgarbage", 400),
    ],
)
def test_bad_requests_are_refused_and_change_nothing(door, leech, body, code):
    got, answer = door.post("start_download", body)
    assert got == code
    assert set(answer) == {"code", "msg", "error"}
    assert len(leech.library) == 0


def test_fetch_piece_is_base64_by_default_and_integers_on_request(fleet, seed, shared, data):
    door = Door(fleet, seed)
    piece = shared.torrent.piece_ids[2].hex()
    _, answer = door.post("fetch_piece", {"piece_id": piece})
    assert answer["encoding"] == "base64"
    assert base64.b64decode(answer["data"]) == data[2 * PIECE :]
    _, answer = door.post("fetch_piece", {"piece_id": piece, "encoding": "bytes"})
    assert bytes(answer["data"]) == data[2 * PIECE :]
    _, answer = door.post("fetch_piece?as=string", {"piece_id": piece, "encoding": "bytes"})
    assert json.loads(answer["data"]) == list(data[2 * PIECE :])


@pytest.mark.parametrize("piece", ["0" * 64, "550e8400-e29b-41d4-a716-446655440000"])
def test_a_piece_that_is_not_there_is_said_so_at_200(door, piece):
    code, answer = door.post("fetch_piece", {"piece_id": piece})
    assert (code, answer["code"], answer["msg"], answer["data"]) == (
        200,
        "200 OK",
        "Not find",
        "",
    )


def test_info_lists_the_pieces_held(fleet, seed, shared, data):
    door = Door(fleet, seed)
    code, answer = door.get("info", b"{}")
    assert code == 200
    piece = shared.torrent.piece_ids[1].hex()
    assert answer["piece_info_cache"][1] == [
        piece,
        {"filename": "image", "index": PIECE, "size": PIECE, "checksum": piece},
    ]
    assert answer["piece_cache"][1] == [piece, []]
    _, answer = door.get("info?bytes=1")
    assert bytes(answer["piece_cache"][2][1]) == data[2 * PIECE :]


def test_share_and_look_at_it(fleet, seed, door, leech):
    fleet.disks["leech"].published[Path("/data/thing")] = b"x" * 1000
    code, answer = door.post("share", {"path": "/data/thing", "name": "a thing"})
    assert code == 200
    transfer = answer["transfer"]
    assert (transfer["filename"], transfer["state"], transfer["size"]) == (
        "a thing",
        "complete",
        1000,
    )
    assert transfer["progress"] == 1.0
    _, answer = door.get("transfers")
    assert [each["infohash"] for each in answer["transfers"]] == [transfer["infohash"]]
    _, answer = door.get(f"transfers/{transfer['infohash']}")
    assert answer["transfer"]["pieces_held"] == 1
    assert door.get(f"transfers/{'0' * 40}")[0] == 404


def test_limits_can_be_given_with_a_start_and_with_a_share(fleet, door, leech, shared):
    limits = {"max_upload_rate": "1000", "max_download_rate": 10**9}
    door.post("start_download?wait=1", {"filename": "image", **limits})
    entry = leech.library.named("image")
    assert (entry.upload_limit.rate, entry.download_limit.rate) == (1000, 10**9)
    door.post("start_download?max_upload_rate=500", shared.torrent.to_bytes())
    assert (entry.upload_limit.rate, entry.download_limit.rate) == (500, 10**9)
    fleet.disks["leech"].published[Path("/data/thing")] = b"x"
    _, answer = door.post("share", {"path": "/data/thing", "max_upload_rate": 7})
    assert answer["transfer"]["upload_limit"] == 7


def test_limits_can_be_changed(door, leech, shared):
    door.post("start_download?wait=1", {"filename": "image"})
    where = f"transfers/{shared.torrent.infohash.hex()}/limits"
    code, answer = door.post(where, {"max_upload_rate": 1000})
    assert (code, answer["transfer"]["upload_limit"]) == (200, 1000)
    code, answer = door.post(where, {"max_download_rate": "2000"})
    assert (answer["transfer"]["upload_limit"], answer["transfer"]["download_limit"]) == (
        1000,
        2000,
    )
    code, answer = door.post("limits", {"max_upload_rate": 10**6, "max_download_rate": 10**7})
    assert (code, answer["upload_limit"], answer["download_limit"]) == (200, 10**6, 10**7)
    assert (leech.uplink.rate, leech.downlink.rate) == (10**6, 10**7)
    _, answer = door.post("limits", {"max_upload_rate": 0})
    assert (answer["upload_limit"], answer["download_limit"]) == (0, 10**7)
    assert door.get("info")[1]["download_limit"] == 10**7


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", 400),
        ({}, 422),
        ({"max_upload_rate": -1}, 422),
        ({"max_upload_rate": 1.5}, 422),
        ({"max_upload_rate": "10M"}, 422),
        ({"max_upload_rate": 5, "max_download_rate": True}, 422),
    ],
)
def test_bad_limits_are_refused_and_change_nothing(door, fleet, leech, shared, body, code):
    door.post("start_download?wait=1", {"filename": "image"})
    for where in ("limits", f"transfers/{shared.torrent.infohash.hex()}/limits"):
        got, answer = door.post(where, body)
        assert (got, set(answer)) == (code, {"code", "msg", "error"})
    assert leech.uplink.rate == leech.library.named("image").upload_limit.rate == 0
    if body:
        assert door.post("share", {"path": "/data/thing", **body})[0] in (404, 422)
    assert door.post(f"transfers/{'0' * 40}/limits", {"max_upload_rate": 1})[0] == 404


def test_fetch_piece_waits_its_turn(fleet, seed, shared, data):
    door = Door(fleet, seed)
    piece = shared.torrent.piece_ids[2].hex()
    seed.limit(shared, upload=10_000)
    began = fleet.clock.seconds()
    _, answer = door.post("fetch_piece", {"piece_id": piece})
    assert base64.b64decode(answer["data"]) == data[2 * PIECE :]
    assert fleet.clock.seconds() - began == pytest.approx(0.15, rel=0.3)
    assert not any("throttle" in str(call.func) for call in fleet.clock.getDelayedCalls())


@pytest.mark.parametrize("path", ["relative/path", "", "/with\0nul"])
def test_only_absolute_paths_are_shared(door, path):
    assert door.post("share", {"path": path})[0] == 400


def test_sharing_what_is_not_there_is_said_so(door):
    code, answer = door.post("share", {"path": "/nothing/here"})
    assert code == 404
    assert "/nothing/here" in answer["error"]


def test_unknown_paths_and_methods_answer_in_the_dialect(door):
    assert door.get("nothing")[0] == 404
    response = door.ask("GET", "/api/v1/start_download")
    assert response.code == 405
    assert "POST" in response.headers.getRawHeaders("Allow")[0]
    assert json.loads(response.whole)["code"] == "405 Method Not Allowed"


def test_control_is_guarded(fleet, leech):
    door = Door(fleet, leech, Gate(hosts={"localhost", "127.0.0.1"}))
    assert door.get("transfers")[0] == 200
    response = door.ask("GET", "/api/v1/transfers", headers={"Host": "evil.example"})
    assert response.code == 403
    response = door.ask(
        "POST",
        "/api/v1/start_download",
        b'{"filename": "image"}',
        headers={"Origin": "http://evil.example"},
    )
    assert response.code == 403
    assert len(leech.library) == 0


def test_who_hangs_up_while_waiting_is_forgotten(fleet, shared):
    leech = fleet.node("leech", parallel=1)
    door = Door(fleet, leech)
    body = json.dumps({"filename": "image"}).encode()
    asked = door.treq.post(f"{Door.URL}/api/v1/start_download?wait=1", data=body)
    asked.addErrback(lambda _: None)
    fleet.until(lambda: len(leech.library) == 1)
    entry = next(iter(leech.library))
    assert len(entry._settling) == 1
    asked.cancel()
    door.treq.flush()
    assert not entry._settling
