"""The downloads API and the node as a whole: settings, state, events, torrents made and read."""

import base64
import json
from pathlib import Path

import pytest
import treq

import p2pd
from p2pd.frontends import downloads_events as events
from p2pd.metainfo import bencode
from p2pd.metainfo.torrent import Torrent
from p2pd.node.events import Happening, Kind
from tests.frontends.downloads_client import Client

PIECE = 256 * 1024


@pytest.fixture
def node(fleet):
    return fleet.node("node")


@pytest.fixture
def client(fleet, node):
    return Client(fleet, node)


@pytest.fixture
def shared(fleet):
    return fleet.share(fleet.node("seed"), "image", fleet.data(3 * PIECE))


# -- state, statistics, shutdown


def test_state(client):
    told = {"state": "STARTED", "last_exception": None, "readable_state": "started"}
    assert client.get("/state") == (200, told)


def test_statistics(fleet, node, client, shared):
    client.put("/downloads", shared.torrent.to_bytes())
    fleet.settle(next(iter(node.library)))
    told = client.get("/statistics/tribler")[1]["tribler_statistics"]
    assert told["num_torrents"] == told["downloads"] == 1
    assert told["session_downloaded"] == 3 * PIECE
    assert told["uptime"] > 0
    assert told["db_size"] == told["database_size"] == told["database_bytes"]


def test_shutdown(fleet, node, client):
    assert client.call("PUT", "/shutdown") == (200, {"shutdown": True})
    assert fleet.control(node).ended == [True]


# -- settings


def post(client, document):
    return client.call("POST", "/settings", json.dumps(document))


def test_settings_are_read_and_changed(fleet, node, client):
    changes = {
        "libtorrent": {"max_upload_rate": 1000, "max_download_rate": 2000},
        "download_defaults": {"seeding_mode": "ratio", "seeding_ratio": 2.0, "seeding_time": 60},
        "p2pd": {"max_active_downloads": 3},
    }
    assert post(client, changes) == (200, {"modified": True})
    code, told = client.get("/settings")
    assert code == 200
    assert told["ports"] == {"p2pd~port": 1}
    settings = told["settings"]
    assert settings["libtorrent"] == changes["libtorrent"]
    defaults = {"seeding_mode": "ratio", "seeding_ratio": 2.0, "seeding_time": None}
    assert settings["download_defaults"] == defaults
    assert settings["p2pd"]["max_active_downloads"] == 3
    assert (node.uplink.rate, node.downlink.rate) == (1000, 2000)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"seeding_mode": "forever", "seeding_ratio": 2.0}, ("forever", None, None)),
        ({"seeding_mode": "never"}, ("never", 0, None)),
        ({"seeding_mode": "time", "seeding_time": 90}, ("time", None, 90)),
        ({"seeding_ratio": 1.5}, ("ratio", 1.5, None)),
        ({"seeding_time": 5}, ("time", None, 5)),
    ],
)
def test_modes_of_seeding(client, given, kept):
    assert post(client, {"download_defaults": given}) == (200, {"modified": True})
    told = client.get("/settings")[1]["settings"]["download_defaults"]
    assert (told["seeding_mode"], told["seeding_ratio"], told["seeding_time"]) == kept


@pytest.mark.parametrize(
    "document",
    [
        {"unknown": {"a": 1}},
        {"libtorrent": {"unknown": 1}},
        {"libtorrent": 5},
        {"p2pd": {"unknown": 1}},
        {"libtorrent": {"max_upload_rate": -1}},
        {"libtorrent": {"max_upload_rate": "fast"}},
        {"download_defaults": {"seeding_mode": "sometimes"}},
        {"download_defaults": {"seeding_mode": "time"}},
        {"p2pd": {"max_active_downloads": 5}, "libtorrent": {"max_upload_rate": True}},
    ],
)
def test_a_wrong_setting_is_500_and_changes_nothing(client, document):
    before = client.get("/settings")
    code, told = post(client, document)
    assert code == 500
    assert told["error"]["handled"] is True
    assert set(told["error"]) == {"handled", "code", "message"}
    assert client.get("/settings") == before


def test_settings_must_be_json(client):
    assert client.call("POST", "/settings", "{")[0] == 400


# -- events


@pytest.mark.parametrize(
    ("kind", "facts", "expected"),
    [
        (
            Kind.FINISHED,
            {},
            ("torrent_finished", {"infohash": "ab", "name": "n", "hidden": False}),
        ),
        (Kind.FAILED, {"reason": "r"}, ("torrent_error", {"infohash": "ab", "error": "r"})),
        (
            Kind.MOVED_ON,
            {"state": "paused"},
            ("torrent_status_changed", {"infohash": "ab", "status": "DLSTATUS_STOPPED"}),
        ),
        (Kind.LOW_SPACE, {"free": 5}, ("low_space", {"disk_usage_data": {"free": 5}})),
        (Kind.SHUTDOWN, {}, ("shutdown", {"state": "shutting down"})),
        (Kind.CHANGED, {}, None),
    ],
)
def test_each_happening_has_its_event(kind, facts, expected):
    assert events.to_wire(Happening(1, 0.0, kind, "ab", "n", facts)) == expected


def listen(client, fleet, accept=None):
    """The type of the stream, and its bytes as they come."""
    heard = []

    async def begin():
        headers = {"Accept": [accept]} if accept else {}
        return await client.door.treq.get(
            client.door.URL + "/events", headers=headers, unbuffered=True
        )

    response = fleet.done(begin(), client.door.treq.flush)
    treq.collect(response, heard.append)
    client.door.treq.flush()
    return response.headers.getRawHeaders("Content-Type"), heard


def test_events_are_lines_of_json(fleet, node, client, shared):
    kind, heard = listen(client, fleet)
    assert kind == ["application/json; charset=utf-8"]
    client.put("/downloads", shared.torrent.to_bytes())
    fleet.settle(next(iter(node.library)))
    client.door.treq.flush()
    told = [json.loads(line) for line in b"".join(heard).splitlines() if line]
    start = {"tribler_started": True, "version": p2pd.__version__}
    assert told[0] == {"type": "events_start", "event": start}
    finished = [one["event"] for one in told if one["type"] == "torrent_finished"]
    infohash = shared.torrent.infohash.hex()
    assert finished == [{"infohash": infohash, "name": "image", "hidden": False}]
    statuses = [one["event"]["status"] for one in told if one["type"] == "torrent_status_changed"]
    assert statuses[-2:] == ["DLSTATUS_DOWNLOADING", "DLSTATUS_SEEDING"]


def test_events_are_server_sent_where_that_is_asked_for(fleet, client):
    kind, heard = listen(client, fleet, "text/event-stream")
    assert kind == ["text/event-stream; charset=utf-8"]
    event, data, *_ = b"".join(heard).split(b"\n")
    assert event == b"event: events_start"
    assert json.loads(data.removeprefix(b"data: "))["tribler_started"] is True


# -- torrents


def test_torrent_info(client, shared):
    infohash = shared.torrent.infohash.hex()
    path = f"/torrentinfo?uri=magnet:%3Fxt=urn:btih:{infohash}"
    code, told = client.get(path)
    assert code == 200
    metainfo = told["metainfo"]
    assert metainfo["info"] == {"name": "image", "piece length": PIECE, "length": 3 * PIECE}
    assert (metainfo["infohash"], metainfo["download_exists"]) == (infohash, False)
    client.put("/downloads", shared.torrent.to_bytes())
    assert client.get(path)[1]["metainfo"]["download_exists"] is True


@pytest.mark.parametrize(
    ("query", "code", "error"),
    [
        ("", 400, "uri parameter missing"),
        ("?uri=", 400, "uri parameter missing"),
        ("?uri=ftp://x", 400, "invalid uri"),
        ("?uri=image", 400, "invalid uri"),
        ("?uri=magnet:%3Fdn=x", 400, "missing infohash"),
        ("?uri=magnet:%3Fxt=urn:btih:zz", 400, "missing infohash"),
    ],
)
def test_torrent_info_says_what_is_wrong(client, query, code, error):
    assert client.get(f"/torrentinfo{query}") == (code, {"error": error})


def test_torrent_info_is_not_asked_for_anonymously_in_the_clear(client, shared):
    uri = f"magnet:%3Fxt=urn:btih:{shared.torrent.infohash.hex()}"
    code, told = client.get(f"/torrentinfo?uri={uri}&hops=1")
    assert (code, "anonymising transport" in told["error"]) == (400, True)


def test_torrent_info_gives_up(fleet, client):
    path = f"/torrentinfo?uri=magnet:%3Fxt=urn:btih:{'cd' * 20}"
    coroutine = client.door._ask("GET", path, None, {})

    def wait():
        fleet.clock.advance(0.1)
        client.door.treq.flush()

    response = fleet.done(coroutine, wait)
    assert response.code == 408
    assert json.loads(response.whole) == {"error": "timeout"}


def test_torrent_info_of_what_does_not_answer(client):
    code, told = client.get("/torrentinfo?uri=http://192.0.2.1/a.torrent")
    assert (code, type(told["error"])) == (500, str)


def test_create_torrent(fleet, node, client):
    path = Path("/memory/b.bin")
    data = fleet.disks["node"].published[path] = fleet.data(PIECE)
    body = f"files[]={path}&description=words&trackers[]=http://192.0.2.1/announce"
    code, told = client.call("POST", "/createtorrent", body)
    assert (code, set(told)) == (200, {"torrent"})
    made = base64.b64decode(told["torrent"])
    torrent = Torrent.from_bytes(made)
    assert (torrent.name, torrent.size) == ("b.bin", len(data))
    assert torrent.trackers == (("http://192.0.2.1/announce",),)
    assert bencode.decode(made)[b"comment"] == b"words"
    assert client.listed() == []
    assert (
        client.call("POST", "/createtorrent?download=1", json.dumps({"files": [str(path)]}))[0]
        == 200
    )
    fleet.until(lambda: client.listed()[0]["status"] == "DLSTATUS_SEEDING")


@pytest.mark.parametrize("body", ["", "files[]=", "name=x", '{"files": []}'])
def test_create_torrent_needs_files(client, body):
    told = (400, {"error": "files parameter missing"})
    assert client.call("POST", "/createtorrent", body) == told


def test_create_torrent_of_what_is_not_there(client):
    code, told = client.call("POST", "/createtorrent", "files[]=/memory/none")
    assert (code >= 400, list(told)) == (True, ["error"])
