"""The downloads API changes downloads: PATCH in each form of body, and trackers."""

import json

import pytest

from p2pd.swarm.lifecycle import State
from tests.frontends.downloads_client import Client, several

PIECE = 256 * 1024
URL = "http://192.0.2.1/announce"


@pytest.fixture
def leech(fleet):
    return fleet.node("leech")


@pytest.fixture
def client(fleet, leech):
    return Client(fleet, leech)


@pytest.fixture
def shared(fleet):
    return fleet.share(fleet.node("seed"), "image", fleet.data(12 * PIECE))


@pytest.fixture
def entry(fleet, leech, client, shared):
    """A download under way."""
    assert client.put("/downloads", shared.torrent.to_bytes())[0] == 200
    entry = next(iter(leech.library))
    fleet.until(lambda: entry.held.count >= 3)
    return entry


@pytest.fixture
def infohash(entry):
    return entry.torrent.infohash.hex()


@pytest.fixture
def files(client):
    """A download of several files that nobody has, and its infohash."""
    made = several("a.bin", "b.bin", "c.bin")
    assert client.put("/downloads", made.to_bytes())[0] == 200
    return made.infohash.hex()


def included(client, infohash):
    told = client.get(f"/downloads/{infohash}/files")[1]
    return [file["included"] for file in told["files"]]


# -- state


def form_and_json(**fields):
    return ["&".join(f"{name}={value}" for name, value in fields.items()), json.dumps(fields)]


@pytest.mark.parametrize("prefix", ["/downloads", "/download"])
@pytest.mark.parametrize("which", [0, 1])
def test_stop_and_resume(fleet, client, entry, infohash, prefix, which):
    told = {"modified": True, "infohash": infohash}
    stop, resume = (form_and_json(state=state)[which] for state in ("stop", "resume"))
    assert client.call("PATCH", f"{prefix}/{infohash}", stop) == (200, told)
    assert entry.state is State.PAUSED
    shown = client.one(infohash)
    assert shown["status"] == "DLSTATUS_STOPPED"
    assert (shown["speed_down"], shown["user_stopped"], shown["auto_managed"]) == (
        0.0,
        True,
        False,
    )
    assert client.call("PATCH", f"{prefix}/{infohash}", resume) == (200, told)
    fleet.settle(entry)
    assert client.one(infohash)["status"] == "DLSTATUS_SEEDING"


def test_what_is_so_already_is_no_error(client, entry, infohash):
    for state in ("resume", "stop", "stop"):
        assert client.patch(infohash, f"state={state}")[0] == 200
    assert entry.state is State.PAUSED


def test_recheck(fleet, client, entry, infohash):
    fleet.settle(entry)
    assert client.patch(infohash, "state=recheck")[0] == 200
    fleet.until(lambda: client.one(infohash)["status"] == "DLSTATUS_SEEDING")


def test_move_storage(fleet, client, entry, infohash):
    fleet.settle(entry)
    before, name = entry.content.path, entry.content.path.name
    body = json.dumps({"state": "move_storage", "dest_dir": str(before.parent / "elsewhere")})
    assert client.patch(infohash, body) == (200, {"modified": True, "infohash": infohash})
    assert client.one(infohash)["destination"] == str(before.parent / "elsewhere")
    published = fleet.disks["leech"].published
    assert before.parent / "elsewhere" / name in published
    assert before not in published


def test_move_storage_needs_a_place_below_the_roots(fleet, client, entry, infohash):
    fleet.settle(entry)
    path = entry.content.path
    told = (400, {"error": "dest_dir parameter missing"})
    assert client.patch(infohash, "state=move_storage") == told
    assert client.patch(infohash, "state=move_storage&dest_dir=/etc")[0] == 400
    assert entry.content.path == path


@pytest.mark.parametrize("state", ["pause", "start", "STOP", "1"])
def test_an_unknown_state(client, entry, infohash, state):
    told = (400, {"error": "unknown state parameter"})
    assert client.patch(infohash, f"state={state}") == told
    assert entry.state is State.DOWNLOADING


@pytest.mark.parametrize("body", ["", "{}", "state=", "unknown=1"])
def test_nothing_to_change_is_no_error(client, entry, infohash, body):
    assert client.patch(infohash, body) == (200, {"modified": True, "infohash": infohash})


# -- anonymity


@pytest.mark.parametrize("body", ["anon_hops=0", '{"anon_hops": 0}', "anon_hops="])
def test_no_hops_alone_is_what_there_is(client, entry, infohash, body):
    assert client.patch(infohash, body) == (200, {"modified": True, "infohash": infohash})


@pytest.mark.parametrize("body", ["anon_hops=0&state=stop", '{"anon_hops": 1, "state": "stop"}'])
def test_hops_must_be_alone(client, entry, infohash, body):
    told = (400, {"error": "anon_hops must be the only parameter in this request"})
    assert client.patch(infohash, body) == told
    assert entry.state is State.DOWNLOADING


@pytest.mark.parametrize("body", ["anon_hops=1", '{"anon_hops": 2}'])
def test_hops_are_refused(client, entry, infohash, body):
    code, told = client.patch(infohash, body)
    assert (code, "anonymising transport" in told["error"]) == (400, True)


# -- files


@pytest.mark.parametrize(
    "body",
    [
        "selected_files[]=0&selected_files[]=2",
        "selected_files%5B%5D=0&selected_files%5B%5D=2",
        "selected_files=0&selected_files=2",
        "selected_files[]=sub/a.bin&selected_files[]=2",
        '{"selected_files": [0, 2]}',
        '{"selected_files[]": ["sub/a.bin", "sub/c.bin"]}',
    ],
)
def test_files_are_selected_by_index_or_name(client, files, body):
    assert client.patch(files, body)[0] == 200
    assert included(client, files) == [True, False, True]
    assert client.patch(files, '{"selected_files": []}')[0] == 200
    assert included(client, files) == [True, True, True]


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ("selected_files[]=3", "3"),
        ("selected_files[]=-1", "-1"),
        ("selected_files[]=0&selected_files[]=99999999999", "99999999999"),
        ("selected_files[]=sub/d.bin", "sub/d.bin"),
        ('{"selected_files": [3]}', "3"),
        ('{"selected_files": [-1]}', "-1"),
    ],
)
def test_an_index_out_of_range_changes_nothing(client, files, body, name):
    told = (400, {"error": f"index {name} out of range"})
    assert client.patch(files, body) == told
    assert included(client, files) == [True, True, True]
    code, _ = client.patch(files, body.replace("}", ', "state": "stop"}') + "&state=stop")
    assert code == 400
    assert client.one(files)["status"] != "DLSTATUS_STOPPED"


@pytest.mark.parametrize("body", ['{"selected_files": [[0]]}', '{"selected_files": [true]}'])
def test_files_are_indexes_or_names(client, files, body):
    assert client.patch(files, body)[0] == 400


@pytest.mark.parametrize("chosen", ["selected_files[]=sub/b.bin", "selected_files=1"])
def test_files_are_selected_as_a_download_begins(client, chosen):
    made = several("a.bin", "b.bin", "c.bin")
    path = f"/downloads?{chosen}"
    assert client.put(path, made.to_bytes())[0] == 200
    assert included(client, made.infohash.hex()) == [False, True, False]


# -- limits, the queue, seeding


def test_limits(client, entry, infohash):
    body = json.dumps({"upload_limit": 1000, "download_limit": 2000})
    assert client.patch(infohash, body)[0] == 200
    shown = client.one(infohash)
    assert (shown["upload_limit"], shown["download_limit"]) == (1000, 2000)
    assert (entry.upload_limit.rate, entry.download_limit.rate) == (1000, 2000)
    assert client.patch(infohash, "upload_limit=-1&download_limit=0")[0] == 200
    shown = client.one(infohash)
    assert (shown["upload_limit"], shown["download_limit"]) == (0, 0)


@pytest.mark.parametrize("body", ["upload_limit=x", '{"download_limit": []}', "seeding_ratio=nan"])
def test_limits_are_numbers(client, entry, infohash, body):
    code, told = client.patch(infohash, body)
    assert (code, list(told)) in [(400, ["error"]), (200, ["modified", "infohash"])]
    assert client.one(infohash)["upload_limit"] == 0


def test_seeding_rules(client, entry, infohash):
    assert client.patch(infohash, "seeding_ratio=1.5")[0] == 200
    assert client.patch(infohash, '{"seeding_time": 60}')[0] == 200
    shown = client.one(infohash)
    assert (shown["seeding_ratio"], shown["seeding_time"]) == (1.5, 60)
    assert client.patch(infohash, "seeding_ratio=-1&seeding_time=-1")[0] == 200
    shown = client.one(infohash)
    assert (shown["seeding_ratio"], shown["seeding_time"]) == (None, None)


def test_the_queue(client):
    names = [several(f"{name}.bin") for name in "abc"]
    for made in names:
        assert client.put("/downloads", made.to_bytes())[0] == 200
    a, b, c = (made.infohash.hex() for made in names)

    def order():
        return [one["infohash"] for one in client.listed()]

    assert order() == [a, b, c]
    for verb, expected in [
        ("queue_top", [c, a, b]),
        ("queue_down", [a, c, b]),
        ("queue_bottom", [a, b, c]),
        ("queue_up", [a, c, b]),
    ]:
        assert client.patch(c, f"queue_position={verb}")[0] == 200
        assert order() == expected
    positions = [one["queue_position"] for one in client.listed()]
    assert positions == sorted(set(positions))
    told = (400, {"error": "invalid value for queue_position"})
    assert client.patch(c, "queue_position=first") == told


def test_all_that_is_not_stopped_is_in_the_queue(client, entry, infohash):
    assert client.one(infohash)["auto_managed"] is True
    assert client.patch(infohash, '{"auto_managed": true}')[0] == 200
    code, told = client.patch(infohash, '{"auto_managed": false}')
    assert (code, "state=stop" in told["error"]) == (400, True)


# -- trackers


@pytest.mark.parametrize("body", [f"url={URL}", json.dumps({"url": URL})])
@pytest.mark.parametrize("prefix", ["/downloads", "/download"])
def test_trackers_come_and_go(client, entry, infohash, body, prefix):
    path = f"{prefix}/{infohash}"
    assert client.put(f"{path}/trackers", body) == (200, {"added": True})
    tracker = client.one(infohash)["trackers"][0]
    assert (tracker["url"], tracker["peers"]) == (URL, 0)
    assert client.put(f"{path}/tracker_force_announce", body) == (200, {"forced": True})
    assert client.call("DELETE", f"{path}/trackers", body) == (200, {"removed": True})
    assert [one["url"] for one in client.one(infohash)["trackers"]] == ["[DHT]", "[PeX]"]


@pytest.mark.parametrize(
    ("method", "operation"),
    [("PUT", "trackers"), ("DELETE", "trackers"), ("PUT", "tracker_force_announce")],
)
@pytest.mark.parametrize("body", ["", "url=", "{}"])
def test_the_url_of_a_tracker_must_be_there(client, entry, infohash, method, operation, body):
    told = (400, {"error": "url parameter missing"})
    assert client.call(method, f"/downloads/{infohash}/{operation}", body) == told


def test_what_is_no_tracker_is_refused(client, entry, infohash):
    path = f"/downloads/{infohash}/trackers"
    assert client.put(path, "url=ftp://x")[0] == 400
    assert client.call("DELETE", path, f"url={URL}")[0] == 404


@pytest.mark.parametrize(
    "wrong",
    [
        {"state": "move_storage", "dest_dir": "/etc"},
        {"state": "move_storage", "dest_dir": "../up"},
        {"state": "explode"},
        {"queue_position": "queue_sideways"},
        {"seeding_ratio": "much"},
        {"selected_files": [99]},
    ],
)
def test_nothing_is_changed_by_what_is_refused(client, leech, files, wrong):
    before = client.get(f"/downloads/{files}")[1]
    asked = {"upload_limit": 5, "seeding_time": 5, **wrong}
    status, told = client.patch(files, json.dumps(asked))
    assert status >= 400
    assert "error" in told
    assert client.get(f"/downloads/{files}")[1] == before
