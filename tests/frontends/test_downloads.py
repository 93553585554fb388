"""The downloads API on a swarm in memory: adding, looking, removing, in each form of body."""

import base64
import json
from pathlib import Path

import pytest

from p2pd.errors import Unavailable
from p2pd.frontends.authorisation import Policy
from p2pd.frontends.downloads import downloads_apis
from p2pd.metainfo import bencode
from p2pd.metainfo.torrent import Torrent
from p2pd.swarm.lifecycle import State
from tests.frontends.downloads_client import Client
from tests.samples import torrent

PIECE = 256 * 1024
PIECES = 12
UNKNOWN = {"error": "this download does not exist"}
FORM = {"Content-Type": ["application/x-www-form-urlencoded"]}
PLAIN = {"Content-Type": ["text/plain; charset=utf-8"]}
AS_JSON = {"Content-Type": ["application/json"]}


@pytest.fixture
def seed(fleet):
    return fleet.node("seed")


@pytest.fixture
def data(fleet):
    return fleet.data(PIECES * PIECE - 1000)


@pytest.fixture
def shared(fleet, seed, data):
    return fleet.share(seed, "image", data)


@pytest.fixture
def infohash(shared):
    return shared.torrent.infohash.hex()


@pytest.fixture
def magnet(infohash):
    return f"magnet:?xt=urn:btih:{infohash}"


@pytest.fixture
def leech(fleet, shared):
    return fleet.node("leech")


@pytest.fixture
def client(fleet, leech):
    return Client(fleet, leech)


@pytest.fixture
def added(fleet, leech, client, magnet):
    """The entry of what was begun through the API."""
    assert client.put("/downloads", f"uri={magnet}")[0] == 200
    fleet.until(lambda: len(leech.library) == 1)
    return next(iter(leech.library))


# -- PUT


@pytest.mark.parametrize("path", ["/downloads", "/download"])
@pytest.mark.parametrize("headers", [None, FORM, PLAIN, AS_JSON])
@pytest.mark.parametrize("name", ["uri", "torrent"])
def test_a_form_is_taken_whatever_its_type(client, magnet, infohash, path, headers, name):
    body = f"{name}={magnet}&destination=there&unknown=1"
    assert client.put(path, body, headers) == (200, {"started": True, "infohash": infohash})


@pytest.mark.parametrize("headers", [None, FORM, PLAIN, AS_JSON])
def test_json_is_taken_whatever_its_type(client, magnet, infohash, headers):
    body = json.dumps({"uri": magnet, "anon_hops": 0, "safe_seeding": True})
    assert client.put("/downloads", body, headers) == (
        200,
        {"started": True, "infohash": infohash},
    )
    assert client.one(infohash)["safe_seeding"] is True


@pytest.mark.parametrize("headers", [None, PLAIN, {"Content-Type": ["applications/x-bittorrent"]}])
def test_a_torrent_is_taken_as_the_body(fleet, client, shared, infohash, headers, leech):
    path = "/downloads?destination=there&safe_seeding=1&unknown=1"
    told = client.put(path, shared.torrent.to_bytes(), headers)
    assert told == (200, {"started": True, "infohash": infohash})
    entry = next(iter(leech.library))
    fleet.settle(entry)
    assert entry.state is State.COMPLETE
    assert entry.content.path.name == "there"


def test_a_magnet_that_is_cut_by_the_form_still_leads_there(client, magnet, infohash):
    body = f"uri={magnet}&dn=a+name&tr=http%3A%2F%2Ft%2Fannounce"
    assert client.put("/downloads", body) == (200, {"started": True, "infohash": infohash})


def test_adding_again_succeeds_and_merges_trackers(client, magnet, infohash):
    for url in ("http://192.0.2.1/announce", "http://192.0.2.2/announce"):
        uri = f"{magnet}&tr={url}"
        told = client.put("/downloads", json.dumps({"uri": uri}))
        assert told == (200, {"started": True, "infohash": infohash})
    urls = [tracker["url"] for tracker in client.one(infohash)["trackers"]]
    assert urls == ["http://192.0.2.1/announce", "http://192.0.2.2/announce", "[DHT]", "[PeX]"]


@pytest.mark.parametrize("body", ["", "uri=", "anon_hops=2", "{}", '{"uri": ""}', '{"uri": null}'])
def test_the_uri_must_be_there(client, body):
    assert client.put("/downloads", body) == (400, {"error": "uri parameter missing"})


@pytest.mark.parametrize("hops", ["uri={}&anon_hops=1", '{{"uri": "{}", "anon_hops": 1}}'])
def test_anonymity_needs_safe_seeding_first(client, magnet, hops):
    error = "Cannot set anonymous download without safe seeding enabled"
    assert client.put("/downloads", hops.format(magnet)) == (400, {"error": error})
    assert client.listed() == []


@pytest.mark.parametrize(
    "body",
    ["uri={}&anon_hops=1&safe_seeding=1", '{{"uri":"{}","anon_hops":2,"safe_seeding":true}}'],
)
def test_anonymity_is_refused_and_nothing_begins(client, leech, magnet, body):
    code, told = client.put("/downloads", body.format(magnet))
    assert code == 400
    assert "anonymising transport" in told["error"]
    assert client.listed() == []
    assert len(leech.library) == 0


@pytest.mark.parametrize("hops", ["0", "", "x", "-1", "000"])
def test_what_is_no_number_of_hops_is_none(client, magnet, hops):
    assert client.put("/downloads", f"uri={magnet}&anon_hops={hops}")[0] == 200


@pytest.mark.parametrize("uri", ["image", "ftp://x/y", "abcd", "javascript:1", "/etc/passwd"])
def test_another_scheme_is_an_invalid_uri(client, shared, uri):
    assert client.put("/downloads", f"uri={uri}") == (500, {"error": "invalid uri"})


@pytest.mark.parametrize("body", [b"d4:infoi1ee", b"d4:spam"])
def test_a_bad_torrent_fails_and_leaves_nothing(client, leech, body):
    code, told = client.put("/downloads", body)
    assert code == 500
    assert isinstance(told["error"], str)
    assert client.listed() == []


@pytest.mark.parametrize(
    "body", ["{", '{"uri": 5}', "uri=%ff", '{"uri":"magnet:?","destination":{}}']
)
def test_a_malformed_body_is_refused(client, body):
    code, told = client.put("/downloads", body)
    assert (code, list(told)) == (400, ["error"])


@pytest.mark.parametrize(
    "uri", ["http://192.0.2.1/a.torrent", "file:///memory/none.torrent", "magnet:?xt=urn:btih:zz"]
)
def test_what_leads_nowhere_fails_and_leaves_nothing(client, uri):
    code, told = client.put("/downloads", f"uri={uri}")
    assert (code, type(told["error"])) == (500, str)
    assert client.listed() == []


def test_a_file_elsewhere_is_denied(fleet, client, shared):
    fleet.disks["leech"].published[Path("/etc/a.torrent")] = shared.torrent.to_bytes()
    code, told = client.put("/downloads", "uri=file:/etc/a.torrent")
    assert (code, list(told)) == (403, ["error"])
    assert client.listed() == []


def test_a_magnet_that_nobody_knows_waits_for_metainfo(client):
    unknown = "cd" * 20
    uri = f"magnet:?xt=urn:btih:{unknown}&dn=a+name"
    told = client.put("/downloads", json.dumps({"uri": uri, "selected_files": [0]}))
    assert told == (200, {"started": True, "infohash": unknown})
    shown = client.one(unknown)
    assert (shown["status"], shown["name"]) == ("DLSTATUS_METADATA", "a name")
    assert (shown["size"], shown["total_pieces"], shown["eta"]) == (0, 0, 0.0)
    assert client.get(f"/downloads/{unknown}/files") == (200, {"infohash": unknown, "files": []})
    assert client.get(f"/downloads/{unknown}/torrent")[0] == 404
    assert client.get(f"/downloads/{unknown}/stream/0")[0] == 404
    assert client.patch(unknown, "selected_files[]=1")[0] == 200
    for state, status in [("stop", "DLSTATUS_STOPPED"), ("resume", "DLSTATUS_METADATA")]:
        assert client.patch(unknown, f"state={state}")[0] == 200
        assert client.one(unknown)["status"] == status
    assert client.call("DELETE", f"/downloads/{unknown}", "remove_data=1")[0] == 200
    assert client.listed() == []


def test_a_body_is_bounded(client, added, infohash):
    code, told = client.patch(infohash, b"state=" + b"x" * 3_000_000)
    assert (code, list(told)) == (413, ["error"])


# -- GET


def test_nothing_is_an_empty_list(client):
    told = {"downloads": [], "checkpoints": {"total": 0, "loaded": 0, "all_loaded": True}}
    assert client.get("/downloads") == (200, told)


def test_a_download_under_way(fleet, client, added, infohash, data):
    fleet.until(lambda: 4 <= added.held.count < PIECES)
    shown = client.listed()[0]
    assert shown["status"] == "DLSTATUS_DOWNLOADING"
    assert shown["name"] == "image"
    assert shown["infohash"] == infohash
    assert shown["size"] == len(data)
    assert shown["total_pieces"] == PIECES
    assert shown["progress"] == pytest.approx(1 - added.bytes_left / len(data))
    assert shown["total_down"] == shown["all_time_download"] == added.downloaded > 0
    assert shown["speed_down"] > 0
    assert shown["eta"] == pytest.approx(added.bytes_left / shown["speed_down"])
    assert (shown["num_connected_seeds"], shown["num_connected_peers"]) == (1, 0)
    assert shown["num_seeds"] == 1
    # The seed has all, and this node what is here of it.
    assert 1 <= shown["availability"] < 2
    assert shown["time_added"] == int(added.job.added)
    assert shown["error"] == ""
    assert not {"files", "pieces", "peers"} & set(shown)


def test_a_download_that_is_complete(fleet, client, added, data):
    fleet.settle(added)
    shown = client.listed()[0]
    assert shown["status"] == "DLSTATUS_SEEDING"
    assert (shown["progress"], shown["eta"], shown["speed_down"]) == (1.0, 0.0, 0.0)
    assert shown["total_down"] == len(data)
    assert shown["ratio"] == 0.0
    assert shown["time_finished"] >= shown["time_added"]
    assert shown["availability"] >= 1.0


def test_what_others_got_shows_in_the_ratio(fleet, seed, shared, infohash, added, data):
    fleet.settle(added)
    shown = Client(fleet, seed).one(infohash)
    assert shown["total_up"] == shown["all_time_upload"] == len(data)
    assert shown["speed_up"] > 0


def test_flags_ask_for_more(fleet, client, added, data):
    fleet.until(lambda: 4 <= added.held.count < PIECES)
    path = "/downloads?get_peers=1&get_pieces=1&get_files=1"
    shown = client.get(path)[1]["downloads"][0]
    assert base64.b64decode(shown["pieces"]) == added.held.to_bytes()
    [file] = shown["files"]
    assert (file["index"], file["name"], file["size"], file["included"]) == (
        0,
        "image",
        len(data),
        True,
    )
    assert file["progress"] == pytest.approx(shown["progress"])
    [peer] = shown["peers"]
    assert peer["completed"] == 1.0
    assert peer["seed"]
    assert peer["direction"] == "L"
    assert peer["dtotal"] == added.downloaded
    assert peer["dinterested"]
    assert peer["connection_type"] == 0


def test_who_is_given_something_is_a_peer_too(fleet, seed, added, infohash):
    fleet.until(lambda: 4 <= added.held.count < PIECES)
    shown = Client(fleet, seed).get("/downloads?get_peers=1")[1]["downloads"][0]
    [peer] = shown["peers"]
    assert (peer["direction"], peer["utotal"] > 0, peer["uprate"] > 0) == ("R", True, True)
    assert peer["uinterested"]


@pytest.mark.parametrize("flag", ["0", "", "true", "True", "yes", "2", "1x"])
def test_only_1_turns_a_flag_on(client, added, flag):
    path = f"/downloads?get_peers={flag}&get_pieces={flag}&get_files={flag}"
    assert not {"files", "pieces", "peers"} & set(client.get(path)[1]["downloads"][0])


def test_flags_for_one_and_leaving_one_out(client, added, infohash):
    other = torrent("other.bin")
    assert client.put("/downloads", other.to_bytes())[0] == 200
    path = f"/downloads?get_pieces=1&infohash={infohash.upper()}"
    shown = {one["infohash"]: "pieces" in one for one in client.get(path)[1]["downloads"]}
    assert shown == {infohash: True, other.infohash.hex(): False}
    told = client.get(f"/downloads?excluded={infohash}")[1]
    assert [one["infohash"] for one in told["downloads"]] == [other.infohash.hex()]
    assert told["checkpoints"] == {"total": 2, "loaded": 2, "all_loaded": True}


@pytest.mark.parametrize("prefix", ["/downloads", "/download"])
def test_one_download_and_its_parts(client, added, infohash, prefix, shared, data):
    code, told = client.get(f"{prefix}/{infohash.upper()}?get_files=1")
    assert (code, told["download"]["infohash"], len(told["download"]["files"])) == (
        200,
        infohash,
        1,
    )
    code, told = client.get(f"{prefix}/{infohash}/files")
    assert (code, [file["name"] for file in told["files"]]) == (200, ["image"])
    response = client.ask("GET", f"{prefix}/{infohash}/torrent")
    assert response.code == 200
    assert response.headers.getRawHeaders("Content-Type") == ["application/x-bittorrent"]
    disposition = response.headers.getRawHeaders("Content-Disposition")
    assert disposition == [f"attachment; filename={infohash}.torrent"]
    assert bencode.decode(response.whole)[b"info"][b"name"] == b"image"
    assert Torrent.from_bytes(response.whole).infohash == shared.torrent.infohash


@pytest.mark.parametrize("name", ["abcd", "ab" * 20, "zz" * 20, "ab" * 32, "%C3%A9"])
@pytest.mark.parametrize(
    ("method", "rest", "body"),
    [
        ("GET", "", ""),
        ("GET", "/files", ""),
        ("GET", "/torrent", ""),
        ("GET", "/stream/0", ""),
        ("DELETE", "", "remove_data=1"),
        ("PATCH", "", "state=stop"),
        ("PUT", "/trackers", "url=http://t"),
        ("DELETE", "/trackers", "url=http://t"),
        ("PUT", "/tracker_force_announce", "url=http://t"),
    ],
)
def test_an_unknown_download_is_404(client, name, method, rest, body):
    assert client.call(method, f"/downloads/{name}{rest}", body) == (404, UNKNOWN)


def test_head_is_where_get_is(client, added, infohash):
    for path in (
        "/downloads",
        f"/downloads/{infohash}",
        f"/download/{infohash}/torrent",
        "/state",
    ):
        response = client.ask("HEAD", path)
        assert (response.code, response.whole) == (200, b"")


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("POST", "/downloads", {"GET", "HEAD", "PUT", "OPTIONS"}),
        ("POST", "/download/abcd", {"GET", "HEAD", "PATCH", "DELETE", "OPTIONS"}),
        ("PUT", "/downloads/abcd/files", {"GET", "HEAD", "OPTIONS"}),
        ("GET", "/downloads/abcd/trackers", {"PUT", "DELETE", "OPTIONS"}),
        ("GET", "/shutdown", {"PUT", "OPTIONS"}),
        ("GET", "/createtorrent", {"POST", "OPTIONS"}),
        ("DELETE", "/settings", {"GET", "HEAD", "POST", "OPTIONS"}),
    ],
)
def test_other_methods_are_405_and_told_which_are_allowed(client, method, path, allow):
    response = client.ask(method, path)
    assert response.code == 405
    assert list(json.loads(response.whole)) == ["error"]
    allowed = set(response.headers.getRawHeaders("Allow")[0].split(", "))
    assert allowed | {"OPTIONS"} == allow


def test_what_is_not_there_is_404_in_the_dialect(client):
    code, told = client.get("/downloads/a/b/c/d")
    assert (code, list(told)) == (404, ["error"])


# -- DELETE


@pytest.mark.parametrize("name", ["abcd", "known"])
def test_remove_data_must_be_there_before_anything_is_looked_up(client, added, infohash, name):
    path = f"/downloads/{infohash if name == 'known' else name}"
    for body in ("", "x=1", "{}", '{"remove_data": null}'):
        assert client.call("DELETE", path, body) == (
            400,
            {"error": "remove_data parameter missing"},
        )
    assert len(client.listed()) == 1


@pytest.mark.parametrize(
    ("body", "deletes"),
    [
        ("remove_data=1", True),
        ('{"remove_data": true}', True),
        ("remove_data=0", False),
        ("remove_data=True", False),
        ("remove_data=true", False),
        ("remove_data=", False),
        ('{"remove_data": false}', False),
        ('{"remove_data": "true"}', False),
    ],
)
def test_data_goes_only_without_doubt(fleet, leech, client, added, infohash, body, deletes):
    fleet.settle(added)
    path = added.content.path
    told = {"removed": True, "infohash": infohash}
    assert client.call("DELETE", f"/download/{infohash}", body) == (200, told)
    assert client.listed() == []
    assert (path in fleet.disks["leech"].published) is not deletes


def test_what_cannot_be_removed_is_told_as_handled(fleet, leech, client, added, infohash):
    async def refuse(_job, *, data):
        raise Unavailable(f"the disk is gone, data {data}")

    fleet.control(leech).downloads.remove = refuse
    code, told = client.call("DELETE", f"/downloads/{infohash}", "remove_data=1")
    assert code == 500
    message = "the disk is gone, data True"
    assert told["error"] == {"handled": True, "code": "Unavailable", "message": message}


# -- who may


def test_each_route_names_what_it_needs(fleet, leech):
    apis = downloads_apis(fleet.control(leech), None)
    needs = {
        (method, route.path.replace("/download/", "/downloads/")): route.policy
        for api, _ in apis
        for route in api.routes
        for method in route.methods
        if route.path != "/download"
    }
    one = "/downloads/<infohash>"
    assert needs == {
        ("GET", "/downloads"): Policy.READ,
        ("PUT", "/downloads"): Policy.CONTROL,
        ("GET", one): Policy.READ,
        ("PATCH", one): Policy.CONTROL,
        ("DELETE", one): Policy.CONTROL,
        ("GET", f"{one}/files"): Policy.READ,
        ("GET", f"{one}/torrent"): Policy.READ,
        ("GET", f"{one}/stream/<index>"): Policy.READ,
        ("PUT", f"{one}/trackers"): Policy.CONTROL,
        ("DELETE", f"{one}/trackers"): Policy.CONTROL,
        ("PUT", f"{one}/tracker_force_announce"): Policy.CONTROL,
        ("GET", "/torrentinfo"): Policy.CONTROL,
        ("POST", "/createtorrent"): Policy.CONTROL,
        ("GET", "/settings"): Policy.READ,
        ("POST", "/settings"): Policy.OWN,
        ("GET", "/state"): Policy.READ,
        ("GET", "/statistics/tribler"): Policy.READ,
        ("PUT", "/shutdown"): Policy.OWN,
        ("GET", "/events"): Policy.READ,
    }


def test_both_prefixes_have_the_same_routes(fleet, leech):
    apis = downloads_apis(fleet.control(leech), None)
    paths = [route.path for api, _ in apis for route in api.routes]
    plural = {path.removeprefix("/downloads") for path in paths if path.startswith("/downloads")}
    singular = {
        path.removeprefix("/download")
        for path in paths
        if path.startswith("/download") and not path.startswith("/downloads")
    }
    assert plural == singular


def test_a_fault_of_p2pd_is_told_in_the_dialect(fleet, leech, client, logged_errors):
    def broken():
        raise KeyError("a secret")

    fleet.control(leech).downloads.jobs = broken
    code, told = client.get("/downloads")
    assert code == 500
    assert told == {
        "error": {
            "handled": False,
            "code": "KeyError",
            "message": "p2pd failed; its log tells why",
        }
    }
    assert len(logged_errors.flush(KeyError)) == 1
