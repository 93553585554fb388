"""BitTorrent clients as their users start them, on loopback, with nothing to go by but a tracker.

Each has `add` (it seeds what lies complete in the directory, and fetches into it what does not),
`failure` (what it shows its user of a tracker's refusal) and `stop`.  Torrents are private, so no
client looks for peers elsewhere (BEP 27).
"""

import contextlib
import hashlib
import http.client
import json
import os
import random
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import uuid
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlencode

from p2pd.metainfo import bencode
from tests.real.fleet import until

NPM = Path(__file__).parent / "npm"
_PIECE = 32 * 1024


@dataclass(frozen=True)
class Shared:
    """One file as a torrent of one tracker; `content` is what each client must end up with."""

    name: str
    content: bytes
    tracker: str = ""

    @classmethod
    def random(cls, name, size=3 * _PIECE + 1234):
        return cls(name, random.Random(name).randbytes(size))

    def announced_to(self, tracker):
        """The same torrent with a tracker's URL in it."""
        return replace(self, tracker=tracker)

    @property
    def _info(self):
        pieces = [self.content[at : at + _PIECE] for at in range(0, len(self.content), _PIECE)]
        return {
            "name": self.name,
            "length": len(self.content),
            "piece length": _PIECE,
            "pieces": b"".join(hashlib.sha1(piece).digest() for piece in pieces),
            "private": 1,
        }

    @property
    def infohash(self):
        return hashlib.sha1(bencode.encode(self._info)).digest()

    @property
    def metainfo(self):
        return bencode.encode({"announce": self.tracker, "info": self._info})

    def put(self, directory):
        """Write the file where a seed looks for it; return the directory."""
        directory.mkdir(parents=True, exist_ok=True)
        (directory / self.name).write_bytes(self.content)
        return directory

    def is_in(self, directory):
        """Whether a client has all of it."""
        file = directory / self.name
        return file.is_file() and file.read_bytes() == self.content


def free_port(host="127.0.0.1"):
    """A port that nobody listens on; another process may take it before the caller does."""
    with socket.create_server((host, 0)) as server:
        return server.getsockname()[1]


class Program:
    """A client that is a process; its output goes to a file in a directory of its own."""

    doors = frozenset({"http-4", "http-6", "udp-4", "udp-6"})
    """Where it can announce so that it hears of others."""
    sends_path_by_udp = False
    """Whether what stands in the URL's path reaches the tracker (BEP 41)."""
    says_by_udp = ""
    """What it says of every refusal by UDP, if it keeps the tracker's text to itself."""
    must_be_called = False
    """Whether it calls nobody who is on loopback."""

    def __init__(self, directory):
        self.directory = directory
        self.directory.mkdir(parents=True)
        self.port = free_port()
        self.processes = []

    def run(self, *command, **options):
        """Start a process of the client; `stop` ends it."""
        output = self.directory / f"output-{len(self.processes)}"
        with output.open("wb") as file:
            process = subprocess.Popen(
                [str(part) for part in command],
                cwd=self.directory,
                env=os.environ | {"HOME": str(self.directory)},
                stdout=file,
                stderr=subprocess.STDOUT,
                **{"stdin": subprocess.DEVNULL} | options,
            )
        self.processes.append(process)
        return output

    def stop(self):
        for process in self.processes:
            process.kill()
            process.wait()
            if process.stdin:
                process.stdin.close()


class Libtorrent(Program):
    """A session of libtorrent."""

    sends_path_by_udp = True
    says_by_udp = "tracker sent a failure message"

    def __init__(self, directory):
        super().__init__(directory)
        script = Path(__file__).with_name("libtorrent_session.py")
        self._output = self.run(sys.executable, script, self.port, stdin=subprocess.PIPE)

    def add(self, shared, directory):
        line = json.dumps([shared.metainfo.hex(), str(directory)])
        self.processes[0].stdin.write(f"{line}\n".encode())
        self.processes[0].stdin.flush()

    def failure(self, shared):
        # It tries from both its addresses, of which one cannot reach the tracker.
        failures = json_lines(self._output)
        return ", ".join(text for name, text in failures if name == shared.infohash.hex())


class Aria2(Program):
    """One process of aria2c for each torrent, as it is mostly used."""

    doors = frozenset({"http-4", "http-6", "udp-4"})

    def __init__(self, directory):
        super().__init__(directory)
        self._logs = {}

    def add(self, shared, directory):
        directory.mkdir(parents=True, exist_ok=True)
        number = len(self.processes)
        torrent = self.directory / f"{number}.torrent"
        torrent.write_bytes(shared.metainfo)
        self._logs[shared.infohash] = self.directory / f"log-{number}"
        self.run(
            "aria2c",
            "--no-conf",
            f"--dir={directory}",
            f"--log={self._logs[shared.infohash]}",
            "--log-level=info",
            "--check-integrity",
            "--seed-ratio=0",
            "--file-allocation=none",
            f"--listen-port={free_port()}",
            # Its UDP trackers are a part of its DHT, which private torrents keep out of.
            f"--enable-dht={str(shared.tracker.startswith('udp')).lower()}",
            f"--dht-listen-port={free_port()}",
            f"--dht-file-path={self.directory / f'dht-{number}'}",
            "--bt-enable-lpd=false",
            "--enable-peer-exchange=false",
            torrent,
        )

    def failure(self, shared):
        log = self._logs[shared.infohash]
        text = log.read_text(errors="replace") if log.exists() else ""
        return ", ".join(re.findall(r"(?:failure reason: |, error_string=)(.+)", text))


class Transmission(Program):
    """transmission-daemon, driven by its RPC.

    It listens everywhere: bound to an address, it would call trackers from there only.
    By UDP it calls trackers with IPv6 only from a public address.
    """

    doors = frozenset({"http-4", "http-6", "udp-4"})
    must_be_called = True

    def __init__(self, directory):
        super().__init__(directory)
        self._rpc = free_port()
        self._session = ""
        settings = {
            "dht-enabled": False,
            "download-queue-enabled": False,
            "lpd-enabled": False,
            "pex-enabled": False,
            "peer-port": self.port,
            "port-forwarding-enabled": False,
            "rpc-bind-address": "127.0.0.1",
            "rpc-port": self._rpc,
        }
        (directory / "settings.json").write_text(json.dumps(settings))
        self.run("transmission-daemon", "--foreground", "--config-dir", directory, "--log-debug")
        until(lambda: _answers(self._rpc))

    def add(self, shared, directory):
        torrent = self.directory / f"{uuid.uuid4()}.torrent"
        torrent.write_bytes(shared.metainfo)
        self._call("torrent-add", filename=str(torrent), **{"download-dir": str(directory)})

    def failure(self, shared):
        fields = self._call("torrent-get", ids=[shared.infohash.hex()], fields=["trackerStats"])
        (stats,) = fields["torrents"][0]["trackerStats"]
        return "" if stats["lastAnnounceSucceeded"] else stats["lastAnnounceResult"]

    def _call(self, method, **arguments):
        body = json.dumps({"method": method, "arguments": arguments})
        status, headers, answer = _ask(
            self._rpc,
            "/transmission/rpc",
            body,
            {"X-Transmission-Session-Id": self._session},
        )
        if status == 409:
            self._session = headers["X-Transmission-Session-Id"]
            return self._call(method, **arguments)
        document = json.loads(answer)
        assert document["result"] == "success", document
        return document["arguments"]


class Qbittorrent(Program):
    """qbittorrent-nox, driven by its Web API."""

    sends_path_by_udp = True
    says_by_udp = "tracker sent a failure message"

    _SETTINGS = """
[LegalNotice]
Accepted=true
[BitTorrent]
Session\\DHTEnabled=false
Session\\LSDEnabled=false
Session\\PeXEnabled=false
Session\\Interface=lo
Session\\InterfaceName=lo
Session\\MultiConnectionsPerIp=true
Session\\Port={port}
Session\\QueueingSystemEnabled=false
[Network]
PortForwardingEnabled=false
[Preferences]
WebUI\\Address=127.0.0.1
WebUI\\Port={web}
WebUI\\LocalHostAuth=false
WebUI\\CSRFProtection=false
"""

    def __init__(self, directory):
        super().__init__(directory)
        self._web = free_port()
        settings = directory / "qBittorrent/config/qBittorrent.conf"
        settings.parent.mkdir(parents=True)
        settings.write_text(self._SETTINGS.format(port=self.port, web=self._web))
        self.run("qbittorrent-nox", f"--profile={directory}")
        until(lambda: _answers(self._web))

    def add(self, shared, directory):
        fields = {"savepath": str(directory).encode(), "torrents": shared.metainfo}
        mark = uuid.uuid4().hex
        parts = [
            f'--{mark}\r\nContent-Disposition: form-data; name="{name}"'.encode()
            + (b'; filename="x.torrent"' if name == "torrents" else b"")
            + b"\r\n\r\n%s\r\n" % value
            for name, value in fields.items()
        ]
        self._call(
            "torrents/add",
            b"".join(parts) + f"--{mark}--\r\n".encode(),
            {"Content-Type": f"multipart/form-data; boundary={mark}"},
        )

    def failure(self, shared):
        query = urlencode({"hash": shared.infohash.hex()})
        trackers = json.loads(self._call(f"torrents/trackers?{query}"))
        return next((one["msg"] for one in trackers if one["url"] == shared.tracker), "")

    def _call(self, operation, body=None, headers=()):
        status, _, answer = _ask(self._web, f"/api/v2/{operation}", body, headers)
        assert status == 200, (operation, status, answer)
        return answer


class Npm(Program):
    """bittorrent-tracker's client: it announces like a client, and keeps no files."""

    doors = frozenset({"http-4", "http-6", "udp-4"})

    def __init__(self, directory):
        super().__init__(directory)
        self._outputs = {}

    def add(self, shared, directory):
        command = ["node", NPM / "announce.mjs", shared.tracker, shared.infohash.hex()]
        left = 0 if shared.is_in(directory) else len(shared.content)
        self._outputs[shared.infohash] = self.run(*command, self.port, left, stdin=subprocess.PIPE)

    def heard(self, shared, what):
        """All that it has said of one kind: peer, update, scrape, warning, error."""
        said = json_lines(self._outputs[shared.infohash])
        return [value for kind, value in said if kind == what]

    def failure(self, shared):
        return next(reversed(self.heard(shared, "warning")), "")


def json_lines(output):
    """What a program has said in whole lines of JSON; there may be others between them."""
    lines = output.read_text().splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.startswith("[") and line.endswith("\n")]


def _answers(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def _ask(port, path, body=None, headers=()):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET" if body is None else "POST", path, body, dict(headers))
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()


def install_npm_packages():
    """Fetch what package-lock.json names, unless all of that is there."""
    fetched, wanted = NPM / "node_modules" / ".package-lock.json", NPM / "package-lock.json"
    if fetched.exists() and fetched.stat().st_mtime >= wanted.stat().st_mtime:
        return
    with tempfile.TemporaryDirectory() as cache:
        options = ["--ignore-scripts", "--omit=optional", "--no-audit", "--no-fund"]
        subprocess.run(
            [shutil.which("npm"), "ci", *options, f"--cache={cache}"],
            cwd=NPM,
            check=True,
            timeout=100,
            capture_output=True,
        )
