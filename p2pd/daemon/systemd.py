"""Tells systemd, or whoever set $NOTIFY_SOCKET, that the daemon is ready or stopping."""

import socket
from collections.abc import Callable, Mapping
from typing import Any

from twisted.application.service import Service
from twisted.logger import Logger

_log = Logger()


def notify(message: str, environ: Mapping[str, str]) -> None:
    """Send one message of sd_notify(3), like `READY=1`; do nothing without $NOTIFY_SOCKET.

    An address that starts with @ is in Linux's abstract name space. A failure is logged, for
    the daemon is none the worse.
    """
    address = environ.get("NOTIFY_SOCKET")
    if not address:
        return
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            sender.connect(f"\0{address[1:]}" if address.startswith("@") else address)
            sender.send(message.encode())
    except OSError as error:
        _log.warn("systemd was not told {message}: {error}", message=message, error=error)


class Notifier(Service):
    """Says READY when the reactor runs and STOPPING when it stops: the last child of its parent.

    Children start in order and stop in reverse, so by then the daemon listens.
    """

    def __init__(
        self, status: Callable[[], str], environ: Mapping[str, str], reactor: Any
    ) -> None:
        self._status = status
        self._environ = environ
        self._reactor = reactor

    def startService(self) -> None:
        """Say that the daemon is ready, and what `status` tells of it."""
        super().startService()  # type: ignore[no-untyped-call]
        self._reactor.callWhenRunning(self._ready)

    def _ready(self) -> None:
        notify(f"READY=1\nSTATUS={self._status()}", self._environ)

    def stopService(self) -> None:
        """Say that the daemon is stopping."""
        super().stopService()  # type: ignore[no-untyped-call]
        notify("STOPPING=1", self._environ)
