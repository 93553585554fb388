"""Whatever step of publishing or moving a process is killed at, nothing is lost."""

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

_SCRIPT = Path(__file__).with_name("killed.py")


def steps(top, other, case):
    command = [sys.executable, _SCRIPT, top, other, case]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.parametrize("case", ["whole", "partial", "part"])
def test_a_move_that_was_killed_goes_on(tmp_path, case):
    assert steps(tmp_path, tmp_path, case) > 5


@pytest.mark.parametrize("case", ["whole", "partial", "part"])
def test_a_move_to_another_file_system_that_was_killed_goes_on(tmp_path, case):
    elsewhere = Path("/dev/shm")
    if not elsewhere.is_dir() or elsewhere.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("needs a second file system")
    with tempfile.TemporaryDirectory(dir=elsewhere) as other:
        assert steps(tmp_path, other, case) > 5


@pytest.mark.parametrize("case", ["more", "all"])
def test_publishing_that_was_killed_goes_on(tmp_path, case):
    assert steps(tmp_path, tmp_path, case) > 1
