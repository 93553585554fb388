"""The task API: every row of its document, every error, and every form of body."""

import json
from urllib.parse import urlencode

import pytest

from p2pd.frontends.authorisation import Gate
from p2pd.node.job import tid_of
from tests.fleet import Door

NEVER = "ab" * 20
"""An infohash that nobody has: a task for it downloads for ever."""
PAGE = {"Accept": ["application/json, text/plain, */*"]}
EXCERPT = {"tid", "state", "percent", "total_bytes", "title", "eta", "speed"}
ABSENT = {"status": "error", "errmsg": "Task does not exist"}
SUCCESS = {"status": "success"}
NO_TASKS = {"downloading": 0, "paused": 0, "finished": 0, "invalid": 0}


class Tasks:
    """The task API of a node in memory."""

    def __init__(self, fleet, node, gate=None):
        self.fleet = fleet
        self.door = Door(fleet, node, gate)

    def ask(self, method, path, body=None, **headers):
        if isinstance(body, list):
            body = json.dumps(body).encode()
        given = {name.replace("_", "-"): [value] for name, value in headers.items()}
        return self.door.ask(method, path, body, headers=given)

    def call(self, method, path, body=None):
        response = self.ask(method, path, body)
        assert response.code == 200, response.whole
        return json.loads(response.whole)

    def add(self, url, **fields):
        """Add a task; what becomes of it takes a moment."""
        told = self.call("POST", "/task", {"url": url, **fields})
        self.fleet.advance(0.1)
        return told["tid"]

    def status(self, tid):
        return self.call("GET", f"/task/tid/{tid}/status")["detail"]

    def state(self, tid):
        return self.status(tid)["state"]

    def act(self, tid, what):
        return self.call("PUT", f"/task/tid/{tid}?act={what}")

    def list(self, query=""):
        return self.call("GET", f"/task/list{query}")

    def tids(self, query=""):
        return [task["tid"] for task in self.list(query)["detail"]]

    def batch(self, action, body):
        return self.call("POST", f"/task/batch/{action}", body)


@pytest.fixture
def seed(fleet):
    return fleet.node("seed")


@pytest.fixture
def node(fleet, seed):
    return fleet.node("node")


@pytest.fixture
def tasks(fleet, node):
    return Tasks(fleet, node)


@pytest.fixture
def finished(fleet, seed, tasks):
    """The tid of a task that has finished."""
    fleet.share(seed, "film.bin", fleet.data(1000))
    tid = tasks.add("film.bin")
    fleet.until(lambda: tasks.state(tid) == "finished")
    return tid


@pytest.fixture
def running(tasks):
    """The tid of a task that goes on for ever."""
    return tasks.add(NEVER)


@pytest.fixture
def invalid(fleet, tasks):
    """The tid of a task whose URL leads nowhere."""
    tid = tasks.add("http://127.0.0.1:9/nothing")
    fleet.until(lambda: tasks.state(tid) == "invalid")
    return tid


def failure(errmsg):
    return {"status": "error", "errmsg": errmsg}


# -- POST /task


@pytest.mark.parametrize(
    "body",
    [
        json.dumps({"url": NEVER, "ydl_opts": {"format": "best"}}),
        json.dumps({"url": NEVER, "ydl_opts": {"format": "best", "proxy": "", "x": [1]}}),
        urlencode({"url": NEVER, "ydl_opts[format]": "best"}),
    ],
    ids=["JSON", "JSON with options that tasks do not have", "form"],
)
def test_add(tasks, body):
    told = tasks.call("POST", "/task", body.encode())
    assert told == {"status": "success", "tid": tid_of(NEVER)}
    status = tasks.status(told["tid"])
    assert (status["url"], status["state"], status["format"]) == (NEVER, "downloading", "best")
    assert json.loads(status["opt"]) == {"format": "best"}


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"ydl_opts": {}},
        {"ydl_opts": None},
        {"ydl_opts": 5},
        {"ydl_opts": {"format": ""}},
        {"ydl_opts": {"format": 5}},
    ],
)
def test_options_may_be_left_out(tasks, options):
    status = tasks.status(tasks.add(NEVER, **options))
    assert (status["format"], status["opt"]) == ("", "{}")


def test_a_url_is_added_once(tasks, running):
    assert tasks.call("POST", "/task", {"url": NEVER}) == failure("URL is already added")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b'{"url": ""}',
        b'{"url": null}',
        b'{"url": 5}',
        b'{"url": {"a": 1}}',
        b'{"url": "\\ud800"}',
        b'{"url": "javascript:alert(1)"}',
        b'{"url": "ftp://example.org/a"}',
        b"uri=a",
        json.dumps({"url": "a" * 5000}).encode(),
    ],
)
def test_what_is_no_url(tasks, body):
    assert tasks.call("POST", "/task", body) == failure("URL is invalid")
    assert tasks.tids() == []


def test_a_url_that_leads_nowhere_is_invalid(tasks, invalid):
    status = tasks.status(invalid)
    url = "http://127.0.0.1:9/nothing"
    assert (status["url"], status["valid"]) == (url, 0)
    first = status["log"][0]
    assert (first["type"], first["msg"]) == ("fatal", f"invalid url: {url}")


def test_another_url_of_the_same_torrent_is_the_same_task(fleet, tasks, finished):
    infohash = tasks.call("GET", f"/task/tid/{finished}/info")["detail"]["infohash"]
    magnet = f"magnet:?xt=urn:btih:{infohash}"
    assert tasks.add(magnet) == tid_of(magnet)
    assert tasks.status(tid_of(magnet)) == tasks.status(finished)
    assert tasks.tids() == [finished]
    assert tasks.call("POST", "/task", {"url": magnet}) == failure("URL is already added")


# -- PUT /task/tid/<tid>


def test_pause_and_resume(tasks, running):
    assert tasks.act(running, "pause") == SUCCESS
    assert tasks.state(running) == "paused"
    assert tasks.status(running)["pause_time"] > 0
    assert tasks.act(running, "pause") == failure("Task already paused")
    assert tasks.act(running, "resume") == SUCCESS
    assert tasks.state(running) == "downloading"
    assert tasks.act(running, "resume") == failure("Task is downloading")


def test_what_cannot_be_paused(tasks, finished, invalid):
    told = failure("Task is finished or invalid or inexistent")
    assert [tasks.act(tid, "pause") for tid in (finished, invalid, "0" * 40)] == [told] * 3


def test_what_cannot_be_resumed(tasks, finished):
    assert tasks.act(finished, "resume") == failure("Task is finished")
    assert tasks.act("0" * 40, "resume") == ABSENT


def test_an_invalid_task_can_be_tried_again(tasks, invalid):
    assert tasks.act(invalid, "resume") == SUCCESS


@pytest.mark.parametrize("query", ["", "?act=", "?act=stop", "?act=delete"])
def test_unknown_acts(tasks, running, query):
    assert tasks.call("PUT", f"/task/tid/{running}{query}") == failure("invalid request")


def test_empty_bodies_called_json_are_no_matter(tasks, running):
    kind = "application/json;charset=utf-8"
    paused = tasks.ask("PUT", f"/task/tid/{running}?act=pause", b"", Content_Type=kind)
    deleted = tasks.ask("DELETE", f"/task/tid/{running}", b"", Content_Type=kind)
    assert [json.loads(reply.whole) for reply in (paused, deleted)] == [SUCCESS] * 2


# -- DELETE /task/tid/<tid>


@pytest.mark.parametrize(
    ("query", "deleted"),
    [
        ("", False),
        ("?del_file=true", True),
        ("?del_file=True", True),
        ("?del_file=1", True),
        ("?del_file=yes", True),
        ("?del_file=false", False),
        ("?del_file=0", False),
        ("?del_file=", False),
        ("?del_file", False),
        ("?del_file=maybe", False),
        ("?del_file=true&del_file=false", False),
    ],
)
def test_data_is_deleted_only_when_that_was_said(fleet, node, tasks, finished, query, deleted):
    assert tasks.call("DELETE", f"/task/tid/{finished}{query}") == SUCCESS
    assert tasks.tids() == []
    left = [path.name for path in fleet.disks[node.node_id].published]
    assert left == ([] if deleted else ["film.bin"])


def test_what_cannot_be_deleted(tasks):
    assert tasks.call("DELETE", f"/task/tid/{'0' * 40}") == ABSENT
    assert tasks.call("DELETE", "/task/tid/nonsense?del_file=true") == ABSENT


# -- GET /task/tid/<tid>/status and /info


@pytest.mark.parametrize(
    ("query", "excerpt"),
    [
        ("", False),
        ("?exerpt=true", True),
        ("?excerpt=true", True),
        ("?exerpt=1", True),
        ("?exerpt=false", False),
        ("?excerpt=0", False),
    ],
)
def test_status(tasks, running, query, excerpt):
    detail = tasks.call("GET", f"/task/tid/{running}/status{query}")["detail"]
    assert detail["tid"] == running
    assert (detail.keys() == EXCERPT) is excerpt
    assert len(detail) == (7 if excerpt else 29)


def test_status_of_a_finished_task(tasks, finished):
    detail = tasks.status(finished)
    names = ("state", "percent", "eta", "speed", "total_bytes", "downloaded_bytes", "valid")
    assert [detail[name] for name in names] == ["finished", "100.0%", 0, 0, 1000, 1000, 1]
    assert detail["create_time"] <= detail["start_time"] <= detail["finish_time"]
    assert detail["filename"].endswith("/film.bin")
    assert (detail["title"], detail["ext"]) == ("film.bin", "bin")


def test_info(tasks, finished):
    detail = tasks.call("GET", f"/task/tid/{finished}/info")["detail"]
    assert (detail["tid"], detail["url"], detail["title"]) == (finished, "film.bin", "film.bin")
    assert (len(detail["infohash"]), detail["pieces"]) == (40, 1)
    assert len(detail) == 18


def test_a_task_can_be_named_by_its_infohash_and_in_capitals(tasks, finished):
    infohash = tasks.call("GET", f"/task/tid/{finished}/info")["detail"]["infohash"]
    assert tasks.status(infohash)["tid"] == finished
    assert tasks.status(finished.upper())["tid"] == finished


@pytest.mark.parametrize("path", ["status", "status?exerpt=true", "info"])
@pytest.mark.parametrize("tid", ["0" * 40, "undefined", "é"])
def test_nothing_is_told_of_what_is_not_there(tasks, path, tid):
    assert tasks.call("GET", f"/task/tid/{tid}/{path}") == ABSENT


# -- GET /task/list, /task/state_counter


def test_an_empty_list(tasks):
    assert tasks.list() == {"status": "success", "detail": [], "state_counter": NO_TASKS}


@pytest.mark.parametrize(
    ("query", "keys"),
    [
        ("", 7),
        ("?exerpt=true", 7),
        ("?excerpt=1", 7),
        ("?exerpt=false", 28),
        ("?excerpt=false", 28),
        ("?exerpt=false&state=all", 28),
        ("?state=downloading", 7),
    ],
)
def test_list(tasks, running, query, keys):
    told = tasks.list(query)
    assert [len(task) for task in told["detail"]] == [keys]
    assert told["state_counter"] == NO_TASKS | {"downloading": 1}


def test_list_by_state(tasks, finished, invalid, running):
    paused = tasks.add("cd" * 20)
    tasks.act(paused, "pause")
    counted = dict.fromkeys(NO_TASKS, 1)
    for state, tid in {
        "downloading": running,
        "finished": finished,
        "paused": paused,
        "invalid": invalid,
    }.items():
        told = tasks.list(f"?state={state}")
        assert [task["tid"] for task in told["detail"]] == [tid]
        assert told["state_counter"] == counted
    assert len(tasks.tids("?state=all")) == 4
    for spelling in ("state_counter", "state_coutner"):
        told = tasks.call("GET", f"/task/{spelling}")
        assert told == {"status": "success", "detail": counted}


@pytest.mark.parametrize("state", ["", "stopped", "ALL"])
def test_unknown_states(tasks, state):
    assert tasks.list(f"?state={state}") == failure("Invalid query state")


def test_downloads_of_other_apis_are_tasks(fleet, node, seed, tasks):
    fleet.share(seed, "other.bin", fleet.data(1000))
    fleet.settle(fleet.get(node, "other.bin"))
    (task,) = tasks.list()["detail"]
    assert (task["title"], task["state"]) == ("other.bin", "finished")
    assert tasks.status(task["tid"])["state"] == "finished"


# -- POST /task/batch/<action>


def bodies(*tids, **fields):
    """The same tids in every form of body."""
    listed = list(tids)
    return {
        "object": json.dumps({"tids": listed, **fields}),
        "array": json.dumps(listed),
        "form": urlencode({"tids": listed, **fields}, doseq=True),
        "form with brackets": urlencode({"tids[]": listed, **fields}, doseq=True),
    }


@pytest.mark.parametrize("form", bodies())
def test_batches(tasks, form):
    tids = [tasks.add(NEVER), tasks.add("cd" * 20)]
    body = bodies(*tids)[form].encode()
    assert tasks.batch("pause", body) == SUCCESS
    assert len(tasks.tids("?state=paused")) == 2
    assert tasks.batch("resume", body) == SUCCESS
    assert len(tasks.tids("?state=downloading")) == 2
    assert tasks.batch("delete", body) == SUCCESS
    assert tasks.tids() == []


def test_a_batch_tells_what_it_failed_for(tasks, running, finished):
    absent = "0" * 40
    tids = {"tids": [running, absent, finished]}
    stopped = "Task is finished or invalid or inexistent"
    told = tasks.batch("resume", tids)
    assert told == {
        "status": "success",
        "detail": [
            [running, "Task is downloading"],
            [absent, "Inexistence error"],
            [finished, "Task is finished"],
        ],
    }
    told = tasks.batch("pause", tids)
    assert told == {"status": "success", "detail": [[absent, stopped], [finished, stopped]]}
    assert tasks.batch("pause", [running])["detail"] == [[running, "Task already paused"]]
    told = tasks.batch("delete", tids)
    assert told == {"status": "success", "detail": [[absent, "Inexistence error"]]}


def test_a_tid_counts_once(tasks, running):
    assert tasks.batch("pause", {"tids": [running, running]}) == SUCCESS


def test_an_empty_batch_does_nothing(tasks, running):
    assert tasks.batch("delete", {"tids": []}) == SUCCESS
    assert tasks.tids() == [running]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b'{"tid": ["a"]}',
        b"tid=a",
        b'{"tids": null}',
        b'{"tids": [5]}',
        b'{"tids": [["a"]]}',
        b"[null]",
        b"[{}]",
    ],
)
def test_a_batch_without_tids(tasks, running, body):
    assert tasks.batch("delete", body) == failure("Request error")
    assert tasks.tids() == [running]


@pytest.mark.parametrize("action", ["stop", "remove", "PAUSE"])
def test_unknown_actions(tasks, running, action):
    assert tasks.batch(action, {"tids": [running]}) == failure("invalid request")
    assert tasks.state(running) == "downloading"


@pytest.mark.parametrize(
    ("value", "deleted"),
    [
        (True, True),
        ("true", True),
        ("yes", True),
        (1, True),
        ("1", True),
        (False, False),
        ("false", False),
        (0, False),
        (None, False),
        ("maybe", False),
        ({"a": 1}, False),
        ([True, False], False),
    ],
)
def test_a_batch_deletes_data_only_when_that_was_said(
    fleet, node, tasks, finished, value, deleted
):
    assert tasks.batch("delete", {"tids": [finished], "del_file": value}) == SUCCESS
    left = [path.name for path in fleet.disks[node.node_id].published]
    assert left == ([] if deleted else ["film.bin"])


@pytest.mark.parametrize("form", ["form", "form with brackets"])
def test_a_form_deletes_data(fleet, node, tasks, finished, form):
    tasks.batch("delete", bodies(finished, del_file="true")[form].encode())
    assert fleet.disks[node.node_id].published == {}


def test_an_array_says_in_the_query_that_data_goes(fleet, node, tasks, finished):
    assert tasks.batch("delete?del_file=true", [finished]) == SUCCESS
    assert fleet.disks[node.node_id].published == {}


# -- over a restart


def test_tasks_go_on_after_a_restart(fleet, node, tasks, running):
    paused = tasks.add("cd" * 20, ydl_opts={"format": "best"})
    tasks.act(paused, "pause")
    fleet.kill(node)
    again = Tasks(fleet, fleet.node("node"))
    fleet.advance(0.1)
    assert again.state(running) == "downloading"
    status = again.status(paused)
    assert (status["state"], status["format"]) == ("paused", "best")


# -- the dialect


def test_who_names_text_gets_text(tasks):
    for accept, kind in {
        PAGE["Accept"][0]: "text/plain; charset=utf-8",
        "text/plain": "text/plain; charset=utf-8",
        "TEXT/PLAIN;q=0.5": "text/plain; charset=utf-8",
        "*/*": "application/json; charset=utf-8",
        "application/json": "application/json; charset=utf-8",
        "text/html, text/plainer": "application/json; charset=utf-8",
    }.items():
        for path in ("/task/list", "/task/nowhere", "/config"):
            reply = tasks.ask("GET", path, Accept=accept)
            assert reply.headers.getRawHeaders("Content-Type") == [kind]
            assert reply.headers.getRawHeaders("X-Content-Type-Options") == ["nosniff"]
            assert reply.headers.getRawHeaders("Vary") == ["Accept"]
    reply = tasks.ask("GET", "/task/list")
    assert reply.headers.getRawHeaders("Content-Type") == ["application/json; charset=utf-8"]


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/task/nowhere", 404),
        ("GET", "/task/tid/a/b/c", 404),
        ("GET", "/config/general", 404),
        ("GET", "/task", 405),
        ("POST", "/task/list", 405),
        ("GET", "/task/batch/pause", 405),
        ("PUT", "/config", 405),
    ],
)
def test_what_there_is_not(tasks, method, path, code):
    reply = tasks.ask(method, path, Accept=PAGE["Accept"][0])
    told = json.loads(reply.whole)
    assert (reply.code, told["status"], told.keys()) == (code, "error", {"status", "errmsg"})
    assert bool(reply.headers.getRawHeaders("Allow")) is (code == 405)


@pytest.mark.parametrize("path", ["/task", "/task/batch/pause", "/config"])
@pytest.mark.parametrize("body", [b"{", b"[" * 100_000, b"\xff=1", b'{"a": NaN}'])
def test_malformed_bodies(tasks, path, body):
    reply = tasks.ask("POST", path, body)
    assert (reply.code, json.loads(reply.whole)["status"]) == (400, "error")


def test_a_body_that_is_too_long(tasks):
    reply = tasks.ask("POST", "/task", b" " * (2 * 1024 * 1024 + 1))
    assert (reply.code, json.loads(reply.whole)["status"]) == (413, "error")


def test_other_methods_of_looking(tasks):
    assert tasks.ask("HEAD", "/task/list").code == 200


def test_without_a_token_nothing_is_told(fleet, node):
    tasks = Tasks(fleet, node, Gate(b"t" * 16))
    requests = [
        ("GET", "/task/list"),
        ("GET", "/task/state_counter"),
        ("GET", f"/task/tid/{NEVER}/status"),
        ("GET", f"/task/tid/{NEVER}/info"),
        ("POST", "/task"),
        ("PUT", f"/task/tid/{NEVER}?act=pause"),
        ("DELETE", f"/task/tid/{NEVER}"),
        ("POST", "/task/batch/pause"),
        ("GET", "/config"),
        ("POST", "/config"),
    ]
    for method, path in requests:
        reply = tasks.ask(method, path)
        assert (reply.code, json.loads(reply.whole)["status"]) == (401, "error")
        assert reply.headers.getRawHeaders("WWW-Authenticate")


def test_pages_of_other_sites_are_refused(tasks):
    reply = tasks.ask("POST", "/task", {"url": NEVER}, Origin="http://evil.example")
    assert (reply.code, json.loads(reply.whole)["status"]) == (403, "error")
