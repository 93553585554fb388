"""The tracker benchmark runs, in small; its load generator sends what it should, and looks at
what comes back.
"""

import importlib.util
import json
import os
import re
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote_to_bytes

import pytest

pytestmark = pytest.mark.real

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
INFOHASH = bytes(range(100, 120))
PORTS = {1024, 1024 + 7919}  # of the two peers of the only torrent
COUNTS = b"8:completei0e10:incompletei0e8:intervali1800e"
GOOD_PEER = socket.inet_aton("127.0.1.1") + (1024).to_bytes(2, "big")
STRANGER = GOOD_PEER[:5] + b"\x07"


# -- the benchmark


@pytest.fixture
def tracker(tmp_path):
    """`tracker(*options)` runs the benchmark once, in small; returns its output and figures."""

    def run(*options):
        data, figures = tmp_path / "data", tmp_path / "figures.json"
        data.mkdir()
        small = ("--torrents", "50", "--peers", "4", "--clients", "8", "--seconds", "0.2")
        places = ("--dir", data, "--json", figures)
        done = subprocess.run(
            [sys.executable, BENCHMARKS / "tracker.py", "--runs", "1", *small, *places, *options],
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert list(data.iterdir()) == []
        return done.stdout, json.loads(figures.read_text())

    return run


def test_each_door_is_measured_beside_opentracker(tracker, require_program):
    require_program("opentracker")
    require_program("gcc")
    printed, figures = tracker()

    ours = ["pure"]
    if importlib.util.find_spec("p2pd.frontends._compiled"):
        ours.append("compiled")
    made = {(run["contender"], run["door"]) for run in figures["runs"]}
    everywhere = {"http-close", "udp", "udp-connect"}
    assert made == {("opentracker", door) for door in everywhere} | {
        (name, door) for name in ours for door in everywhere | {"http-keep-alive", "heart-beat"}
    }
    assert all(run["ok"] > 0 for run in figures["runs"])
    assert {*figures["fills"]} == {"opentracker", *ours}
    assert all(fill["ok"] == 200 for fill in figures["fills"].values())
    rates, _, memory = printed.partition("Memory of 200 peers in 50 torrents\n")
    rates = rates.partition("medians of 1\n")[2]
    row = r"^http-keep-alive +-" + len(ours) * r" +\d+ +[\d.]+ +[\d.]+" + "$"
    assert re.search(row, rates, re.MULTILINE), printed
    assert re.search(r"^pure +[\d.]+ +[\d.]+ +-?[\d.]+ +60$", memory, re.MULTILINE), printed


def test_ipv6_is_measured_without_opentracker(tracker, require_program):
    require_program("gcc")
    printed, figures = tracker("--ipv6", "--contenders", "pure", "--no-memory")
    assert {run["contender"] for run in figures["runs"]} == {"pure"}
    assert "Memory of" not in printed
    assert all(run["peers_per_answer"] > 0 for run in figures["runs"] if run["door"] == "udp")


# -- its load generator


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """The load generator, compiled as strictly as it goes."""
    directory = tmp_path_factory.mktemp("generator")
    program = directory / "announce_load"
    warnings = ("-Wall", "-Wextra", "-Werror")
    source = BENCHMARKS / "announce_load.c"
    try:
        subprocess.run(["gcc", "-O2", *warnings, "-o", program, source], check=True, timeout=60)
    except FileNotFoundError:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("gcc is not installed")
    (directory / "infohashes").write_bytes(INFOHASH)
    return program


@pytest.fixture
def load(program):
    """`load(door, port)` announces two peers of one torrent, each once; returns the figures."""

    def run(door, port, *options):
        command = [
            *(program, "--door", door, "--port", str(port), "--server", str(os.getpid())),
            *("--torrents", program.with_name("infohashes"), "--peers", "2", "--clients", "1"),
            *("--fill", "--warm-up", "0", "--seconds", "5", *options),
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


@contextmanager
def http_tracker(body):
    """Answer every request so; gives the port, and the requests that came."""
    came = []

    class Answer(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            came.append((self.path, self.headers, self.client_address))
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    serving = threading.Thread(target=server.serve_forever, args=(0.02,))
    serving.start()
    try:
        yield server.server_port, came
    finally:
        server.shutdown()
        serving.join()
        server.server_close()


@contextmanager
def udp_tracker(answer, *, family=socket.AF_INET, address="127.0.0.1", deaf=0):
    """Connect everybody and answer announces so, but not the first `deaf` packets."""
    came = []
    server = socket.socket(family, socket.SOCK_DGRAM)
    server.bind((address, 0))

    def serve():
        while (packet := server.recvfrom(2048))[0]:
            came.append(packet)
            data, sender = packet
            if len(came) > deaf:
                reply = bytes(4) + b"conn-id!" if data[8:12] == bytes(4) else answer
                server.sendto(reply[:4] + data[12:16] + reply[4:], sender)

    serving = threading.Thread(target=serve)
    serving.start()
    try:
        yield server.getsockname()[1], came
    finally:
        with socket.socket(family, socket.SOCK_DGRAM) as ending:
            ending.sendto(b"", server.getsockname())
        serving.join()
        server.close()


@pytest.mark.parametrize(
    ("door", "connections"), [("http-close", 2), ("http-keep-alive", 1)], ids=str
)
def test_http_announces_are_those_of_a_client(load, door, connections):
    with http_tracker(b"d" + COUNTS + b"5:peers6:" + GOOD_PEER + b"e") as (port, came):
        figures = load(door, port)
    assert (figures["ok"], figures["errors"], figures["peers_per_answer"]) == (2, 0, 1)
    asked = [
        dict(pair.split("=") for pair in path.removeprefix("/announce?").split("&"))
        for path, _, _ in came
    ]
    assert {int(one["port"]) for one in asked} == PORTS
    assert len({one["peer_id"] for one in asked}) == 2
    for one in asked:
        assert unquote_to_bytes(one["info_hash"]) == INFOHASH
        assert (one["numwant"], one["compact"], one["event"]) == ("50", "1", "started")
    assert {address for _, _, (address, _) in came} == {"127.0.1.1"}
    assert len({source for _, _, source in came}) == connections


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (b"d14:failure reason7:unknowne", "failure reason"),
        (b"d" + COUNTS + b"5:peers5:12345e", "not an answer"),
        (b"d" + COUNTS + b"5:peers6:123456", "not a bencoded dictionary"),
        (b"d" + COUNTS + b"5:peers999999999999999:e", "not a bencoded dictionary"),
        (b"l" * 4000, "not a bencoded dictionary"),
        (b"d" + COUNTS + b"5:peers6:" + STRANGER + b"e", "no such peer"),
        (b"d" + COUNTS + b"5:peers306:" + GOOD_PEER * 51 + b"e", "more than were asked for"),
        (b"d" + COUNTS.replace(b"i0e", b"i3e") + b"5:peers0:e", "3 seeds and 3 leeches"),
    ],
    ids=["failure", "odd length", "no end", "too long", "deep", "stranger", "many", "counts"],
)
def test_wrong_http_answers_are_noticed(load, body, complaint):
    with http_tracker(body) as (port, _):
        figures = load("http-close", port)
    assert figures["errors"] > 0
    assert complaint in figures["first_error"]


ANNOUNCED = (1).to_bytes(4, "big") + (1800).to_bytes(4, "big") + bytes(8)


@pytest.mark.parametrize(("door", "connects"), [("udp", 1), ("udp-connect", 2)], ids=str)
def test_udp_announces_come_after_a_connect(load, door, connects):
    with udp_tracker(ANNOUNCED + GOOD_PEER) as (port, came):
        figures = load(door, port)
    assert (figures["ok"], figures["errors"], figures["peers_per_answer"]) == (2, 0, 1)
    announces = [data for data, _ in came if len(data) == 98]
    assert len(came) - len(announces) == connects
    assert {int.from_bytes(data[96:], "big") for data in announces} == PORTS
    for data in announces:
        assert data[:8] == b"conn-id!"
        assert data[16:36] == INFOHASH


def test_a_lost_datagram_is_sent_again(load):
    with udp_tracker(ANNOUNCED, deaf=1) as (port, _):
        figures = load("udp", port)
    assert (figures["ok"], figures["errors"], figures["resent"]) == (2, 0, 1)


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        ((3).to_bytes(4, "big") + b"unknown key", "unknown key"),
        (ANNOUNCED + b"12345", "25 bytes are no answer"),
        (ANNOUNCED + STRANGER, "no such peer"),
    ],
    ids=["error", "odd length", "stranger"],
)
def test_wrong_udp_answers_are_noticed(load, answer, complaint):
    with udp_tracker(answer) as (port, _):
        figures = load("udp", port)
    assert figures["errors"] > 0
    assert complaint in figures["first_error"]


def test_ipv6_peers_have_longer_addresses(load):
    peer = socket.inet_pton(socket.AF_INET6, "::1") + (1024).to_bytes(2, "big")
    with udp_tracker(ANNOUNCED + peer, family=socket.AF_INET6, address="::1") as (port, _):
        figures = load("udp", port, "--ipv6")
    assert (figures["ok"], figures["errors"], figures["peers_per_answer"]) == (2, 0, 1)
