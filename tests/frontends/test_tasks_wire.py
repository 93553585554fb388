"""What the task API tells of a download: each key, its JSON type, and its value in each state."""

import json

import pytest

from p2pd.frontends.tasks_wire import (
    TaskState,
    counter_to_wire,
    excerpt_to_wire,
    info_to_wire,
    percent,
    state_of,
    status_to_wire,
    task_to_wire,
)
from p2pd.metainfo.ids import InfoHash
from p2pd.node.download_views import DownloadView
from p2pd.node.job import Level, Line, tid_of
from p2pd.swarm.lifecycle import State

URL = "http://example.org/a.iso"
EXCERPT = {
    "tid": str,
    "state": str,
    "percent": str,
    "total_bytes": int,
    "title": str,
    "eta": int,
    "speed": int,
}
FULL = EXCERPT | {
    "url": str,
    "filename": str,
    "tmpfilename": str,
    "downloaded_bytes": int,
    "total_bytes_estmt": int,
    "elapsed": float,
    "start_time": float,
    "pause_time": float,
    "log": list,
    "valid": int,
    "create_time": float,
    "finish_time": float,
    "format": str,
    "ext": str,
    "thumbnail": str,
    "duration": str,
    "view_count": str,
    "like_count": str,
    "dislike_count": str,
    "average_rating": str,
    "description": str,
}
INFO = {
    "tid",
    "url",
    "state",
    "valid",
    "title",
    "create_time",
    "finish_time",
    "format",
    "ext",
    "thumbnail",
    "duration",
    "view_count",
    "like_count",
    "dislike_count",
    "average_rating",
    "description",
    "infohash",
    "pieces",
}


def view(**changes) -> DownloadView:
    """A download as it is when half of it is here, with some facts changed."""
    facts = {
        "id": "ab" * 20,
        "known": True,
        "infohash": InfoHash(b"\xab" * 20),
        "v2": None,
        "tid": tid_of(URL),
        "source": URL,
        "name": "a.iso",
        "filename": "a.iso",
        "path": "/downloads/a.iso",
        "directory": "/downloads",
        "state": State.DOWNLOADING,
        "error": "",
        "complete": False,
        "partial": False,
        "streaming": False,
        "progress": 0.5,
        "size": 1000,
        "wanted": 1000,
        "wanted_done": 374,
        "left": 626,
        "piece_length": 100,
        "pieces": 10,
        "pieces_held": 3,
        "downloaded": 374,
        "uploaded": 0,
        "session_downloaded": 374,
        "session_uploaded": 0,
        "last_received": None,
        "last_sent": None,
        "ratio": 0.0,
        "speed_down": 100.4,
        "speed_up": 0.0,
        "eta": 6.26,
        "peers": 1,
        "seeds": 1,
        "connected_peers": 1,
        "connected_seeds": 1,
        "availability": 1.0,
        "added": 1000.5,
        "started": 1001.5,
        "finished": None,
        "paused_at": None,
        "elapsed": 3.5,
        "seeding_time": 0.0,
        "position": 0,
        "upload_limit": 0,
        "download_limit": 0,
        "max_connections": 0,
        "max_uploads": 0,
        "sequential": False,
        "seeding": None,
        "category": "",
        "tags": (),
        "metadata": {},
        "safe_seeding": False,
        "private": False,
        "comment": "",
        "log": (),
    }
    return DownloadView(**(facts | changes))


COMPLETE = {"complete": True, "wanted_done": 1000, "left": 0}


def types(document):
    return {key: type(value) for key, value in document.items()}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"state": State.COMPLETE, "finished": 1010.5, **COMPLETE},
        {"state": State.PAUSED, "paused_at": 1005.5},
        {
            "state": State.METAINFO,
            "known": False,
            "infohash": None,
            "started": None,
            "eta": None,
            "size": 0,
            "wanted": 0,
            "wanted_done": 0,
            "path": "",
        },
    ],
    ids=["downloading", "finished", "paused", "nothing known"],
)
def test_every_key_has_its_type_in_every_state(changes):
    one = view(**changes)
    assert types(excerpt_to_wire(one)) == EXCERPT
    assert types(task_to_wire(one, 10)) == FULL
    assert types(status_to_wire(one, 10)) == FULL | {"opt": str}
    assert info_to_wire(one).keys() == INFO


def test_what_is_shown_of_a_running_task():
    log = (Line(1000.9, Level.DEBUG, "first"), Line(1001.9, Level.WARNING, "second"))
    metadata = {"ydl_opts": {"format": "best"}, "other": 1}
    shown = status_to_wire(view(log=log, metadata=metadata), 10)
    assert shown == {
        "tid": tid_of(URL),
        "state": "downloading",
        "percent": " 37.4%",
        "total_bytes": 1000,
        "title": "a.iso",
        "eta": 7,
        "speed": 100,
        "url": URL,
        "filename": "/downloads/a.iso",
        "tmpfilename": "",
        "downloaded_bytes": 374,
        "total_bytes_estmt": 1000,
        "elapsed": 3.5,
        "start_time": 1001.5,
        "pause_time": 0.0,
        "log": [
            {"time": 1001, "type": "warning", "msg": "second"},
            {"time": 1000, "type": "debug", "msg": "first"},
        ],
        "valid": 1,
        "create_time": 1000.5,
        "finish_time": 0.0,
        "format": "best",
        "ext": "iso",
        "thumbnail": "",
        "duration": "",
        "view_count": "",
        "like_count": "",
        "dislike_count": "",
        "average_rating": "",
        "description": "",
        "opt": json.dumps({"format": "best"}),
    }


def test_what_is_shown_when_it_has_finished():
    done = view(state=State.COMPLETE, finished=1010.5, speed_down=5.0, **COMPLETE)
    shown = task_to_wire(done, 10)
    names = ("state", "percent", "eta", "speed", "finish_time", "downloaded_bytes")
    assert [shown[name] for name in names] == ["finished", "100.0%", 0, 0, 1010.5, 1000]


def test_what_is_shown_when_it_is_paused():
    paused = view(state=State.PAUSED, paused_at=1005.5)
    shown = task_to_wire(paused, 10)
    names = ("state", "percent", "eta", "speed", "pause_time")
    assert [shown[name] for name in names] == ["paused", " 37.4%", 0, 0, 1005.5]


def test_only_the_latest_lines_of_the_log_are_shown():
    log = tuple(Line(float(n), Level.DEBUG, str(n)) for n in range(5))
    assert [line["msg"] for line in task_to_wire(view(log=log), 2)["log"]] == ["4", "3"]
    assert task_to_wire(view(log=log), 0)["log"] == []


def test_what_a_source_said_of_itself_is_no_html():
    shown = task_to_wire(view(comment="<img src=x onerror=alert(1)>"), 10)["description"]
    assert shown == "&lt;img src=x onerror=alert(1)&gt;"


def test_what_is_known_of_the_content():
    shown = info_to_wire(view())
    assert (shown["infohash"], shown["pieces"], shown["valid"]) == ("ab" * 20, 10, 1)
    unknown = info_to_wire(view(known=False, infohash=None, piece_length=0, pieces=0))
    assert (unknown["infohash"], unknown["pieces"], unknown["valid"]) == ("", 0, 0)


def test_a_plain_file_that_is_being_read_is_valid():
    reading = view(known=False, infohash=None, piece_length=0, streaming=True)
    assert task_to_wire(reading, 10)["valid"] == 1


def test_a_url_that_led_nowhere_is_named_in_the_log():
    reason = Line(1002.5, Level.FATAL, "404 Not Found")
    failed = view(state=State.FAILED, piece_length=0, log=(reason,))
    shown = task_to_wire(failed, 10)
    assert (shown["state"], shown["valid"]) == ("invalid", 0)
    assert shown["log"] == [
        {"time": 1002, "type": "fatal", "msg": f"invalid url: {URL}"},
        {"time": 1002, "type": "fatal", "msg": "404 Not Found"},
    ]


def test_a_download_that_failed_for_another_reason_had_a_valid_url():
    full = Line(1002.5, Level.FATAL, "the disk is full")
    shown = task_to_wire(view(state=State.FAILED, log=(full,)), 10)
    assert [line["msg"] for line in shown["log"]] == ["the disk is full"]


def test_what_was_not_asked_for_by_a_source_goes_by_its_infohash():
    assert excerpt_to_wire(view(source=""))["tid"] == "ab" * 20


@pytest.mark.parametrize("metadata", [{"ydl_opts": 5}, {"ydl_opts": {"format": 5}}, {}])
def test_options_that_another_api_made_of_something_else_are_none(metadata):
    shown = status_to_wire(view(metadata=metadata), 10)
    assert (shown["format"], shown["opt"]) == ("", "{}")


@pytest.mark.parametrize(
    ("done", "text"),
    [(0, "0.0%"), (1, "  0.1%"), (99, "  9.9%"), (374, " 37.4%"), (999, " 99.9%")],
)
def test_percent(done, text):
    assert percent(view(wanted_done=done)) == text


def test_percent_says_that_all_is_here_when_it_is():
    assert percent(view(wanted=1_000_000, wanted_done=999_999)) == " 99.9%"
    assert percent(view(**COMPLETE)) == "100.0%"
    assert percent(view(complete=True, wanted=0, wanted_done=0)) == "100.0%"
    assert percent(view(wanted=0, wanted_done=5)) == "0.0%"


@pytest.mark.parametrize("state", State)
def test_states(state):
    unfinished = {State.PAUSED: "paused", State.FAILED: "invalid"}.get(state, "downloading")
    finished = "invalid" if state is State.FAILED else "finished"
    assert state_of(view(state=state)) == unfinished
    assert state_of(view(state=state, complete=True)) == finished


def test_counters_name_every_state():
    counted = counter_to_wire([view(), view(), view(state=State.PAUSED)])
    assert counted == {"downloading": 2, "paused": 1, "finished": 0, "invalid": 0}
    assert set(counted) == set(TaskState)
