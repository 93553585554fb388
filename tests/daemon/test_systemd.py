"""What systemd is told."""

import socket

import pytest
from twisted.internet import reactor

from p2pd.daemon.systemd import Notifier, notify


@pytest.fixture(params=["path", "abstract"])
def systemd(request, tmp_path):
    """A receiving socket, and the environment that names it."""
    name = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.settimeout(5)
        receiver.bind(name if request.param == "path" else f"\0{name}")
        yield receiver, {"NOTIFY_SOCKET": name if request.param == "path" else f"@{name}"}


def test_ready_and_stopping(systemd):
    receiver, environ = systemd
    notifier = Notifier(lambda: "listening on http://127.0.0.1:1", environ, reactor)
    notifier.startService()
    assert receiver.recv(999) == b"READY=1\nSTATUS=listening on http://127.0.0.1:1"
    notifier.stopService()
    assert receiver.recv(999) == b"STOPPING=1"


def test_without_systemd_nothing_happens():
    notify("READY=1", {})
    notify("READY=1", {"NOTIFY_SOCKET": ""})


def test_a_socket_that_is_gone_does_no_harm(tmp_path, caught_log):
    notify("READY=1", {"NOTIFY_SOCKET": str(tmp_path / "absent")})
    assert "systemd was not told READY=1" in caught_log()
