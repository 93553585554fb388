"""Datagrams in batches: one call of recvmmsg, one of sendmmsg, and no address tuples.

All memory is laid out once. A datagram comes into a slot that begins with its sender's address as
the kernel writes it, and the answer goes out to that very address. What can be done for a whole
batch by one call of the standard library is not done for each datagram.
"""

import ctypes
import errno
import socket
import struct
from array import array
from itertools import accumulate, compress

from p2pd.frontends.datagrams import LARGEST, MOST, Answer

_WORD = ctypes.sizeof(ctypes.c_ulong)
_NAME = 32
_SLOT = _NAME + LARGEST
_SHORT = 98
"""How much of each datagram is taken out of its slot in passing: most announces are no longer."""
_LAYOUT = {
    socket.AF_INET: (16, struct.Struct(f"4x4s24x{_SHORT}s{LARGEST - _SHORT}x")),
    socket.AF_INET6: (28, struct.Struct(f"8x16s8x{_SHORT}s{LARGEST - _SHORT}x")),
}
"""The size of a sender's address, and where in a slot its host and the datagram begin."""


class _Vector(ctypes.Structure):
    """A struct iovec."""

    _fields_ = (("base", ctypes.c_void_p), ("size", ctypes.c_size_t))


class _Header(ctypes.Structure):
    """A struct msghdr."""

    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_size", ctypes.c_uint32),
        ("vectors", ctypes.c_void_p),
        ("vector_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_size", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _Message(ctypes.Structure):
    """A struct mmsghdr: where a datagram is, and how many bytes there were."""

    _fields_ = (("header", _Header), ("size", ctypes.c_uint32))


class _Headers:
    """What tells the kernel where the datagrams of a batch are; the views are as wide as it."""

    def __init__(self, name_size: int) -> None:
        self._vectors = (_Vector * MOST)()
        self._messages = (_Message * MOST)()
        for vector, message in zip(self._vectors, self._messages, strict=True):
            message.header.vectors = ctypes.addressof(vector)
            message.header.vector_count = 1
            message.header.name_size = name_size
        self.address = ctypes.addressof(self._messages)
        messages = memoryview(self._messages).cast("B")
        vectors = memoryview(self._vectors).cast("B").cast("L")
        size = ctypes.sizeof(_Message)
        self.names = messages.cast("L")[:: size // _WORD]
        """Where the address of each is."""
        self.starts = vectors[0::2]
        """Where its bytes are, and below, how many of them, or room for how many."""
        self.sizes = vectors[1::2]
        self.received = messages.cast("I")[_Message.size.offset // 4 :: size // 4]
        """How many came."""


class Batches:
    """The exchange for systems that have the two calls; elsewhere making one raises.

    What it raises is an AttributeError or an OSError.
    """

    def __init__(self, sock: socket.socket) -> None:
        name_size, self._layout = _LAYOUT[sock.family]
        self._socket = sock
        memory = bytearray(MOST * _SLOT)
        start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        self._senders = array("L", range(start, start + len(memory), _SLOT))
        self._in = _Headers(name_size)
        self._in.names[:] = self._senders
        self._in.starts[:] = array("L", (sender + _NAME for sender in self._senders))
        self._in.sizes[:] = array("L", [LARGEST] * MOST)
        self._came = memoryview(memory)
        self._datagrams = [
            self._came[begin + _NAME : begin + _SLOT] for begin in range(0, len(memory), _SLOT)
        ]
        self._out = _Headers(name_size)
        self._answers = bytearray(MOST * LARGEST)
        self._start = ctypes.addressof(ctypes.c_char.from_buffer(self._answers))
        library = ctypes.CDLL(None, use_errno=True)
        self._receive, self._send = library.recvmmsg, library.sendmmsg
        number, address = ctypes.c_int, ctypes.c_void_p
        self._receive.argtypes = (number, address, ctypes.c_uint, number, address)
        self._send.argtypes = (number, address, ctypes.c_uint, number)
        if self._receive(sock.fileno(), self._in.address, 0, socket.MSG_DONTWAIT, None) < 0:
            raise OSError(ctypes.get_errno(), "recvmmsg does not work")

    def __call__(self, answer: Answer) -> bool:
        """See Exchange."""
        count: int = self._receive(
            self._socket.fileno(), self._in.address, MOST, socket.MSG_DONTWAIT, None
        )
        if count > 0:
            self._reply(self._answer(count, answer))
        return count == MOST

    def _answer(self, count: int, answer: Answer) -> int:
        """Ask for the answers and lay them out one behind the other; return how many."""
        answers = [
            answer(head[:size] if size <= _SHORT else bytes(datagram[:size]), address)
            for size, (address, head), datagram in zip(
                self._in.received[:count].tolist(),
                self._layout.iter_unpack(self._came[: count * _SLOT]),
                self._datagrams,
                strict=False,
            )
        ]
        joined = b"".join(answers)
        self._answers[: len(joined)] = joined
        sizes = array("L", map(len, filter(None, answers)))
        count = len(sizes)
        self._out.sizes[:count] = sizes
        self._out.starts[:count] = array("L", accumulate(sizes, initial=self._start))[:count]
        self._out.names[:count] = array("L", compress(self._senders, answers))
        return count

    def _reply(self, count: int) -> None:
        sent = 0
        while sent < count:
            done = self._send(
                self._socket.fileno(),
                self._out.address + sent * ctypes.sizeof(_Message),
                count - sent,
                socket.MSG_DONTWAIT,
            )
            if done < 0:
                if ctypes.get_errno() in {errno.EAGAIN, errno.ENOBUFS}:
                    return  # no more can be sent now
                done = 1  # to this one nothing can be sent
            sent += done
