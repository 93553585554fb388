"""The command as a process, and the demonstration with all the processes it starts."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

pytestmark = pytest.mark.real

COMMAND = (sys.executable, "-m", "p2pd.cli.main")


@pytest.fixture
def environment(tmp_path):
    """Lets temporary files be made in a directory that can be looked at."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    return {**os.environ, "TMPDIR": str(temporary), "TERM": "dumb"}


@pytest.fixture
def nothing_left(environment):
    """`nothing_left()` looks whether any file or process is left."""
    temporary = environment["TMPDIR"]

    def check():
        assert list(Path(temporary).iterdir()) == []
        commands = [
            " ".join(one.info["cmdline"] or ()) for one in psutil.process_iter(["cmdline"])
        ]
        assert [command for command in commands if temporary in command] == []

    return check


def run(environment, *argv):
    return subprocess.run(
        [*COMMAND, *argv],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_node_that_is_not_there(environment):
    ended = run(environment, "--node", "http://127.0.0.1:1", "ls")
    assert ended.returncode == 3
    assert ended.stdout == ""
    assert ended.stderr.startswith("p2pd: cannot reach a node at http://127.0.0.1:1")


def test_get_of_an_unknown_name(environment, twistd, tmp_path):
    tracker = twistd(
        "p2p-tracker", "--listen", "tcp:0:interface=127.0.0.1", "--state-dir", tmp_path / "tracker"
    )
    node = twistd(
        *("p2p-node", "--listen", "tcp:0:interface=127.0.0.1", "--tracker", tracker.url),
        *("--state-dir", tmp_path / "node"),
    )
    ended = run(environment, "get", "unknown", "--node", node.url)
    assert (ended.returncode, ended.stdout) == (4, "")
    assert "unknown" in ended.stderr


def test_demo(environment, nothing_left):
    ended = run(environment, "demo", "--nodes", "3", "--size", "8M")
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr == ""
    assert "node-3: " in ended.stdout
    assert "copies: 2 of 8.0 MB each, in " in ended.stdout
    assert ended.stdout.endswith("identical copies: 2 of 2\n")
    nothing_left()


def test_demo_of_a_given_file_as_json(environment, nothing_left, tmp_path):
    file = tmp_path / "given.bin"
    file.write_bytes(os.urandom(3_000_000))
    ended = run(environment, "demo", str(file), "--nodes", "2", "--json")
    assert ended.returncode == 0, ended.stderr
    told = json.loads(ended.stdout)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert told["identical"] is True
    assert told["sha256"] == digest
    assert [copy["sha256"] for copy in told["copies"]] == [digest]
    assert told["seed"]["sent_to"] == {"node-2": 3_000_000}
    nothing_left()


def test_demo_shows_the_log_of_the_daemon_that_fails(environment, nothing_left, tmp_path):
    file = tmp_path / "no\\name"  # such a name is refused wherever it comes from
    file.write_bytes(b"content")
    ended = run(environment, "demo", str(file), "--nodes", "2")
    assert ended.returncode == 1
    assert "p2pd: node-1: " in ended.stderr
    assert "  | " in ended.stderr
    assert "listening on http://127.0.0.1:" in ended.stderr
    nothing_left()


def test_demo_refuses_what_does_not_fit_or_is_no_file(environment, nothing_left):
    ended = run(environment, "demo", "--size", "900000G")
    assert ended.returncode == 1
    assert "free" in ended.stderr
    assert run(environment, "demo", environment["TMPDIR"]).returncode == 2
    nothing_left()


@pytest.mark.parametrize("moment", ["making a sample", "starting a tracker", "node-1 shares"])
def test_ctrl_c_leaves_nothing(environment, nothing_left, moment):
    argv = [*COMMAND, "demo", "--nodes", "2", "--size", "20M"]
    with subprocess.Popen(
        argv,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # Whoever runs the tests in the background may have had it ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    ) as demo:
        try:
            assert any(line.startswith(moment) for line in demo.stdout)
            time.sleep(0.2)
            os.killpg(demo.pid, signal.SIGINT)  # as a terminal does: to the daemons, too
            _, errors = demo.communicate(timeout=60)
        finally:
            demo.kill()
    assert demo.returncode == 130
    assert errors == "p2pd: interrupted: all that the demo started and made is gone again\n"
    nothing_left()
