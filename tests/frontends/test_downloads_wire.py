"""What the downloads API writes of a download: each field, its JSON type, and its value."""

import base64
import json
from dataclasses import replace

import pytest

from p2pd.frontends import downloads_wire as wire
from p2pd.metainfo.bitfield import Bitfield
from p2pd.metainfo.ids import InfoHash
from p2pd.node.download_views import DownloadView, FileView, LinkView
from p2pd.node.options import SeedingRule
from p2pd.node.settings import NodeSettings
from p2pd.protocol.announce_client import TOLD_FAILURE
from p2pd.swarm.lifecycle import State
from p2pd.swarm.tracker_list import AnnounceState, TrackerEndpoint, TrackerState

IH = "ab" * 20
TYPES = {
    "name": str,
    "progress": float,
    "infohash": str,
    "speed_down": float,
    "speed_up": float,
    "status": str,
    "status_code": int,
    "size": int,
    "eta": float,
    "num_peers": int,
    "num_seeds": int,
    "num_connected_peers": int,
    "num_connected_seeds": int,
    "total_up": int,
    "total_down": int,
    "ratio": float,
    "all_time_upload": int,
    "all_time_download": int,
    "all_time_ratio": float,
    "trackers": list,
    "hops": int,
    "anon_download": bool,
    "safe_seeding": bool,
    "max_upload_speed": int,
    "max_download_speed": int,
    "upload_limit": int,
    "download_limit": int,
    "destination": str,
    "availability": float,
    "total_pieces": int,
    "vod_mode": bool,
    "vod_mod": bool,
    "vod_prebuffering_progress": float,
    "vod_prebuffering_progress_consec": float,
    "error": str,
    "time_added": int,
    "time_finished": int,
    "credit_mining": bool,
    "channel_download": bool,
    "queue_position": int,
    "auto_managed": bool,
    "user_stopped": bool,
    "seeding_ratio": float,
    "seeding_time": float,
}
PEER_TYPES = {
    "id": str,
    "extended_version": str,
    "ip": str,
    "port": int,
    "optimistic": bool,
    "direction": str,
    "uprate": float,
    "uinterested": bool,
    "uchoked": bool,
    "uhasqueries": bool,
    "uflushed": bool,
    "downrate": float,
    "dinterested": bool,
    "dchoked": bool,
    "snubbed": bool,
    "utotal": int,
    "dtotal": int,
    "completed": float,
    "speed": float,
    "connection_type": int,
    "seed": bool,
    "upload_only": bool,
    "rstate": str,
    "wstate": str,
}
_EMPTY = {"str": "", "bool": False, "int": 0, "float": 0.0, "tuple": (), "Mapping": {}}


def view(**changes) -> DownloadView:
    """A download of which half is here, with some facts changed."""
    facts = {}
    for name, annotation in DownloadView.__annotations__.items():
        kind = str(getattr(annotation, "__name__", annotation)).partition("[")[0]
        facts[name] = _EMPTY.get(kind)
    facts |= {
        "id": IH,
        "known": True,
        "infohash": InfoHash(b"\xab" * 20),
        "source": "http://x/a.torrent",
        "name": "a.iso",
        "directory": "/downloads",
        "state": State.DOWNLOADING,
        "progress": 0.5,
        "size": 2000,
        "left": 1000,
        "pieces": 20,
        "speed_down": 100.0,
        "speed_up": 50.0,
        "eta": 10.0,
        "added": 1484819242.9,
    }
    return DownloadView(**(facts | changes))


def told(trackers=(), settings=None, prebuffered=None, **changes):
    """What a client reads."""
    settings = settings or NodeSettings(seeding_ratio=2.0, seeding_time=60.0)
    shown = wire.download(view(**changes), trackers, settings, prebuffered=prebuffered)
    return json.loads(json.dumps(shown))


def test_every_field_is_there_with_its_type():
    shown = told()
    assert {name: type(value) for name, value in shown.items()} == TYPES


def test_facts_are_what_the_view_says():
    shown = told(
        peers=7, seeds=3, connected_peers=2, connected_seeds=1, session_uploaded=10,
        session_downloaded=20, uploaded=100, downloaded=400, ratio=0.25, availability=1.5,
        safe_seeding=True, upload_limit=5, download_limit=6, position=4, finished=1484819300.5,
        settings=NodeSettings(max_upload_rate=1000, max_download_rate=2000),
    )  # fmt: skip
    expected = {
        "name": "a.iso",
        "infohash": IH,
        "progress": 0.5,
        "size": 2000,
        "speed_down": 100.0,
        "speed_up": 50.0,
        "eta": 10.0,
        "num_peers": 7,
        "num_seeds": 3,
        "num_connected_peers": 2,
        "num_connected_seeds": 1,
        "total_up": 10,
        "total_down": 20,
        "all_time_upload": 100,
        "all_time_download": 400,
        "ratio": 0.25,
        "all_time_ratio": 0.25,
        "availability": 1.5,
        "safe_seeding": True,
        "upload_limit": 5,
        "download_limit": 6,
        "max_upload_speed": 1000,
        "max_download_speed": 2000,
        "queue_position": 4,
        "destination": "/downloads",
        "total_pieces": 20,
        "time_added": 1484819242,
        "time_finished": 1484819300,
        "error": "",
    }
    assert {name: shown[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("state", "status", "code"),
    [
        (State.ALLOCATING, "DLSTATUS_ALLOCATING_DISKSPACE", 0),
        (State.QUEUED, "DLSTATUS_WAITING4HASHCHECK", 1),
        (State.CHECKING, "DLSTATUS_HASHCHECKING", 2),
        (State.DOWNLOADING, "DLSTATUS_DOWNLOADING", 3),
        (State.COMPLETE, "DLSTATUS_SEEDING", 4),
        (State.PAUSED, "DLSTATUS_STOPPED", 5),
        (State.FAILED, "DLSTATUS_STOPPED_ON_ERROR", 6),
        (State.METAINFO, "DLSTATUS_METADATA", 7),
    ],
)
def test_each_state_has_its_status(state, status, code):
    shown = told(state=state)
    assert (shown["status"], shown["status_code"]) == (status, code)
    assert shown["auto_managed"] is (code not in {5, 6})
    assert shown["user_stopped"] is (code == 5)
    moving = code in {3, 4}
    assert (shown["speed_down"] > 0, shown["speed_up"] > 0) == (moving, moving)


def test_every_state_has_a_status():
    assert {wire.status_of(state) for state in State} == {
        f"DLSTATUS_{name}" for name in wire.STATUSES
    }


def test_the_end_of_a_stalled_download_is_far_and_of_others_is_now():
    assert told(eta=None)["eta"] == pytest.approx(1e9)
    assert told(eta=None, state=State.PAUSED)["eta"] == 0.0
    assert told(eta=None, state=State.COMPLETE, left=0)["eta"] == 0.0


def test_a_magnet_has_no_name_before_its_metainfo():
    link = f"magnet:?xt=urn:btih:{IH}"
    assert told(source=link, name=link, state=State.METAINFO)["name"] == "Unknown name"
    assert told(source=link, name="a.iso")["name"] == "a.iso"
    assert told(source="http://x/y", name="http://x/y")["name"] == "http://x/y"


def test_the_seeding_rule_is_the_own_one_or_the_node_s():
    assert [told()[name] for name in ("seeding_ratio", "seeding_time")] == [2.0, 60.0]
    own = told(seeding=SeedingRule(1.5, None))
    assert [own[name] for name in ("seeding_ratio", "seeding_time")] == [1.5, None]


def test_what_a_player_sees():
    shown = told(streaming=True, prebuffered=(0.5, 0.25))
    assert (shown["vod_mode"], shown["vod_mod"]) == (True, True)
    assert shown["vod_prebuffering_progress"] == 0.5
    assert shown["vod_prebuffering_progress_consec"] == 0.25
    assert told(complete=True)["vod_prebuffering_progress"] == 1.0
    assert told()["vod_prebuffering_progress"] == 0.0


def file(**changes):
    facts = {
        "index": 1, "path": ("d", "b.bin"), "place": "/x/d/b.bin", "size": 100, "done": 25,
        "priority": 4, "first_piece": 2, "last_piece": 40,
    }  # fmt: skip
    return FileView(**(facts | changes))


def test_a_file():
    shown = {"index": 1, "name": "d/b.bin", "size": 100, "included": True, "progress": 0.25}
    assert wire.file(file()) == shown
    assert wire.file(file(priority=0))["included"] is False
    assert wire.file(file(size=0, done=0))["progress"] == 1.0


def test_what_a_player_begins_with_is_the_head_of_the_first_wanted_file():
    held = Bitfield(50)
    for index in (2, 3, 5, 17, 18):
        held.add(index)
    files = [file(priority=0, first_piece=0, last_piece=1), file()]
    assert wire.prebuffered(files, held.to_bytes(), 50) == (4 / 16, 2 / 16)
    assert wire.prebuffered([file(last_piece=3)], held.to_bytes(), 50) == (1.0, 1.0)
    assert wire.prebuffered([], held.to_bytes(), 50) == (0.0, 0.0)
    assert wire.prebuffered(files, b"", 0) == (0.0, 0.0)


def test_pieces_are_a_bitfield_from_the_highest_bit():
    held = Bitfield(10)
    held.add(0)
    held.add(9)
    assert base64.b64decode(wire.pieces(held.to_bytes())) == b"\x80\x40"


LINK = LinkView(
    id="node-a", host="10.0.0.1", port=48001, client="p2pd", outgoing=True, origin=False,
    seed=False, completed=0.5, rate_down=10.0, rate_up=0.0, received=1000, sent=200,
    we_are_interested=True, we_are_choked=False, it_is_interested=False, it_is_choked=True,
    snubbed=False, failures=0, banned=False,
)  # fmt: skip


def test_every_field_of_a_peer_is_there_with_its_type_and_meaning():
    shown = json.loads(json.dumps(wire.peer(LINK)))
    assert {name: type(value) for name, value in shown.items()} == PEER_TYPES
    assert len(bytes.fromhex(shown["id"])) == 20
    expected = {
        "extended_version": "p2pd",
        "ip": "10.0.0.1",
        "port": 48001,
        "direction": "L",
        "uprate": 0.0,
        "downrate": 10.0,
        "uinterested": False,
        "uchoked": True,
        "dinterested": True,
        "dchoked": False,
        "utotal": 200,
        "dtotal": 1000,
        "completed": 0.5,
        "connection_type": 0,
        "rstate": "\2",
        "wstate": "\0",
    }
    assert {name: shown[name] for name in expected} == expected


def test_peers_differ_by_who_called_and_by_what_they_are():
    caller = wire.peer(replace(LINK, outgoing=False, rate_up=5.0, it_is_interested=True))
    assert (caller["direction"], caller["uprate"], caller["speed"]) == ("R", 5.0, 5.0)
    assert caller["uhasqueries"]
    assert caller["uflushed"]
    origin = wire.peer(replace(LINK, origin=True, seed=True, id=""))
    assert (origin["connection_type"], origin["seed"], origin["upload_only"]) == (1, True, True)
    assert origin["id"] != wire.peer(LINK)["id"]


def tracker(**facts):
    announces = AnnounceState(**facts)
    return TrackerState(
        "http://t/announce", 0, 1, endpoints=[TrackerEndpoint("h", 1, v1=announces)]
    )


@pytest.mark.parametrize(
    ("facts", "status"),
    [
        ({}, "Not contacted yet"),
        ({"updating": True}, "Not contacted yet"),
        ({"start_sent": True}, "Working"),
        ({"start_sent": True, "message": "slow down"}, "Warning: slow down"),
        (
            {"fails": 1, "message": "not registered", "last_error": TOLD_FAILURE},
            "Error: not registered",
        ),
        (
            {"fails": 1, "message": "Not Found", "last_error": "404 Not Found"},
            "HTTP status code 404",
        ),
        ({"fails": 2, "last_error": "timed out"}, "Timeout"),
        ({"fails": 2, "last_error": "Connection refused"}, "Error: Connection refused"),
        ({"fails": 2, "start_sent": True, "last_error": "5 went wrong"}, "Error: 5 went wrong"),
        ({"fails": 1}, "Not working"),
    ],
)
def test_the_status_of_a_tracker(facts, status):
    assert wire.tracker(tracker(**facts))["status"] == status


def test_a_tracker_tells_how_many_peers_it_knows():
    shown = wire.tracker(tracker(start_sent=True, complete=3, incomplete=4))
    assert shown == {"url": "http://t/announce", "peers": 7, "status": "Working"}
    assert wire.tracker(TrackerState("udp://t:1", 0, 1))["peers"] == 0


def test_the_sources_that_p2pd_does_not_use_are_listed_last():
    assert told([tracker()])["trackers"][1:] == [
        {"url": "[DHT]", "peers": 0, "status": "Disabled"},
        {"url": "[PeX]", "peers": 0, "status": "Disabled"},
    ]
