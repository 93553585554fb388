"""The links benchmark runs on a network of its own, in small, and leaves nothing behind."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.real.fleet import until

pytestmark = pytest.mark.real

SCRIPT = Path(__file__).parents[2] / "benchmarks/links.py"
MBIT = 1_000_000


def ip(*arguments):
    """The first words of the lines that `ip` prints."""
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=True)
    return [line.split()[0] for line in done.stdout.splitlines()]


def namespaces(process):
    """The network namespaces that a run of the benchmark has made, and not deleted."""
    return [name for name in ip("netns", "list") if name.startswith(f"p2pd-{process.pid}-")]


@pytest.fixture
def links(require_program, tmp_path):
    """`links(*options)` starts the benchmark, which leaves no data and no network behind."""
    for program in ("ip", "tc"):
        require_program(program)
    probe = f"p2pd-{os.getpid()}-probe"
    try:
        ip("netns", "add", probe)
        ip("netns", "delete", probe)
    except subprocess.CalledProcessError as error:
        absent = f"network namespaces cannot be made: {error.stderr.strip()}"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(absent)
    before = ip("-brief", "link")
    started = []
    data = tmp_path / "data"
    data.mkdir()

    def start(*options):
        command = [sys.executable, SCRIPT, "--runs", "1", "--dir", data, *map(str, options)]
        started.append(
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        )
        return started[-1]

    yield start
    for process in started:
        process.terminate()
        process.communicate(timeout=30)
        assert namespaces(process) == []
    assert ip("-brief", "link") == before
    assert list(data.iterdir()) == []


def test_every_host_gets_its_copy_through_its_link(links, tmp_path):
    figures, trace = tmp_path / "figures.json", tmp_path / "trace.csv"
    size = 16 * MBIT
    scenarios = ("--contenders", "p2pd", "--scenarios", "plain", "liar", "late")
    options = ("--size", size, "--nodes", "4", "--json", figures, "--trace", trace)
    running = links(*scenarios, *options)
    printed, _ = running.communicate(timeout=110)

    assert running.returncode == 0, printed
    table = printed.partition("16 MB to 4 at once; medians of 1\n")[2]
    for scenario in ("plain", "liar", "late"):
        assert re.search(rf"^p2pd {scenario} +\d", table, re.MULTILINE), printed
    assert re.search(r"^p2pd liar / plain: wall \d", table, re.MULTILINE), printed
    document = json.loads(figures.read_text())
    runs = {run["contender"]: run for run in document["runs"]}
    plain = runs["p2pd plain"]
    assert sorted(plain["seconds"]) == ["leech-1", "leech-2", "leech-3", "leech-4"]
    assert 1 <= plain["seed_copies"] < 2
    # Nobody is faster than a link: the limit of tc lets a burst pass at first.
    ideal = size * 8 / (100 * MBIT)
    assert all(
        0.95 * ideal < seconds for run in runs.values() for seconds in run["seconds"].values()
    )
    assert runs["p2pd late"]["began"]["leech-4"] > 0.2
    with trace.open(newline="") as file:
        received = sum(
            int(line["received"])
            for line in csv.DictReader(file)
            if line["contender"] == "p2pd plain" and line["host"].startswith("leech-")
        )
    assert 4 * size <= received < 6 * size


def test_peers_deliver_on_the_same_network(links, require_program, tmp_path):
    require_program("aria2c")
    if not os.environ.get("CI"):
        pytest.importorskip("libtorrent")
    figures = tmp_path / "figures.json"
    contenders = ("--contenders", "libtorrent", "aria2", "one-stream")
    running = links(*contenders, "--size", 8 * MBIT, "--nodes", "2", "--json", figures)
    printed, _ = running.communicate(timeout=110)

    assert running.returncode == 0, printed
    runs = {run["contender"]: run for run in json.loads(figures.read_text())["runs"]}
    assert runs["aria2 plain"]["seed_copies"] is None
    assert runs["libtorrent plain"]["seed_copies"] >= 1
    assert all(run["wire_copies"] >= 0.99 for run in runs.values())
    assert runs["one-stream plain"]["share_p50"] < 1.05


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_nothing(links, number):
    running = links("--contenders", "p2pd", "--scenarios", "plain", "--nodes", "3")
    until(lambda: f"p2pd-{running.pid}-leech-2" in namespaces(running))
    running.send_signal(number)

    printed, _ = running.communicate(timeout=30)
    assert running.returncode == 128 + number, printed
    assert namespaces(running) == []
