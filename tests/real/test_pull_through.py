"""Files that nobody shared come from an origin, and from there on from the peers."""

import contextlib
import http.server
import threading

import pytest
from werkzeug.http import parse_range_header

from tests.real.fleet import MIB, at_once, digests, make_file, until

pytestmark = pytest.mark.real

SIZE = 16 * MIB + 999


class _Files(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        data = self.server.files.get(self.path)
        if data is None:
            self.send_error(404)
            return
        asked = parse_range_header(self.headers["Range"])
        start, stop = asked.range_for_length(len(data)) if asked else (0, len(data))
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(data)}")
        self.send_header("Content-Length", str(stop - start))
        self.send_header("ETag", '"first"')
        self.end_headers()
        self.server.sent += stop - start
        self.wfile.write(data[start:stop])
        self.server.tokens.update(self.headers.get_all("Authorization", []))

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def web_server(files):
    """A server of these bytes that knows Range; `sent` counts the bytes of its bodies."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Files) as server:
        server.files = files
        server.sent = 0
        server.tokens = set()
        server.url = f"http://127.0.0.1:{server.server_address[1]}"
        serving = threading.Thread(target=server.serve_forever, args=(0.05,))
        serving.start()
        try:
            yield server
        finally:
            server.shutdown()
            serving.join()


def came_from_peers(nodes, filename):
    """The bytes of a file that nodes have sent to each other."""
    ids = {node.id for node in nodes}
    assert all(set(node.transfer(filename)["sent_to"]) <= ids for node in nodes)
    return sum(sum(node.transfer(filename)["sent_to"].values()) for node in nodes)


def test_from_a_directory_of_the_tracker(fleet, tmp_path):
    file = make_file(tmp_path / "origin" / "images" / "a file.img", SIZE)
    fleet.start_tracker("--origin-dir", tmp_path / "origin")
    nodes = fleet.start_nodes(2)
    name = "images/a file.img"

    until(lambda: len(fleet.tracker.nodes()) == 2)
    answers = at_once(*[lambda node=node: node.fetch(name) for node in nodes])

    assert [answer["state"] for answer in answers] == ["complete", "complete"]
    for node in nodes:
        assert digests(node.downloads / "a file.img") == digests(file)
    assert came_from_peers(nodes, name) > SIZE / 2
    unknown = nodes[0].call("POST", "/api/v1/start_download", {"filename": "no-such"})
    assert unknown.status == 404
    outside = nodes[0].call("POST", "/api/v1/start_download", {"filename": "../token"})
    assert outside.status in (400, 404)


def test_from_a_web_server_named_to_the_tracker(fleet, tmp_path):
    file = make_file(tmp_path / "a.img", SIZE)
    with web_server({"/sub/a.img": file.read_bytes()}) as server:
        fleet.start_tracker("--origin-url", server.url)
        nodes = fleet.start_nodes(2)
        until(lambda: len(fleet.tracker.nodes()) == 2)
        answers = at_once(*[lambda node=node: node.fetch("sub/a.img") for node in nodes])
        assert [answer["state"] for answer in answers] == ["complete", "complete"]
        for node in nodes:
            assert digests(node.downloads / "a.img") == digests(file)
        # Once to learn its digests, and hardly more than once for the nodes together.
        assert came_from_peers(nodes, "sub/a.img") > SIZE / 2
        assert server.sent < 3 * SIZE


def test_from_a_directory_of_a_node(fleet, tmp_path):
    file = make_file(tmp_path / "origin" / "a.img", SIZE)
    fleet.start_tracker()
    owner = fleet.start_node("--origin-dir", tmp_path / "origin")
    other = fleet.start_node()

    assert owner.fetch("a.img")["state"] == "complete"
    fleet.wait_for_seeds("a.img", 1)
    assert other.fetch("a.img")["state"] == "complete"

    for node in (owner, other):
        assert digests(node.downloads / "a.img") == digests(file)
    assert other.transfer("a.img")["received_from"] == {owner.address: SIZE}
    # Where one machine keeps its files is nobody else's business.
    assert not fleet.tracker.file("a.img")["web_seeds"]
    assert "file:" not in other.log


def test_from_a_web_server_named_to_a_node(fleet, tmp_path):
    file = make_file(tmp_path / "a.img", SIZE)
    with web_server({"/a.img": file.read_bytes()}) as server:
        fleet.start_tracker()
        owner = fleet.start_node("--origin-url", server.url)
        other = fleet.start_node()
        assert owner.fetch("a.img")["state"] == "complete"
        fleet.wait_for_seeds("a.img", 1)
        assert other.fetch("a.img")["state"] == "complete"

        for node in (owner, other):
            assert digests(node.downloads / "a.img") == digests(file)
        assert other.transfer("a.img")["received_from"] == {owner.address: SIZE}
        assert server.sent == 2 * SIZE


def test_an_origin_never_sees_the_fleets_token(fleet, tmp_path):
    token = "a-token-that-only-daemons-know"
    file = make_file(tmp_path / "a.img", MIB)
    secured = type(fleet)(fleet._twistd, tmp_path, token)
    with web_server({"/a.img": file.read_bytes()}) as server:
        secured.start_tracker("--origin-url", server.url)
        assert secured.start_node().fetch("a.img")["state"] == "complete"
        assert server.sent == 2 * MIB
        assert not server.tokens
