"""How a daemon's process ends: with status 0 on SIGTERM, with status 1 when it cannot go on."""

import os
import signal
import sys
from pathlib import Path
from typing import Any, NoReturn

from twisted.application.service import Service
from twisted.logger import Logger

_log = Logger()


class Termination(Service):
    """Makes SIGTERM a clean stop with status 0.

    By itself twistd stops as cleanly, but then kills itself with the same signal, which
    containers and scripts report as a failure.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    def startService(self) -> None:
        """Take over the signal once the reactor has set up its own reaction."""
        super().startService()  # type: ignore[no-untyped-call]
        self._reactor.callWhenRunning(signal.signal, signal.SIGTERM, self._terminate)

    def _terminate(self, *_: object) -> None:
        self._reactor.callFromThread(stop, self._reactor)


def refuse(reason: str) -> NoReturn:
    """End a daemon that is starting, with one line on standard error and status 1.

    By then twistd's log has taken over sys.stderr. In the background it has taken all: raises
    RuntimeError, which twistd logs, and passes on to the process in the foreground.
    """
    if os.path.samestat(os.fstat(2), Path(os.devnull).stat()):
        raise RuntimeError(reason)
    os.write(2, f"{reason}\n".encode())
    raise SystemExit(1)


def stop(reactor: Any) -> None:
    """Stop the reactor, unless that has begun already."""
    if reactor.running:
        reactor.stop()


def fail(reactor: Any, reason: str) -> None:
    """Stop a running daemon for a reason that is logged, with exit status 1."""
    _log.critical("{reason}", reason=reason)
    reactor.addSystemEventTrigger("after", "shutdown", _exit_with_failure)
    stop(reactor)


def _exit_with_failure() -> None:
    # twistd knows no way to end with another status than 0 once the reactor has run.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)
