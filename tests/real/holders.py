"""Holders of pieces that misbehave: they speak a node's protocol, up to a point."""

import contextlib
import random
import re
import socket
import socketserver
import threading
from collections import Counter

from p2pd.metainfo.bitfield import Bitfield
from p2pd.metainfo.torrent import Torrent

_STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n"
_BODY = b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n"


class Holder(socketserver.ThreadingTCPServer):
    """A node that is complete, as it tells the tracker; `asked` counts requests for pieces.

    `have` and `piece` are what it does when it is asked for either: they get the holder and the
    connection, and `piece` how many are wanted; they return whether the connection goes on.
    """

    def __init__(self, tracker, torrent: Torrent, *, piece, have=None):
        super().__init__(("127.0.0.1", 0), _Connection)
        self.torrent = torrent
        self.address = f"127.0.0.1:{self.server_address[1]}"
        self.have = have or tells_all
        self.piece = piece
        self.asked = Counter()
        self.stopping = threading.Event()
        self.connections = set()
        self._serving = threading.Thread(target=self.serve_forever, args=(0.05,))
        self._serving.start()
        node_id = f"holder-{self.server_address[1]}"
        tracker.post("heart_beat", {"node_id": node_id, "addr": self.address})
        infohash = torrent.infohash.hex()
        tracker.post("report", {"node_id": node_id, "infohash": infohash, "complete": True})

    def __exit__(self, *_):
        self.stopping.set()
        self.shutdown()
        self._serving.join()
        for connection in tuple(self.connections):
            with contextlib.suppress(OSError):  # it may have been closed just now
                connection.shutdown(socket.SHUT_RDWR)
        self.server_close()


class _Connection(socketserver.StreamRequestHandler):
    server: Holder

    def handle(self):
        self.server.connections.add(self.connection)
        with contextlib.suppress(OSError):  # the node may hang up
            while self._answer():
                pass
        self.server.connections.discard(self.connection)

    def _answer(self):
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = self.rfile.readline()
            if not line:
                return False
            head += line
        path = head.split()[1]
        if path.partition(b"?")[0].endswith(b"/have"):
            return self.server.have(self.server, self.connection)
        asking = re.search(rb"(?im)^p2pd-node: (\S+)", head)
        self.server.asked[asking[1].decode()] += 1
        pieces = path.rpartition(b"/")[2].count(b",") + 1
        return self.server.piece(self.server, self.connection, pieces)


def tells_all(holder, connection):
    """Say that every piece is here, and keep the stream open."""
    bits = Bitfield.full(holder.torrent.piece_count).to_bytes().hex()
    connection.sendall(_STREAM + b"bitfield %s\n" % bits.encode())
    return stalls(holder, connection)


def lies(holder, connection, pieces):
    """Send a body of the right length and of wrong bytes."""
    length = holder.torrent.piece_length * pieces
    connection.sendall(_BODY % length + random.Random(1).randbytes(length))
    return True


def stalls(holder, _connection, _pieces=1):
    """Send nothing (more) while the test runs."""
    holder.stopping.wait()
    return False


def sends_garbage(_holder, connection, _pieces=1):
    """Send random bytes that are no HTTP, and close."""
    connection.sendall(random.Random(2).randbytes(5000))
    return False


def breaks_off(holder, connection, pieces):
    """Send half a body, and close."""
    length = holder.torrent.piece_length * pieces
    connection.sendall(_BODY % length + bytes(length // 2))
    return False
