"""The APIs that drive a node, over HTTP, on the daemon as it runs."""

import base64
import http.client
import json
import threading
from contextlib import contextmanager
from urllib.parse import urlencode, urlsplit

import pytest

from tests.dialects import Downloads, JsonRpc, RefusedError, Tasks, Transfers, agreed, magnet
from tests.real.fleet import MIB, at_once, digests, make_file, names, until
from tests.real.web import web_server

pytestmark = pytest.mark.real

FILM = "film.bin"
SIZE = 8 * MIB
PLAIN = {"Content-Type": "text/plain; charset=utf-8"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
JSON = {"Content-Type": "application/json"}
BARE = {}


class Driven:
    """A node, and the APIs that drive it."""

    def __init__(self, node):
        self.node = node
        self.downloads = Downloads(self._ask)
        self.tasks = Tasks(self._ask)
        self.rpc = JsonRpc(self._ask, str(node.downloads))
        self.transfers = Transfers(self._ask)
        self.started()

    def started(self):
        until(lambda: self.get("/state")["state"] == "STARTED")

    def _ask(self, method, path, body=None):
        return self.node.call(method, path, body=body)

    def get(self, path):
        return self.node.call("GET", path).json

    def put(self, method, path, body, headers):
        parts = urlsplit(self.node.url)
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()

    def state(self, name):
        """What all APIs agree it to be, of something that does not change meanwhile."""
        return agreed(
            {
                "downloads": self.downloads.facts(name),
                "tasks": self.tasks.facts(name),
                "json-rpc": self.rpc.facts(name),
                "fleet": self.transfers.facts(name),
            }
        )

    def row(self, name):
        return self.get(f"/downloads/{name}")["download"]

    def completes(self, name):
        until(lambda: self.row(name)["status"] == "DLSTATUS_SEEDING", what=self.row(name))


class Shared:
    """A file that a node of the fleet shares."""

    def __init__(self, fleet, path, size=SIZE):
        fleet.start_tracker()
        self.seed = fleet.start_node()
        self.path = make_file(path / "shared" / FILM, size)
        self.name = fleet.share(self.seed, self.path)["infohash"]
        self.metainfo = self.seed.call("GET", f"/metainfo/{self.name}").body


@pytest.fixture
def shared(fleet, tmp_path):
    return Shared(fleet, tmp_path)


@pytest.fixture
def driven(fleet, shared):
    return Driven(fleet.start_node("--allow-source-net", "127.0.0.0/8"))


# -- beginning downloads


def test_the_downloads_api_adds_in_each_form_of_body(driven, shared):
    link = magnet(shared.name, FILM)
    with web_server({"/a.torrent": shared.metainfo}) as web:
        uri = {"uri": f"{web.url}/a.torrent"}
        ways = [
            (urlencode({"uri": link}), PLAIN),
            (urlencode({"uri": link}), BARE),
            (urlencode({"torrent": link}), FORM),
            (urlencode(uri), FORM),
            (json.dumps({"uri": link}), JSON),
            (json.dumps(uri), BARE),
            (shared.metainfo, {"Content-Type": "application/x-bittorrent"}),
            (shared.metainfo, BARE),
        ]
        for body, headers in ways:
            added = driven.put("PUT", "/downloads", body, headers)
            assert added == (200, {"started": True, "infohash": shared.name})
            driven.completes(shared.name)
            removed = driven.put("DELETE", f"/download/{shared.name}", "remove_data=1", PLAIN)
            assert removed == (200, {"removed": True, "infohash": shared.name})
            assert driven.get("/downloads")["downloads"] == []
            assert names(driven.node.downloads) == []


def test_the_task_api_adds_in_each_form_of_body(driven, shared):
    with web_server({"/a.torrent": shared.metainfo}) as web:
        url = f"{web.url}/a.torrent"
        for body, headers in [
            (json.dumps({"url": url}), JSON),
            (urlencode({"url": url}), FORM),
            (json.dumps({"url": magnet(shared.name)}), JSON),
        ]:
            status, told = driven.put("POST", "/task", body, headers)
            assert (status, told["status"]) == (200, "success")
            tid = told["tid"]
            until(lambda tid=tid: driven.tasks.facts(tid).complete)
            batch = json.dumps({"tids": [tid], "del_file": "true"})
            assert driven.put("POST", "/task/batch/delete", batch, JSON)[1] == {
                "status": "success"
            }
            assert names(driven.node.downloads) == []


def test_the_json_rpc_api_adds_by_metainfo_and_by_magnet_link(driven, shared):
    for kind, source in [("metainfo", shared.metainfo), ("magnet", magnet(shared.name))]:
        assert driven.rpc.add(kind, source) == shared.name
        driven.completes(shared.name)
        with pytest.raises(RefusedError, match="already in session"):
            driven.rpc.add(kind, source)
        driven.rpc.remove(shared.name, data=True)
        assert names(driven.node.downloads) == []
    given = base64.b64encode(shared.metainfo).decode()
    positional = ["ti", given, "save_path", str(driven.node.downloads)]
    call = {"jsonrpc": "2.0", "id": 1, "method": "torrents.add", "params": positional}
    status, told = driven.put("POST", "/api/v1/jsonrpc", json.dumps([call]), PLAIN)
    assert (status, told[0]["result"]) == (200, {"info_hash": [shared.name, None]})
    driven.completes(shared.name)


def test_two_nodes_read_a_web_server_once(fleet, tmp_path):
    fleet.start_tracker()
    one, two = (Driven(node) for node in fleet.start_nodes(2, "--allow-source-net", "127.0.0.0/8"))
    data = make_file(tmp_path / "page.bin", SIZE).read_bytes()
    with web_server({"/page.bin": data}) as web:
        url = f"{web.url}/page.bin"
        at_once(
            lambda: one.downloads.add("url", url),
            lambda: two.tasks.add("url", url),
        )
        for driven in (one, two):
            until(lambda driven=driven: driven.transfers.ids())
            (name,) = driven.transfers.ids()
            driven.completes(name)
            assert (driven.node.downloads / "page.bin").read_bytes() == data
        # Who came second may have begun with a web seed, but nothing was read twice.
        assert (web.asked, web.sent) == ({"/page.bin": 1}, {"/page.bin": SIZE})


# -- verbs


def test_every_api_sees_what_the_others_do(driven, shared, fleet, tmp_path):
    name = shared.name
    driven.downloads.add("metainfo", shared.metainfo)
    driven.downloads.limit(name, 1_000_000)
    until(lambda: driven.row(name)["progress"] > 0)
    for pause, resume in [
        (driven.tasks.pause, driven.rpc.resume),
        (driven.rpc.pause, driven.downloads.resume),
        (driven.downloads.pause, driven.tasks.resume),
    ]:
        pause(name)
        facts = driven.state(name)
        assert (facts.states, facts.complete) == ({"paused"}, False)
        resume(name)
        until(lambda: driven.row(name)["status"] == "DLSTATUS_DOWNLOADING")
    driven.rpc.limit(name, 0)
    driven.completes(name)
    driven.rpc.recheck(name)
    driven.completes(name)
    inner = driven.node.downloads / "inner"
    driven.rpc.move(name, str(inner))
    assert digests(inner / FILM) == digests(shared.path)
    driven.downloads.pause(name)
    facts = driven.state(name)
    assert (facts.states, facts.complete) == ({"paused"}, True)
    assert (facts.directory, facts.received, facts.size) == (str(inner), SIZE, SIZE)


def test_only_the_selected_files_are_fetched(fleet, tmp_path):
    fleet.start_tracker()
    seed = fleet.start_node()
    for name in ("a.bin", "b.bin", "c.bin"):
        make_file(tmp_path / "shared" / "album" / name, MIB, seed=name)
    name = fleet.share(seed, tmp_path / "shared" / "album")["infohash"]
    driven = Driven(fleet.start_node())
    form = urlencode({"uri": magnet(name), "selected_files[]": ["a.bin", "c.bin"]}, doseq=True)
    assert driven.put("PUT", "/downloads", form, FORM)[0] == 200
    until(lambda: driven.row(name)["total_pieces"])
    driven.completes(name)
    assert names(driven.node.downloads / "album") == ["a.bin", "c.bin"]
    driven.downloads.select(name, 0, 1, 2)
    until((driven.node.downloads / "album" / "b.bin").exists)
    driven.completes(name)
    assert digests(driven.node.downloads / "album") == digests(tmp_path / "shared" / "album")


def test_a_file_is_played_while_it_arrives(driven, shared):
    driven.downloads.add("metainfo", shared.metainfo)
    driven.downloads.limit(shared.name, 2_000_000)
    until(lambda: driven.row(shared.name)["status"] == "DLSTATUS_DOWNLOADING")
    first, last = SIZE // 2, SIZE // 2 + MIB - 1
    path = f"/downloads/{shared.name}/stream/0"
    asked = {"Range": f"bytes={first}-{last}"}
    parts = urlsplit(driven.node.url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)
    connection.request("GET", path, headers=asked)
    response = connection.getresponse()
    assert response.status == 206
    assert response.headers["Content-Range"] == f"bytes {first}-{last}/{SIZE}"
    assert response.read() == shared.path.read_bytes()[first : last + 1]
    assert driven.row(shared.name)["progress"] < 1
    connection.close()


# -- events


@contextmanager
def listening(driven, path, **headers):
    """The lines that a stream of events has written so far."""
    parts = urlsplit(driven.node.url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)
    connection.request("GET", path, headers=headers)
    response = connection.getresponse()
    lines = []

    def read():
        while line := response.readline():
            lines.append(line.decode())

    reading = threading.Thread(target=read)
    reading.start()
    try:
        yield response, lines
    finally:
        assert driven.put("PUT", "/shutdown", None, BARE) == (200, {"shutdown": True})
        reading.join(20)
        connection.close()
    assert not reading.is_alive()


def test_the_events_of_the_downloads_api(driven, shared):
    with listening(driven, "/events") as (response, lines):
        assert response.headers["Content-Type"].startswith("application/json")
        until(lambda: lines)
        driven.rpc.add("metainfo", shared.metainfo)
        driven.completes(shared.name)
    told = [json.loads(line) for line in lines if line.strip()]
    assert told[0]["type"] == "events_start"
    finished = {"infohash": shared.name, "name": FILM, "hidden": False}
    assert {"type": "torrent_finished", "event": finished} in told
    assert told[-1]["type"] == "shutdown"


def test_the_events_of_the_downloads_api_for_browsers(driven, shared):
    with listening(driven, "/events", Accept="text/event-stream") as (response, lines):
        assert response.headers["Content-Type"].startswith("text/event-stream")
        until(lambda: lines)
        driven.tasks.add("magnet", magnet(shared.name))
        driven.completes(shared.name)
    assert lines[0] == "event: events_start\n"
    assert "event: torrent_finished\n" in lines


def test_the_events_of_the_json_rpc_api(driven, shared):
    with listening(driven, "/api/v1/events") as (_, lines):
        until(lambda: lines)
        driven.downloads.add("metainfo", shared.metainfo)
        driven.completes(shared.name)
        driven.downloads.pause(shared.name)
        driven.downloads.remove(shared.name, data=True)
    told = "".join(lines)
    assert "hello" in told
    for event in ("torrent_paused", "torrent_removed"):
        assert f"event: {event}\n" in told
    assert shared.name in told


# -- the node


def test_settings_survive_a_restart_and_a_shutdown_ends_it_well(driven):
    body = json.dumps({"libtorrent": {"max_upload_rate": 123_456}})
    assert driven.put("POST", "/settings", body, JSON) == (200, {"modified": True})
    config = json.dumps({"general": {"log_size": 7}, "youtube_dl": {"ratelimit": 654_321}})
    assert driven.put("POST", "/config", config, JSON)[1]["status"] == "success"

    assert driven.put("PUT", "/shutdown", "", BARE) == (200, {"shutdown": True})
    assert driven.node.daemon.wait() == 0

    driven.node.start()
    driven.started()
    settings = driven.get("/settings")["settings"]["libtorrent"]
    assert settings == {"max_upload_rate": 123_456, "max_download_rate": 654_321}
    told = driven.get("/config")["config"]
    assert told["general"]["log_size"] == 7
