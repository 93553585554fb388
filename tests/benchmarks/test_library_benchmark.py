"""The library benchmark runs, in small, and leaves nothing behind."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.real

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def library(tmp_path):
    """`library(*options)` runs the benchmark in small; returns its output and figures."""

    def run(*options):
        data, figures = tmp_path / "data", tmp_path / "figures.json"
        data.mkdir()
        small = ("--downloads", "20", "--calls", "2", "--seconds", "1", "--settle", "0.1")
        places = ("--dir", data, "--json", figures)
        done = subprocess.run(
            [sys.executable, BENCHMARKS / "library.py", *small, *places, *options],
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert list(data.iterdir()) == []
        return done.stdout, json.loads(figures.read_text())

    return run


def test_all_lists_of_p2pd_are_measured(library):
    printed, figures = library("--contenders", "p2pd")
    assert "20 downloads: 10 seeds, 4 paused, 2 magnets, 4 fetched" in printed
    lists = {one["list"]: one for one in figures["lists"]}
    assert {*lists} == {
        "all facts",
        "all facts, files, pieces, peers",
        "excerpts",
        "whole tasks",
        "a page of 50",
        "one page of all",
        "transfers",
    }
    for one in lists.values():
        assert 0 < one["p50"] <= one["p95"]
    assert lists["all facts, files, pieces, peers"]["size"] > lists["all facts"]["size"]
    assert lists["excerpts"]["size"] < lists["whole tasks"]["size"]
    assert figures["costs"]["p2pd"]["memory"] > 0
    assert re.search(r"^p2pd +[\d.]+% +[\d.]+% +[\d.]+", printed, re.MULTILINE), printed


def test_transmission_has_the_same_library(library, require_program):
    require_program("transmission-daemon")
    printed, figures = library()
    assert {one["contender"] for one in figures["lists"]} == {"p2pd", "transmission"}
    row = r"^all facts" + 2 * r" +[\d.]+ +[\d.]+ +[\d.]+ +\d+"
    assert re.search(row, printed, re.MULTILINE), printed
    assert {*figures["costs"]} == {"p2pd", "transmission"}
