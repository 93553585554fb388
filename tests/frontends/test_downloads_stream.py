"""The downloads API plays files: ranges, also of what is still arriving."""

import json

import pytest

from tests.frontends.downloads_client import Client

PIECE = 256 * 1024


@pytest.fixture
def data(fleet):
    return fleet.data(40 * PIECE + 5)


@pytest.fixture
def shared(fleet, data):
    return fleet.share(fleet.node("seed"), "film.mp4", data)


@pytest.fixture
def client(fleet, shared):
    client = Client(fleet, fleet.node("leech"))
    assert client.put("/downloads", shared.torrent.to_bytes())[0] == 200
    return client


@pytest.fixture
def path(shared):
    return f"/downloads/{shared.torrent.infohash.hex()}/stream"


@pytest.mark.parametrize("prefix", ["/downloads", "/download"])
def test_the_whole_file_while_it_arrives(client, path, data, prefix):
    response = client.ask("GET", path.replace("/downloads", prefix) + "/0")
    assert response.code == 200
    assert response.whole == data
    headers = response.headers
    assert headers.getRawHeaders("Content-Type") == ["video/mp4"]
    assert headers.getRawHeaders("Accept-Ranges") == ["bytes"]
    assert response.length == len(data)


@pytest.mark.parametrize(
    ("asked", "part"),
    [
        ("bytes=0-0", slice(0, 1)),
        ("bytes=100-299999", slice(100, 300_000)),
        ("bytes=10000000-", slice(10_000_000, None)),
        ("bytes=-7", slice(-7, None)),
    ],
)
def test_a_range(client, path, data, asked, part):
    response = client.ask("GET", f"{path}/0", headers={"Range": [asked]})
    assert response.code == 206
    assert response.whole == data[part]
    first, last = part.indices(len(data))[0], part.indices(len(data))[1] - 1
    expected = [f"bytes {first}-{last}/{len(data)}"]
    assert response.headers.getRawHeaders("Content-Range") == expected


def test_a_range_that_is_not_there(client, path, data):
    response = client.ask("GET", f"{path}/0", headers={"Range": [f"bytes={len(data)}-"]})
    assert response.code == 416
    assert response.headers.getRawHeaders("Content-Range") == [f"bytes */{len(data)}"]


def test_head(client, path, data):
    response = client.ask("HEAD", f"{path}/0")
    assert (response.code, response.whole) == (200, b"")
    assert response.headers.getRawHeaders("Content-Length") == [str(len(data))]


@pytest.mark.parametrize("index", ["1", "-1", "x", "99999999999", "0x0"])
def test_an_index_out_of_range(client, path, index):
    response = client.ask("GET", f"{path}/{index}")
    assert response.code == 404
    assert json.loads(response.whole) == {"error": f"index {index} out of range"}


def test_what_is_asked_for_comes_first_and_shows_as_played(fleet, client, path, shared):
    seen = []

    def look():
        entry = next(iter(fleet.control(fleet_node(fleet)).downloads.node.library))
        view = fleet.control(fleet_node(fleet)).downloads.view(entry.job)
        seen.append((view.streaming, 39 in entry.held, entry.held.count))
        client.door.treq.flush()

    coroutine = client.door._ask(
        "GET", f"{path}/0", None, {"headers": {"Range": [f"bytes={39 * PIECE}-"]}}
    )
    response = fleet.done(coroutine, look)
    assert response.code == 206
    assert any(streaming for streaming, _, _ in seen)
    # The end came before most of what lies before it.
    assert next(count for _, here, count in seen if here) < 40
    shown = client.one(shared.torrent.infohash.hex())
    assert (shown["vod_mode"], shown["vod_mod"]) == (False, False)


def fleet_node(fleet):
    return next(node for node in fleet.controls if node.node_id == "leech")
