"""The golden pairs of the task API: a node answers so, and its clients ask and read so."""

import json

import pytest

from p2pd.node.job import tid_of
from tests.fleet import Door
from tests.golden.tasks_client import Page, Script
from tests.golden_pairs import check_like, filled, pairs

NEVER = "ab" * 20
RUNNING = tid_of(NEVER)
FINISHED = tid_of("film.bin")
NOBODY = "0" * 40


@pytest.fixture
def node(fleet):
    return fleet.node("node")


@pytest.fixture
def door(fleet, node):
    return Door(fleet, node)


# -- the states that a node is in


def post(door, document):
    assert door.ask("POST", "/task", document).code == 200
    door.fleet.advance(0.1)


def nothing(door):
    """No tasks."""


def running(door):
    """A task that goes on for ever."""
    post(door, {"url": NEVER, "ydl_opts": {"format": "best"}})


def paused(door):
    """A task that is paused."""
    running(door)
    door.ask("PUT", f"/task/tid/{RUNNING}?act=pause")


def finished(door):
    """A task that has finished."""
    fleet = door.fleet
    fleet.share(fleet.node("seed"), "film.bin", fleet.data(1000))
    post(door, {"url": "film.bin"})
    fleet.until(lambda: b'"finished":1' in door.ask("GET", "/task/state_counter").whole)


# -- which state each pair is about, and what makes a client ask

PREFERENCES = {
    "general": {"download_dir": "/memory", "db_path": "", "log_size": "20"},
    "youtube_dl": {"fomart": "", "proxy": ""},
}
PROXY = {"youtube_dl": {"proxy": "socks5://127.0.0.1:1080"}}
CALLS = {
    "add": (nothing, Page.add, NEVER, {"format": "best"}),
    "add-as-form": (nothing, Script.add, {"url": NEVER}),
    "add-again": (running, Page.add, NEVER, {}),
    "add-no-url": (nothing, Script.add, {"uri": NEVER}),
    "pause": (running, Page.pause, RUNNING),
    "pause-paused": (paused, Page.pause, RUNNING),
    "pause-finished": (finished, Page.pause, FINISHED),
    "pause-unknown": (nothing, Page.pause, NOBODY),
    "resume": (paused, Page.resume, RUNNING),
    "resume-running": (running, Page.resume, RUNNING),
    "resume-finished": (finished, Page.resume, FINISHED),
    "resume-unknown": (nothing, Page.resume, NOBODY),
    "act-unknown": (running, Script.act, RUNNING, "?act=stop"),
    "act-missing": (running, Script.act, RUNNING, ""),
    "delete": (finished, Page.remove, FINISHED),
    "delete-with-data": (finished, Page.remove_with_data, FINISHED),
    "delete-unknown": (nothing, Page.remove, NOBODY),
    "status": (finished, Page.status, FINISHED),
    "status-running": (running, Page.status, RUNNING),
    "status-excerpt": (finished, Script.status, FINISHED, "?exerpt=true"),
    "status-unknown": (nothing, Script.status, NOBODY, ""),
    "info": (finished, Script.info, FINISHED),
    "list": (paused, Page.list, "all"),
    "list-empty": (nothing, Page.list, "all"),
    "list-state": (running, Page.list, "finished"),
    "list-unknown-state": (nothing, Script.list, "?state=stopped"),
    "list-full": (finished, Script.list, "?exerpt=false"),
    "list-full-state": (finished, Script.list, "?exerpt=false&state=finished"),
    "state-counter": (finished, Script.count, "state_counter"),
    "state-coutner": (running, Script.count, "state_coutner"),
    "batch-pause": (running, Script.batch, "pause", {"tids": [RUNNING]}),
    "batch-resume-some-failed": (running, Script.batch, "resume", {"tids": [RUNNING, NOBODY]}),
    "batch-delete": (
        finished,
        Script.batch,
        "delete",
        {"tids": [FINISHED], "del_file": "true"},
    ),
    "batch-delete-array": (paused, Script.batch, "delete", [RUNNING]),
    "batch-without-tids": (nothing, Script.batch, "delete", {}),
    "batch-unknown-action": (running, Script.batch, "stop", {"tids": [RUNNING]}),
    "config": (nothing, Page.preferences),
    "config-changed": (nothing, Page.prefer, PREFERENCES),
    "config-proxy": (nothing, Page.prefer, PROXY),
    "no-such-path": (nothing, Script.ask, "GET", "/task/nowhere"),
    "no-such-method": (nothing, Script.ask, "PATCH", "/task/list"),
}
PAIRS = {pair.name: pair for pair in pairs("tasks")}


def body_of(request):
    """The bytes of a request's body, None if it has none."""
    body = request.get("body")
    if body is None or isinstance(body, str):
        return None if body is None else body.encode()
    return json.dumps(body, separators=(",", ":")).encode()


def test_there_is_a_pair_for_each_call():
    assert PAIRS.keys() == CALLS.keys()


@pytest.mark.parametrize("name", CALLS)
def test_a_node_answers_so(node, door, name):
    CALLS[name][0](door)
    request, expected = PAIRS[name].request, PAIRS[name].response
    headers = {name: [value] for name, value in request["headers"].items()}
    reply = door.ask(request["method"], request["path"], body_of(request), headers=headers)
    assert reply.code == expected["status"]
    assert reply.headers.getRawHeaders("Content-Type") == [expected["content_type"]]
    known = "".join(entry.torrent.infohash.hex() for entry in node.library)
    check_like(json.loads(reply.whole), filled(expected["body"], {"<infohash>": known}))


@pytest.mark.parametrize("name", CALLS)
def test_a_client_asks_and_reads_so(name):
    request, response = PAIRS[name].request, PAIRS[name].response
    sent = []

    def send(*asked):
        sent.append(asked)
        told = json.dumps(response["body"]).encode()
        return response["status"], response["content_type"], told

    _, method, *arguments = CALLS[name]
    client = (Page if method.__qualname__.startswith("Page") else Script)(send)
    assert method(client, *arguments) == response["body"]
    assert sent == [(request["method"], request["path"], request["headers"], body_of(request))]
