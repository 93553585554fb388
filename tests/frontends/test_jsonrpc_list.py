"""`torrents.list` and `torrents.overview`: rows, their order, filters and pages."""

import pytest

from p2pd.frontends.jsonrpc_rows import FIELDS, QUERIES, Row, flags_of, ordered, state_of
from p2pd.node.job import Job
from p2pd.node.options import DownloadOptions
from p2pd.node.snapshots import view_job
from p2pd.swarm.lifecycle import State
from tests.fleet import Door
from tests.golden.jsonrpc_client import PorlaClient, RpcError

NOW = 1_000_000.0
# Of Porla at its commit 5a5ccd8.
DOCUMENTED = [
    "active_duration",
    "all_time_download",
    "all_time_upload",
    "category",
    "download_rate",
    "error",
    "eta",
    "finished_duration",
    "flags",
    "info_hash",
    "last_download",
    "last_upload",
    "list_peers",
    "list_seeds",
    "metadata",
    "moving_storage",
    "name",
    "num_peers",
    "num_seeds",
    "progress",
    "queue_position",
    "ratio",
    "save_path",
    "seeding_duration",
    "session",
    "size",
    "state",
    "tags",
    "total",
    "total_done",
    "upload_rate",
]


def view(**facts):
    plain = view_job(Job(DownloadOptions(source="magnet:?"), added=NOW - 100), None, NOW)
    return plain._replace(**facts)


def row(**facts):
    moving = facts.pop("moving", False)
    return Row(view(**facts), moving, NOW)


def test_a_row_has_every_field():
    assert list(FIELDS) == DOCUMENTED
    assert len(FIELDS) == 31


@pytest.mark.parametrize(
    ("facts", "state", "flag"),
    [
        ({"state": State.QUEUED}, 7, "auto_managed"),
        ({"state": State.METAINFO}, 2, "auto_managed"),
        ({"state": State.ALLOCATING}, 7, "auto_managed"),
        ({"state": State.CHECKING}, 1, "auto_managed"),
        ({"state": State.DOWNLOADING}, 3, "auto_managed"),
        ({"state": State.COMPLETE, "complete": True}, 5, "auto_managed"),
        ({"state": State.COMPLETE, "complete": True, "partial": True}, 4, "auto_managed"),
        ({"state": State.PAUSED, "known": False}, 2, "paused"),
        ({"state": State.PAUSED, "known": True}, 3, "paused"),
        ({"state": State.PAUSED, "complete": True}, 5, "paused"),
        ({"state": State.PAUSED, "complete": True, "partial": True}, 4, "paused"),
        ({"state": State.FAILED, "known": True}, 3, "paused"),
    ],
)
def test_states_have_libtorrents_numbers(facts, state, flag):
    assert state_of(view(**facts)) == state
    assert flags_of(view(**facts))[0] == flag


@pytest.mark.parametrize(
    ("field", "facts", "value"),
    [
        ("error", {"error": "disk full"}, {"message": "disk full", "value": 1}),
        ("error", {}, None),
        ("category", {"category": "c"}, "c"),
        ("category", {}, None),
        ("eta", {"eta": 7.9, "left": 1}, 7),
        ("eta", {"eta": None, "left": 1}, -1),
        ("eta", {"eta": 0.0, "left": 0}, -1),
        ("last_download", {"last_received": NOW - 3.5}, 3),
        ("last_download", {}, -1),
        ("last_upload", {"last_sent": NOW}, 0),
        ("moving_storage", {"moving": True}, True),
        ("queue_position", {"position": 3}, 3),
        ("queue_position", {"position": 3, "complete": True}, -1),
        ("info_hash", {"id": "a" * 40, "v2": b"b" * 32}, ["a" * 40, "62" * 32]),
        ("active_duration", {"elapsed": 3.5, "seeding_time": 4.0}, 7),
        ("seeding_duration", {"seeding_time": 4.0}, 4),
        ("seeding_duration", {"seeding_time": 4.0, "partial": True}, 0),
        ("finished_duration", {"seeding_time": 4.0, "partial": True}, 4),
    ],
)
def test_a_field_tells_what_is_so(field, facts, value):
    assert FIELDS[field](row(**facts)) == value


@pytest.mark.parametrize("field", DOCUMENTED)
@pytest.mark.parametrize("descending", [True, False])
def test_rows_can_be_ordered_by_every_field(field, descending):
    rows = [
        row(),
        row(error="x", tags=("a",), metadata={"b": 1}, category="c", v2=b"b" * 32),
        row(eta=3.0, left=1, complete=True, moving=True),
    ]
    found = ordered(rows, field, descending=descending)
    assert sorted(map(id, found)) == sorted(map(id, rows))


@pytest.mark.parametrize(
    ("field", "facts", "descending", "names"),
    [
        ("name", [{"name": "b"}, {"name": "a"}], False, "ab"),
        ("name", [{"name": "b"}, {"name": "a"}], True, "ba"),
        ("size", [{"name": "a", "size": 10}, {"name": "b", "size": 9}], False, "ba"),
        (
            "eta",
            [
                {"name": "a"},
                {"name": "b", "eta": 9.0, "left": 1},
                {"name": "c", "eta": 1.0, "left": 1},
            ],
            False,
            "cba",
        ),
        (
            "eta",
            [
                {"name": "a"},
                {"name": "b", "eta": 9.0, "left": 1},
                {"name": "c", "eta": 1.0, "left": 1},
            ],
            True,
            "bca",
        ),
    ],
)
def test_rows_come_in_the_order_that_is_asked_for(field, facts, descending, names):
    rows = ordered([row(**each) for each in facts], field, descending=descending)
    assert "".join(each.view.name for each in rows) == names


@pytest.mark.parametrize(
    ("query", "facts"),
    [
        ("age > 1m", {}),
        ("is:downloading", {"state": State.DOWNLOADING}),
        ("is:finished", {"complete": True, "partial": True}),
        ("is:seeding", {"complete": True}),
        ("is:moving", {"moving": True}),
        ("is:paused", {"state": State.FAILED}),
        ('category = "c"', {"category": "c"}),
        ('tags contains "t"', {"tags": ("s", "t")}),
        ("size >= 1kb and upload_rate > 1kbps", {"size": 1024, "speed_up": 1025.0}),
        ('save_path contains "/dl"', {"directory": "/dl"}),
        ("seeding_duration > 1h", {"seeding_time": 4000.0}),
    ],
)
def test_queries_find_what_is_so(query, facts):
    test = QUERIES.parse(query)
    assert test(row(**facts))
    if query != "age > 1m":
        assert not test(row())


# -- over HTTP


@pytest.fixture
def client(fleet):
    node = fleet.node("node")
    door = Door(fleet, node)

    def send(method, path, headers, body):
        response = door.ask(method, path, body, headers=headers)
        kind = response.headers.getRawHeaders("Content-Type")[0]
        return response.code, kind, response.whole

    found = PorlaClient(send)
    for at in range(5):
        found.add(
            magnet_uri=f"magnet:?xt=urn:btih:{at:040x}&dn=n{at}",
            save_path=f"dir{at % 2}",
            category="even" if at % 2 == 0 else "odd",
            tags=[f"t{at}", "all"],
            metadata={"at": at, "more": True},
            trackers=["http://tracker.example/announce"],
        )
    return found


def names(client, **params):
    return "".join(each["name"] for each in client.torrents(**params))


def test_pages_follow_the_queue_by_default(client):
    answer = client.call("torrents.list", {"page": 1, "page_size": 2})
    assert [each["name"] for each in answer["torrents"]] == ["n2", "n3"]
    del answer["torrents"]
    assert answer == {
        "order_by": "queue_position",
        "order_by_dir": "asc",
        "page": 1,
        "page_size": 2,
        "torrents_total": 5,
        "torrents_total_unfiltered": 5,
    }


@pytest.mark.parametrize(
    ("params", "found"),
    [
        ({}, "n0n1n2n3n4"),
        ({"order_by": "name", "order_by_dir": "desc"}, "n4n3n2n1n0"),
        ({"filters": {"category": "odd"}}, "n1n3"),
        ({"filters": {"tags": "t4"}}, "n4"),
        ({"filters": {"category": "odd", "tags": "t4"}}, ""),
        ({"filters": {"query": 'name > "n2"'}}, "n3n4"),
        ({"filters": {"query": ""}}, "n0n1n2n3n4"),
        ({"filters": {"session": "default"}}, "n0n1n2n3n4"),
        ({"filters": {"session": "other"}}, ""),
        ({"filters": {"session_id": 1}}, "n0n1n2n3n4"),
        ({"filters": {"session_id": 2}}, ""),
        ({"filters": {"save_path": "nowhere"}}, ""),
        ({"page": 2, "page_size": 2}, "n4"),
        ({"page": 1, "page_size": 5}, ""),
        ({"page_size": 0}, ""),
    ],
)
def test_torrents_are_filtered_and_cut_into_pages(client, params, found):
    assert names(client, **params) == found


def test_the_path_of_a_row_finds_it(client):
    path = client.torrents()[0]["save_path"]
    assert names(client, filters={"save_path": path}) == "n0n2n4"


@pytest.mark.parametrize(
    ("wanted", "shown"),
    [(None, {}), ([], {}), (["at"], {"at": 0}), (["*"], {"at": 0, "more": True}), (["x"], {})],
)
def test_metadata_is_shown_as_far_as_asked(client, wanted, shown):
    assert client.torrents(include_metadata=wanted)[0]["metadata"] == shown


@pytest.mark.parametrize(
    ("params", "code", "data"),
    [
        ({"order_by": "colour"}, -1, None),
        ({"page": 3, "page_size": 2}, -2, None),
        ({"filters": {"query": "name is nice"}}, -1000, {"pos": 5}),
    ],
)
def test_what_cannot_be_listed_is_told_with_its_code(client, params, code, data):
    with pytest.raises(RpcError) as raised:
        client.torrents(**params)
    assert (raised.value.code, raised.value.data) == (code, data)


def test_an_overview_counts_by_category_state_tag_and_tracker(client):
    assert client.call("torrents.overview") == {
        "sessions": {
            "default": {
                "torrents_per_category": {"even": 3, "odd": 2},
                "torrents_per_state": {"downloading_metadata": 5},
                "torrents_per_tag": {"t0": 1, "all": 5, "t1": 1, "t2": 1, "t3": 1, "t4": 1},
                "torrents_per_tracker": {"http://tracker.example/announce": 5},
                "torrents_total": 5,
            }
        }
    }
