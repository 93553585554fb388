"""The trackers that are compared: p2pd's, with either twin of its doors, and opentracker."""

import http.client
import json
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from urllib.parse import quote
from urllib.request import urlopen

from announces import Target
from fleet import Daemon
from network import Host
from peers import accepts, program
from processes import Failed, Process, free_port, running

_BATCH = 10_000  # infohashes in one request
_TIMEOUT = 60.0
_START_TIMEOUT = 60.0
_IPV6 = Host("loopback", r"\:\:1")  # as it is written in an endpoint
_OPENTRACKER = """\
listen.tcp_udp 127.0.0.1:{port}
access.whitelist whitelist
tracker.rootdir {directory}
tracker.user nobody
"""


@contextmanager
def opentracker(directory: Path, torrents: Sequence[bytes]) -> Iterator[Target]:
    """Run opentracker, which serves these torrents only, as Debian has built it."""
    port = free_port()
    directory.mkdir()
    directory.chmod(0o755)  # started by root it becomes nobody
    config = directory / "opentracker.conf"
    config.write_text(_OPENTRACKER.format(port=port, directory=directory), "utf-8")
    probe = secrets.token_bytes(20)
    listed = "".join(f"{one.hex()}\n" for one in (*torrents, probe))
    (directory / "whitelist").write_text(listed, "ascii")
    command = [program("opentracker"), "-f", str(config)]
    with running(command, directory / "output.log") as process:
        _wait(process, lambda: accepts(port) and _is_listed(port, probe))
        with _quoting(process):
            yield Target(process.pid, port, port)


def _is_listed(port: int, infohash: bytes) -> bool:
    """Announce a peer; opentracker reads its whitelist when it has long begun to listen."""
    asked = f"info_hash={quote(infohash)}&peer_id={quote(bytes(20))}&port=1&left=0"
    url = f"http://127.0.0.1:{port}/announce?{asked}"
    with urlopen(url, timeout=_TIMEOUT) as response:
        return b"failure reason" not in response.read()


def _wait(process: Process, is_ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _START_TIMEOUT
    while not is_ready():
        if time.monotonic() > deadline:
            raise Failed(f"it is not ready after {_START_TIMEOUT:g} s:\n{process.printed}")
        time.sleep(0.02)


@contextmanager
def p2pd(
    directory: Path,
    torrents: Sequence[bytes] | None,
    *,
    compiled: bool,
    ipv6: bool = False,
) -> Iterator[Target]:
    """Run p2pd's tracker as a user does, which serves these torrents only, or all."""
    udp = free_port()
    token = secrets.token_hex(32)
    token_file = directory.with_suffix(".token")
    token_file.touch(0o600)
    token_file.write_text(token, "ascii")
    with ExitStack() as stack:
        daemon = Daemon(
            stack,
            "p2p-tracker",
            directory,
            *("--udp", f"[::1]:{udp}" if ipv6 else f"127.0.0.1:{udp}"),
            *("--compiled", "yes" if compiled else "no"),
            *("--access", "open" if torrents is None else "whitelist"),
            *("--admin-token-file", str(token_file)),
            **({"host": _IPV6} if ipv6 else {}),
        )
        tcp = int(daemon.address.rpartition(":")[2])
        listed = torrents or [secrets.token_bytes(20)]  # in any case it is to be loaded
        for first in range(0, len(listed), _BATCH):
            batch = listed[first : first + _BATCH]
            _wait(daemon.process, partial(_allow, daemon, token, batch))
        with _quoting(daemon.process):
            yield Target(daemon.process.pid, tcp, udp, ipv6)


@contextmanager
def _quoting(process: Process) -> Iterator[None]:
    """Add what a tracker has printed to what is said of a failure."""
    try:
        yield
    except Failed as error:
        raise Failed(f"{error}\n{process.printed}") from error


def _allow(daemon: Daemon, token: str, torrents: Sequence[bytes]) -> bool:
    """Put torrents on the whitelist; returns whether the tracker has loaded its tables."""
    with closing(http.client.HTTPConnection(daemon.address, timeout=_TIMEOUT)) as connection:
        body = json.dumps([one.hex() for one in torrents])
        headers = {"Authorization": f"Bearer {token}"}
        connection.request("POST", "/api/whitelists", body, headers)
        response = connection.getresponse()
        text = response.read()
    if response.status not in {http.HTTPStatus.OK, http.HTTPStatus.SERVICE_UNAVAILABLE}:
        raise Failed(f"the whitelist was answered {text!r}:\n{daemon.process.printed}")
    return response.status == http.HTTPStatus.OK
