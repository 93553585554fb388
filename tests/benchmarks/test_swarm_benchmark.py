"""The swarm benchmark runs, in small, and leaves nothing behind."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.real

SCRIPT = Path(__file__).parents[2] / "benchmarks/swarm.py"


def test_both_contenders_deliver(require_program, tmp_path):
    for program in ("nginx", "curl", "openssl"):
        require_program(program)
    data, figures = tmp_path / "data", tmp_path / "figures.json"
    data.mkdir()
    options = ["--size", "8MiB", "--leeches", "2", "--runs", "1", "--dir", data, "--json", figures]
    done = subprocess.run(
        [sys.executable, SCRIPT, *options],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    table = done.stdout.partition("8 MiB to 2 at once; medians of 1\n")[2]
    for row in (r"^p2pd +\d", r"^nginx\+curl +\d", r"^p2pd / nginx\+curl: wall \d"):
        assert re.search(row, table, re.MULTILINE), done.stdout
    runs = {run["contender"]: run for run in json.loads(figures.read_text())["runs"]}
    assert runs["nginx+curl"]["seed_copies"] == 2
    assert runs["p2pd"]["seed_copies"] >= 1
    assert list(data.iterdir()) == []
