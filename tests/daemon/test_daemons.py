"""Daemons as users start them: real processes of twistd."""

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import psutil
import pytest

pytestmark = pytest.mark.real

ROOT = Path(__file__).parents[2]
LOOPBACK = "tcp:0:interface=127.0.0.1"


def get(url, headers=()):
    request = urllib.request.Request(url, headers=dict(headers))
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def refusal(daemon):
    """The one line on standard error with which a daemon ended."""
    assert daemon.wait() == 1
    (line,) = daemon.errors.splitlines()
    assert line not in daemon.text
    return line


@pytest.fixture
def token_file(tmp_path):
    file = tmp_path / "token"
    file.touch(0o600)
    file.write_text("a-token-that-nobody-guesses\n")
    return file


def test_a_tracker_starts_serves_and_stops(twistd, tmp_path):
    tracker = twistd("p2p-tracker", "--listen", LOOPBACK)
    assert get(f"{tracker.url}/api/v1/health") == (200, "Tracker is running!")
    assert get(f"{tracker.url}/") == (200, "Tracker is running!")
    status, info = get(f"{tracker.url}/api/v1/info")
    assert (status, json.loads(info)["code"]) == (200, "200 OK")
    assert tracker.stop() == 0
    assert "Traceback" not in tracker.text
    assert "GET" not in tracker.text
    assert (tmp_path / ".local/state/p2pd/tracker/tracker.sqlite3").exists()
    assert not list(tmp_path.glob("*.tap"))


def test_it_stops_with_a_connection_open(twistd):
    tracker = twistd("p2p-tracker", "--listen", LOOPBACK)
    host, _, port = tracker.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port))) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert client.recv(999)
        assert tracker.stop() == 0


def test_interrupted_it_stops_as_shells_expect(twistd):
    assert twistd("p2p-tracker", "--listen", LOOPBACK).stop(signal.SIGINT) == -signal.SIGINT


def test_every_listener_is_told(twistd, tmp_path):
    path = tmp_path / "http"
    tracker = twistd("p2p-tracker", "--listen", LOOPBACK, "--listen", f"unix:{path}")
    tracker.wait_for("unix:")
    assert tracker.urls[1:] == [f"unix:{path}"]


def test_the_configuration_file(twistd, tmp_path):
    file = tmp_path / "tracker.ini"
    file.write_text(f"[tracker]\nlisten = {LOOPBACK}\n  auto\nstate-dir = here\n")
    tracker = twistd("p2p-tracker", "--config", file)
    tracker.wait_for("listening on http://127.0.0.1:48")
    assert (tmp_path / "here").is_dir()
    assert len(tracker.urls) == 2


def test_a_taken_port(twistd, taken_port):
    endpoint = f"tcp:{taken_port}:interface=127.0.0.1"
    tracker = twistd("p2p-tracker", "--listen", endpoint, ready=False)
    assert refusal(tracker) == f"cannot listen on {endpoint}: Address already in use"


def wait_for(text, log):
    deadline = time.monotonic() + 20
    while text not in log.read_text():
        assert time.monotonic() < deadline, f"no {text!r} in {log.read_text()}"
        time.sleep(0.05)


def test_in_the_background(tmp_path, taken_port):
    script = Path(sys.executable).with_name("twistd")

    def run(endpoint, name):
        # Files of its own for each: the process behind goes on a little after this one ended.
        files = ["--pidfile", tmp_path / f"{name}.pid", "--logfile", tmp_path / f"{name}.log"]
        daemon = ["p2p-tracker", "--state-dir", tmp_path / name, "--listen", endpoint]
        return subprocess.run(
            [script, *files, *daemon],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    refused = run(f"tcp:{taken_port}:interface=127.0.0.1", "refused")
    assert refused.returncode == 1
    assert "cannot listen on" in refused.stdout + refused.stderr
    wait_for("Address already in use", tmp_path / "refused.log")
    assert run(LOOPBACK, "good").returncode == 0
    wait_for("listening on", tmp_path / "good.log")
    process = psutil.Process(int((tmp_path / "good.pid").read_text()))
    process.terminate()
    process.wait(20)
    assert not (tmp_path / "good.pid").exists()


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--listen", "tcp:0"], "refusing to listen on http://0.0.0.0:"),
        (["--listen", "tcp6:0"], "refusing to listen on http://[::]:"),
        (["--listen", "pigeon:0"], "cannot listen on pigeon:0: ValueError: Unknown endpoint"),
        (["--sweep-interval", "0"], "p2p-tracker: --sweep-interval: '0' is not a time"),
        (["--nonsense"], "p2p-tracker: option --nonsense not recognized"),
        (["--token-file", "/nonexistent"], "cannot read the token file /nonexistent: No such"),
    ],
)
def test_what_keeps_it_from_starting(twistd, options, complaint):
    assert refusal(twistd("p2p-tracker", *options, ready=False)).startswith(complaint)


def test_a_state_directory_in_use(twistd, tmp_path):
    options = ["--listen", LOOPBACK, "--state-dir", tmp_path / "state"]
    twistd("p2p-tracker", *options)
    second = twistd("p2p-tracker", *options, ready=False)
    assert "another daemon uses the state directory" in refusal(second)


def test_state_of_a_newer_version(twistd, tmp_path):
    (tmp_path / "state").mkdir()
    with sqlite3.connect(tmp_path / "state" / "tracker.sqlite3") as database:
        database.execute("PRAGMA user_version = 999")
    options = ["--listen", LOOPBACK, "--state-dir", tmp_path / "state"]
    tracker = twistd("p2p-tracker", *options, ready=False)
    assert tracker.wait() == 1
    assert "has schema version 999" in tracker.text
    assert "Traceback" not in tracker.text


def test_off_loopback_with_a_token(twistd, token_file):
    tracker = twistd("p2p-tracker", "--listen", "tcp:0", "--token-file", token_file)
    url = tracker.url.replace("0.0.0.0", "127.0.0.1")
    token = token_file.read_text().strip()
    assert get(f"{url}/api/v1/health")[0] == 200
    assert get(f"{url}/api/v1/info")[0] == 401
    assert get(f"{url}/api/v1/info?token={token}")[0] == 401
    assert get(f"{url}/api/v1/info", {"Authorization": f"Bearer {token}"})[0] == 200
    assert tracker.stop() == 0
    assert token not in tracker.text


def test_off_loopback_by_the_users_word(twistd):
    tracker = twistd("p2p-tracker", "--listen", "tcp:0", "--insecure")
    assert get(f"{tracker.url.replace('0.0.0.0', '127.0.0.1')}/api/v1/info")[0] == 200


def test_files_of_the_origin_directory(twistd, tmp_path):
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "motd").write_text("hello")
    tracker = twistd("p2p-tracker", "--listen", LOOPBACK, "--origin-dir", tmp_path / "files")
    assert get(f"{tracker.url}/origin/motd") == (200, "hello")


# What systemd does: the socket is file descriptor 3, and $LISTEN_PID says for whom.
ACTIVATE = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1", "LISTEN_FDNAMES": "http"}
os.execv(sys.argv[2], sys.argv[2:])
"""


def test_a_socket_from_systemd(twistd):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port, passed = server.getsockname()[1], server.fileno()
        tracker = twistd(
            "p2p-tracker",
            "--listen",
            "systemd:domain=INET:name=http",
            wrapper=[sys.executable, "-c", ACTIVATE, str(passed)],
            pass_fds=[passed],
        )
    assert tracker.url == f"http://127.0.0.1:{port}"
    assert get(f"{tracker.url}/api/v1/health")[0] == 200


def test_systemd_hears_of_it(twistd, tmp_path):
    address = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.settimeout(20)
        systemd.bind(str(address))
        tracker = twistd("p2p-tracker", "--listen", LOOPBACK, env={"NOTIFY_SOCKET": str(address)})
        assert systemd.recv(999).decode() == f"READY=1\nSTATUS=listening on {tracker.url}"
        assert tracker.stop() == 0
        assert systemd.recv(999) == b"STOPPING=1"
