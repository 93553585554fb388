"""The door for announces and scrapes by HTTP: sockets of its own, for what a tracker does most.

Twisted's transports, and a request object for each announce, cost several times what the announce
itself does. So this door accepts and reads by itself; all its sockets are in one epoll set, which
is one reader to the reactor. What is no announce and no scrape is handed over to the web site.
"""

import ctypes
import errno
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from select import EPOLLIN, epoll

from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from p2pd.frontends.announces import Announces
from p2pd.frontends.sources import Sources, packed
from p2pd.protocol import announce as codec
from p2pd.tracker.announcing import Announcing, Tally

# How much is done at most before other readers of the reactor have their turn.
_EVENTS = 64
_ROUNDS = 8
_ACCEPTS = 64
_READ = 8192
# Seconds that the kernel waits for a request before it tells of a connection.
_DEFER = 5
# A congestion control that paces what is sent costs much, and short answers gain nothing by it.
_PACING = b"bbr"
_PLAIN = b"reno"
_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_TOO_LONG = b"414 URI Too Long", b"the request line is too long\n"
_TOO_LARGE = b"431 Request Header Fields Too Large", b"the headers are too large\n"

# The socket module sends on socket objects only, the os module without flags. Nothing here waits,
# so that the interpreter's lock is not let go.
_send = ctypes.PyDLL(None).send
_send.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_int)
_send.restype = ctypes.c_ssize_t
_LAST = socket.MSG_MORE | socket.MSG_NOSIGNAL | socket.MSG_DONTWAIT

_log = Logger()


@implementer(IReadDescriptor)
class HttpDoor:
    """Answers announces and scrapes on the listening sockets that it is told to `serve`.

    `hand_over` gets the descriptor of a connection that asks for something else, from then on its
    own to close, and what was received and not answered. `clock` gives seconds that never go
    back. At most `most` connections are kept; one that takes longer than `patience` seconds for a
    request is closed by `sweep`, which is to be called every few seconds.
    """

    def __init__(
        self,
        announcing: Announcing,
        sources: Sources,
        hand_over: Callable[[int, bytes], None],
        *,
        clock: Callable[[], float],
        most: int = 8192,
        patience: float = 60.0,
    ) -> None:
        self._announces = Announces(announcing, sources)
        self._hand_over = hand_over
        self._clock = clock
        self._most = most
        self._patience = patience
        self._epoll = epoll()
        self._listening: dict[int, socket.socket] = {}
        self._clients: dict[int, bytes] = {}  # by descriptor, the sender's address
        self._since: dict[int, float] = {}  # when it was accepted, or last answered
        self._partial: dict[int, bytes] = {}  # what has come of a request
        self._answers: list[tuple[int, bytes, bool]] = []  # to be sent, and whether it is the last
        self._now = clock()
        self._full = False
        self._paused = False
        self._paced = False

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._clients)

    def tallies(self) -> tuple[Tally, Tally]:
        """Return what was seen from clients with IPv4 and with IPv6."""
        return self._announces.tallies

    def answer(self, request: bytes, address: bytes) -> bytes | None:
        """Return the whole response to a whole head, None if it is not for this door.

        `address` is the sender's, packed, 4 or 16 bytes.
        """
        responding = self._respond(request, address)
        return responding and responding[0]

    def serve(self, listening: socket.socket) -> None:
        """Accept connections on a bound and listening TCP socket, which stays the caller's."""
        listening.setblocking(False)
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, _DEFER)
        self._paced |= _change_congestion(listening, _PACING, _PLAIN)
        self._listening[listening.fileno()] = listening
        if not self._paused:
            self._epoll.register(listening.fileno(), EPOLLIN)

    def leave(self, listening: socket.socket) -> None:
        """Accept no more connections on a socket; those that are open stay."""
        if self._listening.pop(listening.fileno(), None) and not self._paused:
            self._epoll.unregister(listening.fileno())

    def close(self) -> None:
        """Close every connection, and leave the listening sockets; the door is of no use then."""
        for descriptor in list(self._clients):
            self._close(descriptor)
        self._listening.clear()
        self._epoll.close()

    def sweep(self) -> None:
        """Close connections that were silent or slow for too long; accept again if possible."""
        latest = self._clock() - self._patience
        for descriptor in [each for each, since in self._since.items() if since < latest]:
            if descriptor in self._partial:
                self._tally(self._clients[descriptor]).malformed += 1
            self._close(descriptor)
        if self.connections < self._most * 0.9:
            self._full = False
        if self._paused:
            self._paused = False
            for descriptor in self._listening:
                self._epoll.register(descriptor, EPOLLIN)

    def fileno(self) -> int:
        """Return the descriptor that is readable when any of the sockets is; -1 once closed."""
        return -1 if self._epoll.closed else self._epoll.fileno()

    def logPrefix(self) -> str:
        """Name the door in log lines."""
        return "announces"

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Close everything: the reactor has no use for the door any more."""
        del reason
        if not self._epoll.closed:
            self.close()

    def doRead(self) -> None:
        """Accept, read and answer some of what has arrived; the reactor calls this again."""
        for _ in range(_ROUNDS):
            self._now = self._clock()
            ready = self._epoll.poll(0, _EVENTS)
            for descriptor, _ in ready:
                self._ready(descriptor)
            self._flush()
            if not ready or self._epoll.closed:
                return

    def _ready(self, descriptor: int) -> None:
        try:
            if descriptor in self._clients:
                self._receive(descriptor)
            elif descriptor in self._listening:
                self._accept(self._listening[descriptor])
        except Exception:  # noqa: BLE001 - or the reactor would let go of all connections
            _log.failure("a connection failed")

    def _accept(self, listening: socket.socket) -> None:
        # Its public twin builds a socket object, which takes as long as the announce itself.
        accept = listening._accept  # type: ignore[attr-defined] # noqa: SLF001
        for _ in range(_ACCEPTS):
            try:
                descriptor, peer = accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    self._pause(error)
                    return
                continue  # that one is gone already
            self._welcome(descriptor, packed(peer[0]) or b"")

    def _pause(self, error: OSError) -> None:
        """Accept none until the next sweep, instead of trying in vain without end."""
        _log.warn("no connection can be accepted for now: {why}", why=error.strerror)
        self._paused = True
        for descriptor in self._listening:
            self._epoll.unregister(descriptor)

    def _welcome(self, descriptor: int, address: bytes) -> None:
        """Take in a new connection, and answer what it has asked already."""
        self._tally(address).connections += 1
        if self._is_full():
            os.close(descriptor)
            return
        os.set_blocking(descriptor, False)
        received = _read(descriptor)
        if received == b"":
            os.close(descriptor)
        elif self._keep(descriptor, address, received or b""):
            self._epoll.register(descriptor, EPOLLIN)

    def _keep(self, descriptor: int, address: bytes, received: bytes) -> bool:
        """Keep a new connection, if an answer to what it has asked leaves one; tell whether."""
        left = self._take(descriptor, received, address)
        if left is None:
            return False
        self._clients[descriptor] = address
        self._since[descriptor] = self._now
        if left:
            self._partial[descriptor] = left
        return True

    def _is_full(self) -> bool:
        full = len(self._clients) >= self._most
        if full and not self._full:
            _log.warn("{count} connections are open: no more are accepted", count=self._most)
            self._full = True
        return full

    def _receive(self, descriptor: int) -> None:
        """Read what a connection has sent, and answer it."""
        received = _read(descriptor)
        if received:
            self._received(descriptor, received)
        elif received is not None:
            self._close(descriptor)

    def _received(self, descriptor: int, received: bytes) -> bool:
        """Answer what a connection has sent; tell whether it goes on."""
        if descriptor in self._partial:
            received = self._partial.pop(descriptor) + received
        left = self._take(descriptor, received, self._clients[descriptor])
        if left is None:
            return False
        if left:
            self._partial[descriptor] = left
        if left is not received:
            self._since[descriptor] = self._now
        return True

    def _take(self, descriptor: int, received: bytes, address: bytes) -> bytes | None:
        """Answer whole requests; return what there is of the next one.

        The answers go out with the next `_flush`. None if the connection ends, or was handed over.
        """
        answers, last = b"", False
        while received and not last:
            end = received.find(b"\r\n\r\n") + 4
            if 4 <= end <= codec.LONGEST_HEAD:
                responding = self._respond(received[:end], address)
            elif not codec.may_become_request(received):
                responding = None
            elif len(received) <= codec.LONGEST_HEAD:
                break
            else:
                responding = self._too_long(received, address)
            if responding is None:
                if not answers or self._send(descriptor, answers, last=False):
                    self._let_go(descriptor, received)
                return None
            response, last = responding
            answers += response
            received = received[end:]
        return received if not answers or self._deliver(descriptor, answers, last=last) else None

    def _deliver(self, descriptor: int, answers: bytes, *, last: bool) -> bool:
        """Leave answers for the next `_flush`; tell whether the connection goes on."""
        self._answers.append((descriptor, answers, last))
        return not last

    def _flush(self) -> None:
        """Send what has been answered, all at once: that wakes fewer clients than one by one."""
        for descriptor, answers, last in self._answers:
            self._send(descriptor, answers, last=last)
        self._answers.clear()

    def _send(self, descriptor: int, answers: bytes, *, last: bool) -> bool:
        """Send answers, and close the connection after the last; tell whether it goes on."""
        if last:
            # It leaves in one packet with the end of the connection.
            _send(descriptor, answers, len(answers), _LAST)
        if last or not _write(descriptor, answers):
            self._close(descriptor)
            return False
        return True

    def _respond(self, request: bytes, address: bytes) -> tuple[bytes, bool] | None:
        """Return the response, and whether it is the last one of the connection."""
        read = codec.read_request(request)
        if read is None:
            return None
        place, query, hops, close = read
        body = self._announces.body(place, query, address, hops)
        return codec.respond(body, close=close), close

    def _too_long(self, received: bytes, address: bytes) -> tuple[bytes, bool]:
        self._tally(address).malformed += 1
        status, reason = _TOO_LARGE if b"\r\n" in received[: codec.LONGEST_HEAD] else _TOO_LONG
        return codec.refuse(status, reason), True

    def _tally(self, address: bytes) -> Tally:
        return self._announces.tallies[len(address) == 16]

    def _let_go(self, descriptor: int, received: bytes) -> None:
        """Hand over a connection, as if it had been accepted by another."""
        if self._paced:
            connected = socket.socket(fileno=descriptor)
            _change_congestion(connected, _PLAIN, _PACING)
            connected.detach()
        if self._clients.pop(descriptor, None) is not None:
            del self._since[descriptor]
            self._partial.pop(descriptor, None)
            self._epoll.unregister(descriptor)
        self._hand_over(descriptor, received)

    def _close(self, descriptor: int) -> None:
        if self._clients.pop(descriptor, None) is not None:
            del self._since[descriptor]
            self._partial.pop(descriptor, None)
        os.close(descriptor)


def _read(descriptor: int) -> bytes | None:
    """Read what has come: None if nothing has yet, nothing at the end of the connection."""
    try:
        return os.read(descriptor, _READ)
    except BlockingIOError:
        return None
    except OSError:
        return b""


def _write(descriptor: int, response: bytes) -> bool:
    """Write all of a response, or tell that it cannot be done.

    The kernel has room for many; who lets them pile up does not read them.
    """
    try:
        return os.write(descriptor, response) == len(response)
    except OSError:
        return False


def _change_congestion(sock: socket.socket, present: bytes, better: bytes) -> bool:
    """Choose the better congestion control if the present one is in use and the kernel lets us."""
    with suppress(OSError):
        if sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).strip(b"\0") == present:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, better)
            return True
    return False
