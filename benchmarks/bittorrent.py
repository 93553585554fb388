"""BitTorrent clients that p2pd is compared with, and the tracker where they meet."""

import importlib
import signal
import sys
import threading
from contextlib import ExitStack
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Address
from pathlib import Path
from typing import Self
from urllib.parse import parse_qs, urlsplit

from measure import Meter, peak_memory
from network import LOOPBACK, Host
from peers import program
from processes import Failed, Process, free_port, running
from result import Result

from p2pd.metainfo.bencode import encode

_PIECE = 4 * 1024 * 1024
_TIMEOUT = 600.0
_ANNOUNCE_TIMEOUT = 30.0
_INTERVAL = 60  # seconds between two announces of a client: all meet at its first
LIBTORRENT = (sys.executable, str(Path(__file__).with_name("libtorrent_node.py")))
ARIA2 = (
    "--no-conf",
    "--no-proxy=127.0.0.0/8",
    "--disable-ipv6",
    "--enable-dht=false",
    "--bt-enable-lpd=false",
    "--enable-peer-exchange=false",
    "--bt-max-peers=0",
    "--bt-request-peer-speed-limit=1000M",
    "--bt-seed-unverified",
    "--seed-ratio=0.0",
    "--file-allocation=none",
    "--disk-cache=64M",
    "--show-console-readout=false",
    "--console-log-level=warn",
    "--on-bt-download-complete=/bin/echo",  # it prints the download's number and its path
)
ARIA2_DONE = r"^[0-9a-f]{16} \d+ "


def libtorrent(source: Path, leeches: int, directory: Path) -> Result:
    """Seed on one client of libtorrent, and tell the others to begin, all at once."""
    torrent = metainfo(source)
    with ExitStack() as stack:
        tracker = stack.enter_context(Tracker())

        def start(number: int, place: Path, *role: str) -> Process:
            arguments = (str(torrent), str(place), _address(number), tracker.url, *role)
            return _start(stack, _place(directory, number), *LIBTORRENT, *arguments)

        seed = start(0, source.parent, "--seed")
        others = [start(number, _place(directory, number)) for number in range(1, leeches + 1)]
        nodes = [seed, *others]
        for node in nodes:
            node.wait_for("^ready$")
        tracker.wait_for_a_peer()
        meter = Meter(node.pid for node in nodes)
        for leech in others:
            leech.send_signal(signal.SIGUSR1)
        for leech in others:
            leech.wait_for("^done$", _TIMEOUT)
        usage = meter.read()
        memory = max(peak_memory(node.pid) for node in nodes)
        for node in nodes:
            node.send_signal(signal.SIGUSR1)
        sent = [int(node.wait_for(r"^sent (\d+)$", _TIMEOUT)[1]) for node in nodes]
    return Result(usage, memory, sent[0], _copies(source, leeches, directory))


def aria2(source: Path, leeches: int, directory: Path) -> Result:
    """Seed with one aria2c, and start the others, all at once."""
    torrent = metainfo(source)
    with ExitStack() as stack:
        tracker = stack.enter_context(Tracker())

        def start(number: int, place: Path) -> Process:
            address = _address(number)
            return _start(
                stack,
                _place(directory, number),
                *(program("aria2c"), *ARIA2, f"--dir={place}", f"--bt-tracker={tracker.url}"),
                *(f"--interface={address}", f"--listen-port={free_port(address)}"),
                str(torrent),
            )

        seed = start(0, source.parent)
        tracker.wait_for_a_peer()
        meter = Meter([seed.pid])
        others = [start(number, _place(directory, number)) for number in range(1, leeches + 1)]
        meter.add(leech.pid for leech in others)
        for leech in others:
            leech.wait_for(ARIA2_DONE, _TIMEOUT)
        usage = meter.read()
        memory = max(peak_memory(node.pid) for node in (seed, *others))
    return Result(usage, memory, None, _copies(source, leeches, directory))


def _address(number: int) -> str:
    """Give each client an address of its own: some keep one connection to each."""
    return str(IPv4Address("127.0.0.2") + number)


def _place(directory: Path, number: int) -> Path:
    return directory / f"client-{number}"


def _copies(source: Path, leeches: int, directory: Path) -> list[Path]:
    return [_place(directory, number) / source.name for number in range(1, leeches + 1)]


def _start(stack: ExitStack, directory: Path, *command: str) -> Process:
    directory.mkdir()
    return stack.enter_context(running(command, directory / "output.log"))


def metainfo(source: Path, piece: int = _PIECE) -> Path:
    """Return the file's metainfo, which is made once and kept beside it."""
    path = source.with_name(f"{source.name}.torrent")
    if not path.exists():
        lt = importlib.import_module("libtorrent")
        storage = lt.file_storage()
        lt.add_files(storage, str(source))
        creator = lt.create_torrent(storage, piece, lt.create_torrent.v1_only)
        lt.set_piece_hashes(creator, str(source.parent))
        path.write_bytes(lt.bencode(creator.generate()))
    return path


class Tracker:
    """A tracker for one torrent, in a thread: it names to each client those that came before."""

    def __init__(self, host: Host = LOOPBACK) -> None:
        with host.inside():
            self._server = _Server((host.address, 0), _Announce)
        self.url = f"http://{host.address}:{self._server.server_port}/announce"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def __enter__(self) -> Self:
        """Serve."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def wait_for_a_peer(self) -> None:
        """Wait for the first announce; raises Failed if none comes."""
        if not self._server.announced.wait(_ANNOUNCE_TIMEOUT):
            raise Failed("the seed did not announce itself to the benchmark's tracker")


class _Server(ThreadingHTTPServer):
    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)
        self.peers: dict[bytes, None] = {}
        self.announced = threading.Event()
        self.lock = threading.Lock()


class _Announce(BaseHTTPRequestHandler):
    """One announce (BEP 3), answered with compact peers (BEP 23)."""

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        if parts.path != "/announce":
            self.send_error(HTTPStatus.NOT_FOUND)  # a scrape: nobody needs one
            return
        port = int(parse_qs(parts.query, encoding="latin-1")["port"][0])
        own = IPv4Address(self.client_address[0]).packed + port.to_bytes(2)
        with self.server.lock:
            others = b"".join(peer for peer in self.server.peers if peer != own)
            self.server.peers[own] = None
        self.server.announced.set()
        body = encode({b"interval": _INTERVAL, b"peers": others})
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Print nothing."""
