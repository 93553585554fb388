"""Runs twistd daemons as child processes: started, listened to, stopped for certain."""

import os
import re
import sys
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

import p2pd
from p2pd.cli.outcome import CommandFailed, Exit

_LISTENING = re.compile(rb"listening on (http://\S+)")
_LONGEST_LINE = 65536
_LOG_TAIL = 20
_START_TIMEOUT = 60.0
_GRACE = 10.0


class Daemon(ProcessProtocol):
    """One `twistd` process, run in `directory` and its output kept in short.

    `listening` fires with the URL where it listens, or fails with CommandFailed.
    """

    def __init__(self, name: str, arguments: Sequence[str], directory: Path) -> None:
        self.name = name
        self.listening: Deferred[str] = Deferred()
        self._ended: Deferred[None] = Deferred()
        self._arguments = arguments
        self._directory = directory
        self._log: deque[str] = deque(maxlen=_LOG_TAIL)
        self._partial = {1: b"", 2: b""}
        self._clock: Any = None

    def start(self, reactor: Any) -> None:
        """Spawn the process, with this Python and this p2pd."""
        self._clock = reactor
        command = [
            sys.executable,
            "-P",  # its directory is for data: nothing is to be imported from there
            "-c",
            "from twisted.scripts.twistd import run; run()",
            "-n",
            "--pidfile=",
            *self._arguments,
        ]
        reactor.spawnProcess(self, command[0], command, env=_environment(), path=self._directory)
        self.listening.addTimeout(_START_TIMEOUT, reactor, self._late)

    async def stop(self) -> None:
        """Ask it to end; after a grace period, kill it. Returns when it is gone."""
        self.listening.addErrback(lambda _: "")  # whoever cared has heard of it
        self._signal("TERM")
        timer = self._clock.callLater(_GRACE, self._signal, "KILL")
        await self._ended
        if timer.active():
            timer.cancel()

    def failure(self, reason: str) -> CommandFailed:
        """Return the error that tells what went wrong here, with the end of its log."""
        return CommandFailed(Exit.FAILED, f"{self.name}: {reason}; the end of its log:", self._log)

    def _signal(self, name: str) -> None:
        assert self.transport is not None
        with suppress(ProcessExitedAlready):
            self.transport.signalProcess(name)

    def _late(self, _result: object, timeout: float) -> Failure:
        return Failure(self.failure(f"it did not listen within {timeout:g} s"))

    def childDataReceived(self, descriptor: int, data: bytes) -> None:
        """Keep the last lines of its log, and look for where it listens."""
        *lines, partial = (self._partial[descriptor] + data).split(b"\n")
        self._partial[descriptor] = partial[-_LONGEST_LINE:]
        for line in lines:
            self._log.append(line.decode("utf-8", "replace").rstrip())
            found = _LISTENING.search(line)
            if found and not self.listening.called:
                self.listening.callback(found[1].decode("ascii", "replace"))

    def processEnded(self, _reason: Failure) -> None:
        """Note that it is gone."""
        if not self.listening.called:
            self.listening.errback(self.failure("it ended before it listened"))
        self._ended.callback(None)


def _environment() -> dict[str, str]:
    """Return the environment in which twistd finds this p2pd, installed or not."""
    environment = dict(os.environ)
    home = Path(p2pd.__file__).resolve().parents[1]
    if (home / "setup.cfg").exists():
        path = environment.get("PYTHONPATH")
        environment["PYTHONPATH"] = f"{home}{os.pathsep}{path}" if path else str(home)
    return environment
