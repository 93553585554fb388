"""Starts the programs that are measured, and sees to it that nothing of them is left."""

import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

_START_TIMEOUT = 60.0


class Failed(Exception):  # noqa: N818 - what a program has done
    """A program did not do its part; the text tells which, and what it said."""


class Process:
    """A running program, and the file that takes what it prints."""

    def __init__(self, popen: subprocess.Popen[bytes], log: Path) -> None:
        self.pid = popen.pid
        self._popen = popen
        self._log = log

    def wait_for(self, pattern: str, timeout: float = _START_TIMEOUT) -> re.Match[str]:
        """Wait until it has printed something that matches; raises Failed if it never does."""
        deadline = time.monotonic() + timeout
        while not (found := self.look_for(pattern)):
            if time.monotonic() > deadline:
                raise self._lacks(pattern)
            time.sleep(0.02)
        return found

    def look_for(self, pattern: str) -> re.Match[str] | None:
        """Search what it has printed so far; raises Failed if it will never print a match."""
        ended = self._popen.poll() is not None
        found = re.search(pattern, self.printed, re.MULTILINE)
        if ended and found is None:
            raise self._lacks(pattern)
        return found

    def _lacks(self, pattern: str) -> Failed:
        return Failed(f"no {pattern!r} from {self._popen.args!r}:\n{self.printed}")

    def send_signal(self, number: int) -> None:
        """Send it a signal."""
        self._popen.send_signal(number)

    def finish(self, timeout: float) -> str:
        """Wait for its end; returns what it printed, raises Failed if it did not end well."""
        try:
            status = self._popen.wait(timeout)
        except subprocess.TimeoutExpired as error:
            raise Failed(f"{self._popen.args!r} took more than {timeout:g} s") from error
        if status:
            raise Failed(f"{self._popen.args!r} ended with {status}:\n{self.printed}")
        return self.printed

    @property
    def printed(self) -> str:
        """All that it has printed so far."""
        return self._log.read_text("utf-8", "replace")


@contextmanager
def running(command: Sequence[str], log: Path, *, path: Path | None = None) -> Iterator[Process]:
    """Run a program beside its log file; in the end it is killed, with all that it started.

    `path` is where Python looks for modules first. Nothing that is measured outlives its run, so
    nothing needs to end tidily.
    """
    environment = os.environ | ({"PYTHONPATH": str(path)} if path else {})
    with ExitStack() as ends, log.open("xb") as output:
        with uninterrupted():
            popen = subprocess.Popen(
                command,
                cwd=log.parent,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            ends.callback(_end, popen)
        yield Process(popen, log)


def free_port(address: str = "127.0.0.1") -> int:
    """Return a port on which nobody listens."""
    with socket.create_server((address, 0)) as free:
        return free.getsockname()[1]


def _end(popen: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):  # it has ended, and left nobody
        os.killpg(popen.pid, signal.SIGKILL)
    popen.wait()


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Put off SIGINT and SIGTERM: what is started is to be noted, so that it will be ended."""
    came: list[int] = []
    usual = {
        number: signal.signal(number, lambda number, _: came.append(number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, action in usual.items():
            signal.signal(number, action)
        for signaled in came:
            signal.raise_signal(signaled)
