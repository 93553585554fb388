"""The swarm benchmark runs, in small, and leaves nothing behind."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.real

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
PROGRAMS = {
    "nginx+curl": ("nginx", "curl", "openssl"),
    "p2pd-tls": ("openssl",),
    "aria2": ("aria2c",),
}


def swarm(*options, **more):
    return subprocess.run(
        [sys.executable, BENCHMARKS / "swarm.py", *options],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
        **more,
    )


@pytest.fixture
def benchmark(require_program, tmp_path):
    """`benchmark(names, *options)` lets these do it once; returns what it prints, and its runs."""

    def run(names, *options):
        for name in names:
            for program in PROGRAMS.get(name, ()):
                require_program(program)
        if {"libtorrent", "aria2"} & {*names} and not os.environ.get("CI"):
            pytest.importorskip("libtorrent")
        data, figures = tmp_path / "data", tmp_path / "figures.json"
        data.mkdir()
        places = ("--dir", data, "--json", figures)
        done = swarm("--contenders", *names, "--runs", "1", *options, *places)
        assert done.returncode == 0, done.stdout + done.stderr
        assert list(data.iterdir()) == []
        runs = json.loads(figures.read_text())["runs"]
        return done.stdout, {run["contender"]: run for run in runs}

    return run


def test_each_contender_is_measured_beside_p2pd(benchmark):
    printed, runs = benchmark(("p2pd", "nginx+curl", "limit"), "--size", "8MiB", "--leeches", "2")
    order = re.findall(r"^leeches 2, run 1, (\S+): \d", printed, re.MULTILINE)
    assert order == ["nginx+curl", "p2pd", "limit"]
    table = printed.partition("8 MiB to 2 at once; medians of 1\n")[2]
    for row in (
        r"^p2pd +\d",
        r"^nginx\+curl +\d",
        r"^limit +\d",
        r"^p2pd / nginx\+curl: wall \d",
        r"^p2pd / limit: wall \d",
    ):
        assert re.search(row, table, re.MULTILINE), printed
    assert runs["nginx+curl"]["seed_copies"] == 2
    assert runs["p2pd"]["seed_copies"] >= 1


def test_bittorrent_clients_deliver(benchmark):
    _, runs = benchmark(("libtorrent", "aria2"), "--size", "8MiB", "--leeches", "2")
    assert runs["libtorrent"]["seed_copies"] >= 1
    assert runs["aria2"]["seed_copies"] is None
    assert all(run["cpu_per_gib"] > 0 and run["peak_memory"] > 0 for run in runs.values())


def test_a_directory_of_files(benchmark):
    names = ("p2pd", "libtorrent")
    printed, runs = benchmark(names, "--size", "2MiB", "--files", "120", "--leeches", "1")
    assert "2 MiB in 120 files to 1 at once" in printed
    assert {*runs} == {*names}


def test_a_file_with_holes_goes_through_tls_whole(benchmark):
    _, runs = benchmark(("p2pd-tls",), "--size", "8MiB", "--sparse", "--leeches", "1")
    assert runs["p2pd-tls"]["seed_copies"] >= 1


def test_what_cannot_be_done_is_said(tmp_path):
    done = swarm("--contenders", "limit", "--files", "2")
    assert done.returncode == 2
    assert "limit: only for one file" in done.stderr
    done = swarm("--contenders", "aria2", "--dir", tmp_path, env={"PATH": str(tmp_path)})
    assert done.returncode == 1
    assert "aria2c is not installed" in done.stderr
    done = swarm("--contenders", "limit", "--dir", tmp_path, "--size", "1000T")
    assert done.returncode == 1
    assert "GiB free" in done.stderr


def test_a_copy_that_differs_is_noticed(tmp_path):
    spec = importlib.util.spec_from_file_location("sample", BENCHMARKS / "sample.py")
    sample = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sample)
    one, other = tmp_path / "one", tmp_path / "other"
    for tree in (one, other):
        sample.write_tree(tree, 1000, 7)
    assert sample.same(one, other)
    changed = next(path for path in other.rglob("*") if path.is_file())
    content = changed.read_bytes()
    changed.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert not sample.same(one, other)
    changed.write_bytes(content)
    (other / "more").touch()
    assert not sample.same(one, other)
