"""The golden requests and responses of the JSON-RPC API, checked on both sides."""

import base64
import json

import pytest

from p2pd.node.options import DownloadOptions, TrackerChoice, TrackerSource
from p2pd.swarm.lifecycle import State
from tests.fleet import Door
from tests.golden.jsonrpc_client import PorlaClient, RpcError
from tests.golden_pairs import check_like, filled, pairs

ALL = {pair.name: pair for pair in pairs("jsonrpc")}
# The original's page names its parameters, and waits for every answer.
ASKED = sorted(
    name
    for name, pair in ALL.items()
    if isinstance(body := pair.request.get("body"), dict)
    and isinstance(body.get("params"), dict)
    and "id" in body
)


class Scene:
    """A node that has `a.bin`, and may have `b.bin`; what placeholders stand for in it."""

    def __init__(self, fleet):
        seed, node = fleet.node("seed"), fleet.node("node")
        known = fleet.share(seed, "a.bin", fleet.data(300_000)).torrent
        other = fleet.share(seed, "b.bin", fleet.data(1000)).torrent
        self.door = Door(fleet, node)
        self.names = {
            "<infohash>": known.infohash.hex(),
            "<other>": other.infohash.hex(),
            "<ti>": base64.b64encode(other.to_bytes()).decode(),
            "<absent>": "0" * 40,
        }
        downloads = fleet.control(node).downloads
        tracker = TrackerChoice("http://tracker.example/announce", 0, TrackerSource.CLIENT)
        options = DownloadOptions(trackers=(tracker,))
        fleet.done(downloads.add(known.to_bytes(), options))
        job = downloads.find(known.infohash.hex())
        fleet.until(lambda: job.state is State.COMPLETE)


@pytest.fixture
def scene(fleet):
    return Scene(fleet)


def content_of(response):
    kind = (response.headers.getRawHeaders("Content-Type") or [""])[0]
    text = response.whole.decode()
    return json.loads(text) if text and "json" in kind else text


@pytest.mark.parametrize("name", sorted(ALL))
def test_the_node_answers_so(scene, name):
    request, expected = ALL[name].request, filled(ALL[name].response, scene.names)
    body = filled(request.get("body", ""), scene.names)
    body = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    response = scene.door.ask(request["method"], request["path"], body)
    assert response.code == expected["status"]
    kind = response.headers.getRawHeaders("Content-Type") or [""]
    assert kind[0].startswith(expected["content_type"])
    check_like(content_of(response), expected["body"])


@pytest.mark.parametrize("name", ASKED)
def test_the_client_asks_so_and_reads_what_is_answered(name):
    request, response = ALL[name].request, ALL[name].response
    sent = []

    def send(method, path, headers, body):
        sent.append((method, path, json.loads(body)))
        return response["status"], response["content_type"], json.dumps(response["body"]).encode()

    client = PorlaClient(send)
    asked = request["body"]
    if "error" in response["body"]:
        with pytest.raises(RpcError) as raised:
            client.call(asked["method"], asked["params"])
        assert raised.value.code == response["body"]["error"]["code"]
    else:
        assert client.call(asked["method"], asked["params"]) == response["body"]["result"]
    assert sent == [(request["method"], request["path"], asked)]
