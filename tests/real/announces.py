"""Announces and scrapes as bare requests and datagrams, and trackers to send them to."""

import contextlib
import hashlib
import itertools
import re
import socket
import struct
from dataclasses import dataclass
from urllib.parse import quote, urlencode, urlsplit

from p2pd.metainfo import bencode
from tests.real.fleet import Tracker, ask, until

TOKEN = "for-the-admin-api-in-tests"
EVENTS = {"": 0, "completed": 1, "started": 2, "stopped": 3}
CONNECT, ANNOUNCE, SCRAPE, ERROR = range(4)
PROTOCOL = 0x41727101980  # what BEP 15 begins a conversation with

Peer = tuple[str, int]


class Refused(Exception):  # noqa: N818 - a tracker's answer is no error of ours
    """What a tracker says it refuses for."""


@dataclass(frozen=True)
class Heard:
    """A tracker's answer to an announce."""

    complete: int
    incomplete: int
    interval: int
    peers: frozenset[Peer]


@dataclass(frozen=True)
class Announce:
    """What a client says; `source` is the address that it says it from."""

    infohash: bytes
    port: int
    left: int = 0
    event: str = ""
    uploaded: int = 0
    downloaded: int = 0
    wanted: int = 200
    source: str = "127.0.0.1"
    peer_id: bytes = b""

    @property
    def id(self):
        """The peer id; by default one that goes with the address."""
        return self.peer_id or b"-XX0001-" + f"{self.source}:{self.port}".encode()[-12:].zfill(12)


@dataclass(frozen=True)
class User:
    """Somebody with a passkey."""

    name: str
    passkey: str

    @property
    def hash(self):
        return hashlib.sha1(self.name.encode()).hexdigest()


def can_use_ipv6():
    """Whether this machine has an IPv6 loopback."""
    with contextlib.suppress(OSError), socket.create_server(("::1", 0), family=socket.AF_INET6):
        return True
    return False


def unpacked(peers, size=6):
    """The addresses of a compact list of peers."""
    family = socket.AF_INET if size == 6 else socket.AF_INET6
    assert len(peers) % size == 0, peers
    return frozenset(
        (
            socket.inet_ntop(family, peers[at : at + size - 2]),
            int.from_bytes(peers[at + size - 2 : at + size]),
        )
        for at in range(0, len(peers), size)
    )


class HttpDoor:
    """A tracker's HTTP side, by an announce URL; each request is a connection, as is usual."""

    def __init__(self, url):
        self._parts = urlsplit(url)

    def announce(self, said: Announce) -> Heard:
        fields = {
            "info_hash": said.infohash,
            "peer_id": said.id,
            "port": said.port,
            "uploaded": said.uploaded,
            "downloaded": said.downloaded,
            "left": said.left,
            "compact": 1,
            "numwant": said.wanted,
        }
        if said.event:
            fields["event"] = said.event
        answer = self._ask(self._parts.path, fields, said.source)
        peers = unpacked(answer.get(b"peers", b"")) | unpacked(answer.get(b"peers6", b""), 18)
        counts = (answer.get(key, 0) for key in (b"complete", b"incomplete", b"interval"))
        return Heard(*counts, peers)

    def scrape(self, infohash: bytes):
        """The numbers of seeds, of downloads, and of leeches."""
        path = self._parts.path.replace("announce", "scrape")
        answer = self._ask(path, {"info_hash": infohash}, None)
        counts = answer[b"files"].get(infohash, {})
        return tuple(counts.get(key, 0) for key in (b"complete", b"downloaded", b"incomplete"))

    def _ask(self, path, fields, source):
        where = (self._parts.hostname, self._parts.port)
        from_there = (source, 0) if source else None
        with socket.create_connection(where, 10, from_there) as connection:
            query = urlencode(fields, quote_via=quote)
            request = f"GET {path}?{query} HTTP/1.0\r\nHost: tracker\r\n\r\n"
            connection.sendall(request.encode())
            reply = b"".join(iter(lambda: connection.recv(65536), b""))
        if not reply:
            raise ConnectionError("the tracker hung up")
        answer = bencode.decode(reply.partition(b"\r\n\r\n")[2])
        if b"failure reason" in answer:
            raise Refused(answer[b"failure reason"].decode())
        return answer


class UdpDoor:
    """A tracker's UDP side; a context manager, for it keeps a socket for each source.

    `where` is the tracker's address, `connected` the socket and the connection id of each source.
    """

    def __init__(self, url):
        parts = urlsplit(url)
        self._family = socket.AF_INET6 if ":" in parts.hostname else socket.AF_INET
        self.where = (parts.hostname, parts.port)
        self._path = parts.path
        self.connected = {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for sock, _ in self.connected.values():
            sock.close()
        self.connected.clear()

    def announce(self, said: Announce) -> Heard:
        fields = struct.pack(
            "!20s20sQQQIIIiH",
            said.infohash,
            said.id,
            said.downloaded,
            said.left,
            said.uploaded,
            EVENTS[said.event],
            0,
            0,
            said.wanted,
            said.port,
        )
        path = self._path.encode()
        data = bytes([2, len(path)]) + path if path else b""  # BEP 41
        answer = self._talk(said.source, ANNOUNCE, fields + data)
        interval, incomplete, complete = struct.unpack_from("!III", answer)
        size = 6 if self._family == socket.AF_INET else 18
        return Heard(complete, incomplete, interval, unpacked(answer[12:], size))

    def scrape(self, infohash: bytes):
        """The numbers of seeds, of downloads, and of leeches."""
        source = "127.0.0.1" if self._family == socket.AF_INET else "::1"
        return struct.unpack("!III", self._talk(source, SCRAPE, infohash))

    def _talk(self, source, action, fields):
        if source not in self.connected:
            sock = socket.socket(self._family, socket.SOCK_DGRAM)
            sock.settimeout(10)
            sock.bind((source, 0))
            sock.connect(self.where)
            greeting = struct.pack("!QII", PROTOCOL, CONNECT, 1)
            self.connected[source] = sock, self._exchange(sock, CONNECT, greeting)
        sock, connection_id = self.connected[source]
        return self._exchange(sock, action, connection_id + struct.pack("!II", action, 1) + fields)

    @staticmethod
    def _exchange(sock, action, datagram):
        sock.send(datagram)
        answer = sock.recv(65536)
        answered, transaction = struct.unpack_from("!II", answer)
        assert transaction == 1
        if answered == ERROR:
            raise Refused(answer[8:].decode())
        assert answered == action
        return answer[8:]


def _free_udp_port(host):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.bind((host, 0))
        return sock.getsockname()[1]


class PublicTracker(Tracker):
    """Our tracker as BitTorrent clients and operators see it.

    It has a UDP address of its own, for libtorrent takes all trackers at one for the same.
    """

    _hosts = itertools.count(10)

    def __init__(self, twistd, directory, *options, port=0):
        directory.mkdir(parents=True, exist_ok=True)
        token = directory / "admin-token"
        if not token.exists():
            token.write_text(TOKEN)
            token.chmod(0o600)
        host = f"127.0.1.{next(self._hosts)}"
        doors = ["--udp", f"{host}:{_free_udp_port(host)}"]
        if can_use_ipv6():
            doors += ["--udp", f"[::1]:{_free_udp_port('::1')}"]
            doors += ["--listen", r"tcp:0:interface=\:\:1"]
        super().__init__(twistd, directory, [*doors, "--admin-token-file", token, *options], port)

    @property
    def doors(self):
        """Its announce URLs, by door: http-4, udp-4, and where there is IPv6, http-6 and udp-6."""
        expected = 4 if can_use_ipv6() else 2
        urls = until(lambda: _enough(self._urls(), expected), what=self.log)
        return {
            f"{url.partition(':')[0]}-{6 if '[' in url else 4}": f"{url.rstrip('/')}/announce"
            for url in urls
        }

    def _urls(self):
        self.daemon.wait_for("listening on")
        return self.daemon.urls + re.findall(
            r"answering announces at (\S+)$", self.daemon.text, re.MULTILINE
        )

    def start(self, port=0):
        """Start it (again), and wait until it has loaded what it keeps."""
        super().start(port)
        door = HttpDoor(self.doors["http-4"])
        until(lambda: self._is_open(door), what=self.log)

    @staticmethod
    def _is_open(door):
        try:
            door.scrape(bytes(20))
        except Refused as refusal:
            return "starting" not in str(refusal)
        return True

    def swarm(self, shared):
        """What the admin API tells of a torrent, nothing if it is unknown."""
        found = self.admin("POST", "torrents/query", [shared.infohash.hex()])["torrents"]
        return found.get(shared.infohash.hex())

    def user(self, user):
        """What the admin API tells of a user."""
        return self.admin("GET", f"user/{user.hash}")

    def admin(self, method, operation, document=None):
        """Call the admin API; the answer, which must be a good one."""
        url = f"{self.url.rstrip('/')}/api/{operation}?token={TOKEN}"
        answer = ask(method, url, document)
        assert answer.status == 200, f"{answer.status}: {answer.body!r}\n{self.log}"
        return answer.json


def _enough(found, count):
    return found if len(found) == count else None
