"""What every test gets: a look for leaks in the reactor and for errors that nobody saw, real
daemons to talk to, and skips that continuous integration does not take for successes.
"""

import gc
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet.task import deferLater
from twisted.logger import eventAsText, globalLogBeginner, globalLogPublisher

ROOT = Path(__file__).parents[1]
PATIENCE = 20.0  # seconds; only a failing test waits as long


# -- leaks and unseen errors


def pytest_configure():
    """Let the log keep nothing: each event would keep alive what it came from."""
    globalLogBeginner.beginLoggingTo([], discardBuffer=True, redirectStandardIO=False)


def pytest_collection_finish():
    """Keep what the collection has left out of the garbage collector's way."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="module")
def _keep_collections_short():
    """Keep what earlier modules have left out of it too: there is a collection after each test."""
    gc.collect()
    gc.freeze()


class LoggedErrors:
    """The failures logged during a test; what is left of them at its end makes it fail."""

    def __init__(self):
        self.events = []

    def __call__(self, event):
        if "log_failure" in event:
            self.events.append(event)

    def flush(self, *kinds):
        """Return and forget the failures with exceptions of these types, or all of them."""
        gc.collect()  # a Deferred reports its unhandled failure when it is collected
        found = [
            event for event in self.events if event["log_failure"].check(*kinds or [Exception])
        ]
        self.events = [event for event in self.events if event not in found]
        return [event["log_failure"] for event in found]


@pytest.fixture
def logged_errors(_no_unseen_errors):
    """For tests that make failures end in the log: `logged_errors.flush(ValueError)`."""
    return _no_unseen_errors


@pytest.fixture(autouse=True)
def _no_unseen_errors():
    errors = LoggedErrors()
    globalLogPublisher.addObserver(errors)
    yield errors
    gc.collect()
    globalLogPublisher.removeObserver(errors)
    if errors.events:
        texts = [eventAsText(event, includeTimestamp=False) for event in errors.events]
        pytest.fail("logged, and not flushed:\n" + "\n".join(texts), pytrace=False)


@pytest.fixture(autouse=True)
def _no_leaks(_no_unseen_errors):
    from twisted.internet import reactor  # noqa: PLC0415 - pytest-twisted installs it first

    def in_use():
        pool = set(reactor.getThreadPool().threads)
        return [
            *(call for call in reactor.getDelayedCalls() if call.active()),
            *set(reactor.getReaders()) - reactor._internalReaders,
            *reactor.getWriters(),
            *(thread for thread in threading.enumerate() if thread not in pool),
        ]

    before = in_use()

    def leaked():
        return [one for one in in_use() if one not in before]

    yield
    for _ in range(50):
        if not leaked():
            return
        # What is closing takes some turns of the reactor.
        pytest_twisted.blockon(deferLater(reactor, 0.01))
    pytest.fail("left in the reactor:\n" + "\n".join(map(str, leaked())), pytrace=False)


# -- programs that may be absent


@pytest.fixture(scope="session")
def require_program():
    """`require_program(name)` returns its path, or skips the test; in CI its absence fails."""

    def require(name):
        path = shutil.which(name)
        if path is None:
            absent = f"{name} is not installed"
            (pytest.fail if os.environ.get("CI") else pytest.skip)(absent)
        return path

    return require


# -- real daemons


class Daemon:
    """A process of `twistd`: its log (standard output), its errors, and where it listens."""

    def __init__(self, command, *, cwd, env, log, pass_fds=()):
        self.log = log
        with log.open("wb") as output, log.with_suffix(".err").open("wb") as errors:
            self.process = subprocess.Popen(
                command,
                cwd=cwd,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                pass_fds=pass_fds,
            )

    @property
    def text(self):
        """All that it has logged."""
        return self.log.read_text(errors="replace")

    @property
    def errors(self):
        """All that it has printed on standard error."""
        return self.log.with_suffix(".err").read_text(errors="replace")

    @property
    def urls(self):
        """Where it listens, in the order of its log."""
        return re.findall(r"listening on (\S+)$", self.text, re.MULTILINE)

    @property
    def url(self):
        return self.urls[0]

    def wait_for(self, pattern):
        """Wait for a line of the log that matches; return the match."""
        deadline = time.monotonic() + PATIENCE
        while not (found := re.search(pattern, self.text, re.MULTILINE)):
            assert self.process.poll() is None, f"the daemon ended:\n{self.text}{self.errors}"
            assert time.monotonic() < deadline, f"no {pattern!r} in:\n{self.text}"
            time.sleep(0.02)
        return found

    def wait(self):
        """Wait for its end; return its exit status."""
        return self.process.wait(PATIENCE)

    def stop(self, number=signal.SIGTERM):
        """Send it a signal; return its exit status."""
        self.process.send_signal(number)
        return self.wait()

    def kill(self):
        """End it at once, if it still runs."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


@pytest.fixture
def twistd(tmp_path):
    """`twistd("p2p-tracker", "--listen", ...)` starts a daemon as a user would, from the source.

    It waits until the daemon listens, unless `ready=False`; `env` adds to the environment, and
    `wrapper` is a command to run twistd with. Whatever runs at the test's end is killed; the
    logs are shown if it failed. Default directories are below `tmp_path`.
    """
    daemons = []

    def start(name, *options, ready=True, env=(), wrapper=(), pass_fds=()):
        log = tmp_path / f"{name}-{len(daemons)}.log"
        script = Path(sys.executable).with_name("twistd")
        environ = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("LISTEN_", "NOTIFY_", "STATE_DIRECTORY", "XDG_"))
        }
        environ |= {"PYTHONPATH": str(ROOT), "HOME": str(tmp_path), **dict(env)}
        command = [*wrapper, script, "-n", "--pidfile=", name, *map(str, options)]
        daemon = Daemon(command, cwd=tmp_path, env=environ, log=log, pass_fds=pass_fds)
        daemons.append(daemon)
        if ready:
            daemon.wait_for("listening on")
        return daemon

    yield start
    for daemon in daemons:
        daemon.kill()
        print(f"--- {daemon.log.name}\n{daemon.text}{daemon.errors}")  # noqa: T201 - shown with a failure


@pytest.fixture
def taken_port():
    """A port of 127.0.0.1 on which somebody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]
