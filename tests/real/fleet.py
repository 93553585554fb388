"""Fleets of real daemons, and the HTTP by which tests talk to them."""

import hashlib
import http.client
import json
import os
import random
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

MIB = 1024 * 1024
LOOPBACK = "tcp:{}:interface=127.0.0.1"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)


def ask(method, url, document=None, *, body=None, headers=None, timeout=120) -> Answer:
    """Send one request on a connection of its own; whatever the status, it is an answer."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout)
    if document is not None:
        body = json.dumps(document)
    path = parts._replace(scheme="", netloc="").geturl() or "/"
    try:
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())
    finally:
        connection.close()


def until(condition: Callable[[], object], within=30.0, what=""):
    """Wait until a condition holds, and return what it gave."""
    deadline = time.monotonic() + within
    while not (result := condition()):
        assert time.monotonic() < deadline, what or "it never happened"
        time.sleep(0.02)
    return result


def at_once(*calls):
    """Call all at the same time, each in a thread; their results in order."""
    with ThreadPoolExecutor(len(calls)) as pool:
        return [future.result() for future in [pool.submit(call) for call in calls]]


class Service:
    """A daemon of a fleet over all its lives: the same state directory, the same options."""

    kind = ""

    def __init__(self, twistd, directory: Path, options=(), headers=None, port=0):
        self.directory = directory
        self.headers = headers
        self.lives = []
        self._twistd = twistd
        self._options = ["--state-dir", directory, *options]
        self.start(port)

    def start(self, port=0):
        """Start it (again); whoever asks for its `url` waits until it listens."""
        listen = ["--listen", LOOPBACK.format(port)]
        self.lives.append(self._twistd(self.kind, *listen, *self._options, ready=False))

    @property
    def daemon(self):
        return self.lives[-1]

    @property
    def url(self):
        return self.daemon.wait_for(r"listening on (\S+)$")[1]

    @property
    def address(self):
        return urlsplit(self.url).netloc

    @property
    def port(self):
        return urlsplit(self.url).port

    @property
    def log(self):
        """What it has printed in all its lives."""
        return "".join(life.text for life in self.lives)

    def kill(self):
        """kill -9."""
        self.daemon.kill()

    def terminate(self):
        """SIGTERM; the exit status."""
        return self.daemon.stop()

    def call(self, method, path, document=None, **options) -> Answer:
        return ask(method, self.url + path, document, headers=self.headers, **options)

    def get(self, operation):
        """The JSON of an operation that answers well."""
        return self._good(self.call("GET", f"/api/v1/{operation}"))

    def post(self, operation, document):
        """As `get`, with a document to send."""
        return self._good(self.call("POST", f"/api/v1/{operation}", document))

    def _good(self, answer):
        assert answer.status == 200, f"{answer.status}: {answer.body!r}\n{self.log}"
        return answer.json


class Tracker(Service):
    kind = "p2p-tracker"

    def file(self, filename):
        """What the tracker says of a file, None if it does not know it."""
        files = self.get("files")["files"]
        return next((file for file in files if file["filename"] == filename), None)

    def nodes(self):
        """The addresses of the live nodes, by their ids."""
        return dict(self.get("info")["node_info"])


class Node(Service):
    kind = "p2p-node"

    @property
    def id(self):
        return (self.directory / "node-id").read_text().strip()

    @property
    def downloads(self):
        return self.directory / "downloads"

    def share(self, path, name=None):
        named = {"name": name} if name else {}
        return self.post("share", {"path": str(path), **named})["transfer"]

    def begin(self, filename, **fields):
        """Start a download and return at once."""
        return self.post("start_download", {"filename": filename, **fields})

    def fetch(self, filename, **fields):
        """Start a download and wait until it is complete."""
        return self.post("start_download?wait=1", {"filename": filename, **fields})

    def transfer(self, filename):
        """What the node says of a file; one that has just started takes a moment to load it."""
        return until(lambda: self._transfer(filename), what=f"there is no transfer of {filename}")

    def _transfer(self, filename):
        transfers = self.get("transfers")["transfers"]
        return next((one for one in transfers if one["filename"] == filename), None)

    def complete(self, filename):
        """Whether a download is complete; that it failed is an error."""
        transfer = self.transfer(filename)
        assert transfer["state"] != "failed", transfer["error"]
        return transfer["state"] == "complete"

    def sent(self):
        """The bytes sent to each node, by its id, over all torrents."""
        total = {}
        for transfer in self.get("transfers")["transfers"]:
            for node, count in transfer["sent_to"].items():
                total[node] = total.get(node, 0) + count
        return total


class Fleet:
    """One tracker and any number of nodes on loopback; `twistd` is the fixture."""

    def __init__(self, twistd, path: Path, token=None):
        self.path = path
        self.nodes: list[Node] = []
        self._twistd = twistd
        self._headers = None
        self._options = []
        if token is not None:
            file = path / "token"
            file.write_text(token)
            file.chmod(0o600)
            self._headers = {"Authorization": f"Bearer {token}"}
            self._options = ["--token-file", file]

    def start_tracker(self, *options, port=0) -> Tracker:
        given = [*self._options, *options]
        self.tracker = Tracker(self._twistd, self.path / "tracker", given, self._headers, port)
        return self.tracker

    def start_node(self, *options, tracker=None) -> Node:
        directory = self.path / f"node-{len(self.nodes)}"
        url = tracker or self.tracker.url
        given = ["--tracker", url, *self._options, *options]
        node = Node(self._twistd, directory, given, self._headers)
        self.nodes.append(node)
        return node

    def start_nodes(self, count, *options) -> list[Node]:
        return [self.start_node(*options) for _ in range(count)]

    def share(self, node, path, name=None):
        """Share on a node, and wait until the tracker names that node."""
        transfer = node.share(path, name)
        self.wait_for_seeds(transfer["filename"], 1)
        return transfer

    def wait_for_seeds(self, filename, count):
        """Wait as long as one announce interval may take, which is 30 s and a fifth."""
        until(lambda: (self.tracker.file(filename) or {"seeds": 0})["seeds"] >= count, within=45)


def names(directory: Path) -> list[str]:
    """What is in a directory, in order."""
    return sorted(entry.name for entry in directory.iterdir())


def make_file(path: Path, size: int, seed=0) -> Path:
    """Write a file of random bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(random.Random(seed).randbytes(size))
    return path


def digests(root: Path) -> dict[str, tuple[str, bool]]:
    """The digest of each file at or below a path, and whether it can be executed."""
    if root.is_file():
        return {"": _digest(root)}
    return {
        str(Path(directory, name).relative_to(root)): _digest(Path(directory, name))
        for directory, _, names in os.walk(root)
        for name in names
    }


def _digest(path):
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "blake2b").hexdigest()
    return digest, os.access(path, os.X_OK)


def copy_package(package, target: Path) -> Path:
    """Copy the source tree of an installed package, without what Python may write there."""
    source = Path(package.__file__).parent
    return Path(shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__")))
