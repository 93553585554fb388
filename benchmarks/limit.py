"""What no program can beat here: each byte sent, received, digested and written, and no more."""

import multiprocessing
import socket
import time
from contextlib import ExitStack
from pathlib import Path

from measure import Meter
from processes import Failed, uninterrupted
from result import Result

from p2pd.metainfo.pieces import DigestKind, digest, piece_length_for

_TIMEOUT = 600.0
_LOW_WATERMARK = 256 * 1024
_FORK = multiprocessing.get_context("fork")


def limit(file: Path, leeches: int, directory: Path) -> Result:
    """Send the file over a bare socket to each leech, which digests it by pieces of p2pd's size.

    Every leech has a sender of its own; nobody checks, chooses, retries or asks.
    """
    copies = [directory / f"copy-{number}" for number in range(leeches)]
    size = file.stat().st_size
    with ExitStack() as stack, socket.create_server(("127.0.0.1", 0)) as server:
        meter = Meter()
        started = []
        for copy in copies:
            receiver = stack.enter_context(socket.create_connection(server.getsockname()))
            sender = stack.enter_context(server.accept()[0])
            for work in (_send, file, sender), (_receive, copy, receiver, size):
                process = _FORK.Process(target=work[0], args=work[1:])
                with uninterrupted():  # and so is the process, for its whole life
                    process.start()
                    stack.callback(process.kill)
                started.append(process)
        deadline = time.monotonic() + _TIMEOUT
        for process in started:
            process.join(max(deadline - time.monotonic(), 0.0))
        usage = meter.read()
        if any(process.exitcode != 0 for process in started):
            raise Failed("a sender or a receiver did not end well")
    return Result(usage=usage, peak_memory=None, seed_sent=leeches * size, copies=copies)


def _send(file: Path, peer: socket.socket) -> None:
    with file.open("rb") as opened:
        peer.sendfile(opened)
    # Else the receiver may wait for more than the rest that it lacks: see its low watermark.
    peer.shutdown(socket.SHUT_WR)


def _receive(copy: Path, peer: socket.socket, size: int) -> None:
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, _LOW_WATERMARK)
    piece = memoryview(bytearray(piece_length_for(size)))
    with copy.open("xb", buffering=0) as opened:
        for start in range(0, size, len(piece)):
            part = piece[: size - start]
            if peer.recv_into(part, flags=socket.MSG_WAITALL) != len(part):
                raise EOFError("the sender ended early")
            digest(DigestKind.BLAKE3, part)
            opened.write(part)
