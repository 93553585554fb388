"""twistd finds both daemons, and p2pd starts, from a wheel, an sdist and an editable install."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def run(*command, cwd, **options):
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        **options,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A copy of the source, for building writes into it."""
    copy = tmp_path_factory.mktemp("source") / "p2pd"
    ignored = shutil.ignore_patterns(
        ".git", ".venv", "build", "dist", "*.egg-info", "*cache*", "node_modules"
    )
    shutil.copytree(ROOT, copy, ignore=ignored)
    return copy


@pytest.fixture
def fresh(tmp_path):
    """A virtual environment that sees this one's libraries, but not its p2pd."""
    home = tmp_path / "venv"
    venv.create(home, with_pip=False)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    site = home / "lib" / version / "site-packages"
    # A directory named in a .pth file is no site directory: editable installs in it do not count.
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return home


def build(source, kind, out):
    made = run(
        sys.executable,
        "-c",
        f"from setuptools import build_meta; print(build_meta.build_{kind}({str(out)!r}))",
        cwd=source,
    )
    return [str(out / made.splitlines()[-1])]


@pytest.mark.parametrize("kind", ["wheel", "sdist", "editable"])
def test_an_install_runs(kind, source, fresh, tmp_path):
    what = ["-e", source] if kind == "editable" else build(source, kind, tmp_path)
    python = fresh / "bin/python"
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps"]
    run(*pip, "--no-build-isolation", *what, cwd=tmp_path)
    environ = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    there = {"cwd": tmp_path, "env": environ}
    assert "0.1.0" in run(fresh / "bin/p2pd", "version", **there)
    twistd = [python, "-c", "from twisted.scripts.twistd import run; run()"]
    listed = run(*twistd, "--help", **there)
    assert "p2p-tracker" in listed
    assert "p2p-node" in listed
    for daemon in ("p2p-tracker", "p2p-node"):
        told = run(*twistd, daemon, "--help", **there)
        assert "--state-dir" in told
