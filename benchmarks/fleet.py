"""p2pd: a tracker, a node that shares something, and nodes that fetch it."""

import http.client
import json
import ssl
import subprocess
import sys
import time
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import Any

from measure import Meter, peak_memory
from network import LOOPBACK, Host
from peers import program
from processes import Failed, running
from result import Result

_SOURCE = Path(__file__).resolve().parents[1]
_TIMEOUT = 600.0
_PUBLISH_TIMEOUT = 30.0


class Authority:
    """A certificate authority made for one run, and the certificate of all nodes."""

    def __init__(self, directory: Path) -> None:
        self.certificate = directory / "authority.pem"
        self._directory = directory
        self._make("authority", "basicConstraints=critical,CA:TRUE")
        signer = ("-CA", "authority.pem", "-CAkey", "authority.key")
        self._make("node", "subjectAltName=IP:127.0.0.1", *signer)

    @property
    def endpoint(self) -> str:
        """The endpoint where a node listens with that certificate."""
        files = f"privateKey={self._directory}/node.key:certKey={self._directory}/node.pem"
        return f"ssl:0:{files}:interface=127.0.0.1"

    @cached_property
    def context(self) -> ssl.SSLContext:
        """How to talk to such a node."""
        return ssl.create_default_context(cafile=str(self.certificate))

    def _make(self, name: str, extension: str, *options: str) -> None:
        done = subprocess.run(
            [
                *(program("openssl"), "req", "-x509", "-config", "/dev/null", "-noenc"),
                *("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-days", "2"),
                *("-subj", f"/CN={name}", "-addext", extension, *options),
                *("-keyout", f"{name}.key", "-out", f"{name}.pem"),
            ],
            cwd=self._directory,
            capture_output=True,
            text=True,
            timeout=_PUBLISH_TIMEOUT,
            check=False,
        )
        if done.returncode:
            raise Failed(f"openssl made no certificate:\n{done.stderr}")


class Daemon:
    """A daemon run by twistd, as a user does, on a port of its host that is free."""

    def __init__(
        self,
        stack: ExitStack,
        kind: str,
        directory: Path,
        *options: str,
        authority: Authority | None = None,
        host: Host = LOOPBACK,
    ) -> None:
        directory.mkdir()
        twistd = str(Path(sys.executable).with_name("twistd"))
        endpoint = authority.endpoint if authority else f"tcp:0:interface={host.address}"
        listen = ("--listen", endpoint, "--state-dir", str(directory))
        open_to_all = ("--insecure",) if host.namespace else ()  # nobody else is in there
        command = [*host.prefix, twistd, "-n", "--pidfile=", kind, *listen, *open_to_all, *options]
        log = directory / "output.log"
        self.directory = directory
        self._host = host
        self.process = stack.enter_context(running(command, log, path=_SOURCE))
        self._authority = authority

    @cached_property
    def address(self) -> str:
        """Where it listens, as soon as it does."""
        return self.process.wait_for(r"listening on https?://(\S+)$")[1]

    def ask(self, operation: str, document: Any = None) -> http.client.HTTPConnection:
        """Send a request, and do not wait for the answer."""
        connection = self._connection()
        with self._host.inside():
            connection.connect()
        body = None if document is None else json.dumps(document)
        connection.request("GET" if body is None else "POST", f"/api/v1/{operation}", body)
        return connection

    def _connection(self) -> http.client.HTTPConnection:
        if self._authority is None:
            return http.client.HTTPConnection(self.address, timeout=_TIMEOUT)
        context = self._authority.context
        return http.client.HTTPSConnection(self.address, timeout=_TIMEOUT, context=context)

    def answer(self, connection: http.client.HTTPConnection) -> Any:
        """Wait for the answer; raises Failed if it is not a good one."""
        try:
            response = connection.getresponse()
            text = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise Failed(f"{self.address}: {error}:\n{self.process.printed}") from error
        finally:
            connection.close()
        if response.status != http.HTTPStatus.OK:
            raise Failed(f"{self.address} answered {text!r}:\n{self.process.printed}")
        return json.loads(text)

    def call(self, operation: str, document: Any = None) -> Any:
        """Ask, and wait for the answer."""
        return self.answer(self.ask(operation, document))


def p2pd(source: Path, leeches: int, directory: Path) -> Result:
    """Share a file or a directory on one node, fetch it on all others at once.

    A node has it when all pieces are verified and it stands under its final name.
    """
    return _fleet(source, leeches, directory, None)


def p2pd_tls(source: Path, leeches: int, directory: Path) -> Result:
    """Do the same with TLS between the nodes."""
    return _fleet(source, leeches, directory, Authority(directory))


def _fleet(source: Path, leeches: int, directory: Path, authority: Authority | None) -> Result:
    security = ("--peer-ca", str(authority.certificate)) if authority else ()
    with ExitStack() as stack:
        tracker = Daemon(stack, "p2p-tracker", directory / "tracker")
        nodes = [
            Daemon(
                stack,
                "p2p-node",
                directory / f"node-{number}",
                *("--tracker", f"http://{tracker.address}", *security),
                authority=authority,
            )
            for number in range(leeches + 1)
        ]
        seed, *others = nodes
        infohash = seed.call("share", {"path": str(source)})["transfer"]["infohash"]
        wait_until_known(tracker, infohash, {node.address for node in nodes})
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


def wait_until_known(tracker: Daemon, infohash: str, addresses: set[str]) -> None:
    """Wait until the tracker has heard of the file and of the nodes at these addresses."""
    deadline = time.monotonic() + _PUBLISH_TIMEOUT
    while time.monotonic() < deadline:
        known = {address for _, address in tracker.call("info")["node_info"]}
        files = {file["infohash"] for file in tracker.call("files")["files"]}
        if addresses <= known and infohash in files:
            return
        time.sleep(0.1)
    raise Failed(f"the tracker did not hear of all:\n{tracker.process.printed}")
