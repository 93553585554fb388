"""The tools that look after the source find nothing: ruff, mypy, and the commands' own order."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    "command",
    [("ruff", "check"), ("ruff", "format", "--check"), ("mypy",)],
    ids=" ".join,
)
def test_finds_nothing(command):
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_ci_calls_the_test_command_of_the_readme():
    commands = [
        line.strip()
        for line in (ROOT / "README.rst").read_text().splitlines()
        if line.startswith("    ") and "&&" in line
    ]
    assert commands[0].endswith("p2pd demo")
    assert commands[1].endswith("pytest")
    assert (ROOT / ".ci/run").read_text().rstrip().endswith(commands[1])
