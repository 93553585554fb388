"""p2pd: a tracker, a node that shares a file, and nodes that fetch it."""

import http.client
import json
import sys
import time
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import Any

from measure import Meter, peak_memory
from processes import Failed, running
from result import Result

_SOURCE = Path(__file__).resolve().parents[1]
_TIMEOUT = 600.0
_PUBLISH_TIMEOUT = 30.0


class Daemon:
    """A daemon run by twistd, as a user does, on a port of loopback that is free."""

    def __init__(self, stack: ExitStack, kind: str, directory: Path, *options: str) -> None:
        directory.mkdir()
        twistd = str(Path(sys.executable).with_name("twistd"))
        listen = ("--listen", "tcp:0:interface=127.0.0.1", "--state-dir", str(directory))
        command = [twistd, "-n", "--pidfile=", kind, *listen, *options]
        log = directory / "output.log"
        self.directory = directory
        self.process = stack.enter_context(running(command, log, path=_SOURCE))

    @cached_property
    def address(self) -> str:
        """Where it listens, as soon as it does."""
        return self.process.wait_for(r"listening on http://(\S+)$")[1]

    def ask(self, operation: str, document: Any = None) -> http.client.HTTPConnection:
        """Send a request, and do not wait for the answer."""
        connection = http.client.HTTPConnection(self.address, timeout=_TIMEOUT)
        body = None if document is None else json.dumps(document)
        connection.request("GET" if body is None else "POST", f"/api/v1/{operation}", body)
        return connection

    def answer(self, connection: http.client.HTTPConnection) -> Any:
        """Wait for the answer; raises Failed if it is not a good one."""
        try:
            response = connection.getresponse()
            text = response.read()
        finally:
            connection.close()
        if response.status != http.HTTPStatus.OK:
            raise Failed(f"{self.address} answered {text!r}:\n{self.process.printed}")
        return json.loads(text)

    def call(self, operation: str, document: Any = None) -> Any:
        """Ask, and wait for the answer."""
        return self.answer(self.ask(operation, document))


def p2pd(file: Path, leeches: int, directory: Path) -> Result:
    """Share the file on one node, fetch it on all others at once, until the last one has it.

    A node has a file when all pieces are verified and it stands under its final name.
    """
    with ExitStack() as stack:
        tracker = Daemon(stack, "p2p-tracker", directory / "tracker")
        nodes = [
            Daemon(
                stack,
                "p2p-node",
                directory / f"node-{number}",
                *("--tracker", f"http://{tracker.address}"),
            )
            for number in range(leeches + 1)
        ]
        seed, *others = nodes
        infohash = seed.call("share", {"path": str(file)})["transfer"]["infohash"]
        _wait_until_known(tracker, infohash, nodes)
        meter = Meter([tracker.process.pid, *(node.process.pid for node in nodes)])
        wish = {"infohash": infohash}
        asked = [node.ask("start_download?wait=1", wish) for node in others]
        states = [node.answer(one)["state"] for node, one in zip(others, asked, strict=True)]
        usage = meter.read()
        if {*states} != {"complete"}:
            raise Failed(f"the downloads ended {states}")
        return Result(
            usage=usage,
            peak_memory=max(peak_memory(node.process.pid) for node in nodes),
            seed_sent=seed.call(f"transfers/{infohash}")["transfer"]["uploaded"],
            copies=[
                Path(node.call(f"transfers/{infohash}")["transfer"]["path"]) for node in others
            ],
        )


def _wait_until_known(tracker: Daemon, infohash: str, nodes: list[Daemon]) -> None:
    """Wait until the tracker has heard of the file and of all nodes."""
    deadline = time.monotonic() + _PUBLISH_TIMEOUT
    addresses = {node.address for node in nodes}
    while time.monotonic() < deadline:
        known = {address for _, address in tracker.call("info")["node_info"]}
        files = {file["infohash"] for file in tracker.call("files")["files"]}
        if addresses <= known and infohash in files:
            return
        time.sleep(0.1)
    raise Failed(f"the tracker did not hear of all:\n{tracker.process.printed}")
