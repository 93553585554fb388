"""A tracker that answers as its URL ends, and libtorrent: what it keeps of it is the measure."""

import os
import socket
import struct
from http import HTTPStatus

import libtorrent as lt
import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.protocol import DatagramProtocol
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from p2pd.frontends.jsonrpc_trackers import UNSET
from p2pd.metainfo import bencode
from p2pd.protocol import udp

TOLERANCE = 5.0
"""Seconds between what two clients do in the same situation."""

BODIES = {
    "ok": {
        "interval": 900, "min interval": 60, "complete": 3, "incomplete": 2, "downloaded": 7,
        "tracker id": "abc", "peers": b"",
    },
    "plain": {"peers": b""},
    "short": {"interval": 1, "min interval": 2, "peers": b""},
    "failure": {"failure reason": "not registered"},
    "failure-soon": {"failure reason": "not yet", "interval": 10},
    "failure-later": {"failure reason": "not today", "interval": 7200},
    "warning": {"interval": 900, "warning message": "moving soon", "peers": b""},
}  # fmt: skip


class _Web(Resource):
    """Answers as its path ends: with a body of those above, a status, or not at all."""

    isLeaf = True

    def render_GET(self, request):
        name = request.path.decode().removeprefix("/announce/")
        if name == "silent":
            return NOT_DONE_YET
        if name in BODIES:
            return bencode.encode(BODIES[name])
        request.setResponseCode(int(name))
        return b"no reply"


class _Udp(DatagramProtocol):
    def datagramReceived(self, datagram, addr):
        _, action, transaction = udp.read_header(datagram)
        if action == udp.CONNECT:
            self.transport.write(udp.connected(transaction, b"connect!"), addr)
        else:
            self.transport.write(
                struct.pack(">4s4sIII", udp.ANNOUNCE, transaction, 900, 2, 3), addr
            )


class ScriptedTracker:
    """Listens on the reactor of the tests, by HTTP and by UDP."""

    def __init__(self):
        self._web = reactor.listenTCP(0, Site(_Web()), interface="127.0.0.1")
        self._udp = reactor.listenUDP(0, _Udp(), interface="127.0.0.1")
        with socket.create_server(("127.0.0.1", 0)) as server:
            self._nobody = f"http://127.0.0.1:{server.getsockname()[1]}/announce"

    def url(self, name):
        """Where it does what the name says; `nobody` is where nobody listens."""
        if name == "nobody":
            return self._nobody
        if name == "udp":
            return f"udp://127.0.0.1:{self._udp.getHost().port}/announce"
        # libtorrent wants paths on the loopback to begin so.
        return f"http://127.0.0.1:{self._web.getHost().port}/announce/{name}"

    def tiers(self, *tiers):
        """The URLs of tiers of names, as metainfo has them."""
        return tuple(tuple(map(self.url, names)) for names in tiers)

    def close(self):
        for port in (self._web, self._udp):
            pytest_twisted.blockon(port.stopListening())


class Libtorrent:
    """A session of libtorrent that announces, and what it keeps of its trackers."""

    def __init__(self, directory):
        self.directory = directory
        self.session = lt.session(
            {
                "listen_interfaces": "127.0.0.1:0",
                "enable_dht": False,
                "enable_lsd": False,
                "enable_upnp": False,
                "enable_natpmp": False,
                "stop_tracker_timeout": 0,
            }
        )

    @property
    def port(self):
        return self.session.listen_port()

    def add(self, metainfo, *, paused=False):
        """Begin with a torrent; its handle."""
        given = lt.load_torrent_buffer(metainfo)
        given.save_path = str(self.directory)
        given.flags &= ~lt.torrent_flags.auto_managed
        if not paused:
            given.flags &= ~lt.torrent_flags.paused
        return self.session.add_torrent(given)

    def close(self):
        self.session.pause()


def trackers_of(handle):
    """The `announce_entry`s of a torrent, as JSON-RPC is to write them; times are about so."""
    names = ("url", "tier", "source", "verified", "fail_limit", "trackerid")
    return [
        {name: tracker[name] for name in names}
        | {"endpoints": [_endpoint(endpoint) for endpoint in tracker["endpoints"]]}
        for tracker in handle.trackers()
    ]


def _endpoint(kept):
    return {
        "enabled": True,  # the wheel does not tell; it is so unless a proxy forbids
        "local_endpoint": [*kept["local_address"]],
        "info_hashes": [_announces(announces) for announces in kept["info_hashes"]],
    }


def _announces(kept):
    times = {name: kept[name] for name in ("next_announce", "min_announce")}
    return {
        **kept,
        "last_error": _words(kept["last_error"]),
        **{
            name: pytest.approx(time, abs=TOLERANCE) if time > 0 else UNSET
            for name, time in times.items()
        },
    }


def _words(error):
    return {
        "system": lambda number: os.strerror(number) if number else None,
        "libtorrent": {173: "tracker sent a failure message", 36: "timed out"}.get,
        "http": lambda number: f"{number} {HTTPStatus(number).phrase}",
    }[error["category"]](error["value"])
