"""opentracker as a process; as Debian builds it, it knows only the swarms on a list."""

import contextlib
import subprocess

from tests.real.announces import HttpDoor
from tests.real.clients import free_port
from tests.real.fleet import until


@contextlib.contextmanager
def running_opentracker(program, directory, infohashes):
    """Its announce URL, as long as it runs."""
    port = free_port()
    directory.mkdir()
    (directory / "whitelist").write_text("".join(f"{each.hex().upper()}\n" for each in infohashes))
    settings = directory / "settings"
    settings.write_text(
        f"listen.tcp_udp 127.0.0.1:{port}\n"
        "access.whitelist whitelist\n"
        f"tracker.rootdir {directory}\n"
        "tracker.user nobody\n"
    )
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen([program, "-f", settings], stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}/announce"
    try:
        until(lambda: _answers(url, infohashes[0]), what="opentracker does not answer")
        yield url
    finally:
        process.kill()
        process.wait()


def _answers(url, infohash):
    try:
        HttpDoor(url).scrape(infohash)
    except OSError:
        return False
    return True
