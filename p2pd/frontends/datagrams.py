"""Datagrams in and answers out: in batches where the system can, else one by one."""

import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol, TypeAlias

MOST = 64
"""How many datagrams are taken at once."""
LARGEST = 1536
"""How much of a datagram is read, and how long an answer may be."""

Answer: TypeAlias = Callable[[bytes, bytes], bytes]
"""Takes a datagram and the packed address it came from; returns the answer, or b"" for none."""


class Exchange(Protocol):
    """Answers what comes to one socket."""

    def __call__(self, answer: Answer) -> bool:
        """Answer up to `MOST` datagrams; tell whether more may be waiting.

        An answer that the network does not take is lost, as any datagram may be.
        """


class OneByOne:
    """The exchange that works everywhere."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock

    def __call__(self, answer: Answer) -> bool:
        """See Exchange."""
        family = self._socket.family
        for _ in range(MOST):
            try:
                datagram, sender = self._socket.recvfrom(LARGEST)
            except OSError:
                return False
            reply = answer(datagram, socket.inet_pton(family, sender[0]))
            if reply:
                with suppress(OSError):
                    self._socket.sendto(reply, sender)
        return True


def exchange_over(sock: socket.socket) -> Exchange:
    """Choose how to exchange datagrams over a bound, non-blocking UDP socket."""
    try:
        from p2pd.frontends.datagram_batches import Batches  # noqa: PLC0415 - it needs ctypes

        return Batches(sock)
    except (ImportError, AttributeError, OSError):  # no ctypes, no such call, not permitted
        return OneByOne(sock)
