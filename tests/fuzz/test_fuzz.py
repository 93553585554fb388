"""Each target finds nothing while it runs for a moment: see CONTRIBUTING.rst on longer runs."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.real
@pytest.mark.parametrize(
    ("target", "runs"), [("announce_heads", 1200), ("datagrams", 1200), ("admin_requests", 2000)]
)
def test_finds_nothing(target, runs, tmp_path):
    if find_spec("atheris") is None:
        absent = "atheris is not installed: pip install -e '.[test]'"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(absent)
    # With a seed, and with the same hashes, a run that passed once passes again.
    options = [f"-runs={runs}", "-seed=1", f"-artifact_prefix={tmp_path}/"]
    done = subprocess.run(
        [sys.executable, "-m", f"tests.fuzz.{target}", *options],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-8000:]
    assert f"Done {runs} runs" in done.stderr
