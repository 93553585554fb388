"""Stands between a good node and all who ask it, and spoils the pieces that it serves.

`lies` makes some bytes of each piece wrong; `stalls` sends the head of the answer and then
nothing, and does not close. All else passes as it is.
"""

import argparse
import asyncio
import contextlib
import re
from asyncio import StreamReader, StreamWriter

_CHUNK = 65536
_TELLS = re.compile(rb"(?im)^content-type: *(text|application/(json|x-bittorrent))")


def main() -> None:
    """Listen until killed; prints a line when it does."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("fault", choices=["lies", "stalls"])
    parser.add_argument("host", help="address to listen on")
    parser.add_argument("port", type=int)
    parser.add_argument("node", help="HOST:PORT of the good node")
    arguments = parser.parse_args()
    asyncio.run(_serve(arguments))


async def _serve(arguments: argparse.Namespace) -> None:
    host, _, port = arguments.node.rpartition(":")

    async def connected(reader: StreamReader, writer: StreamWriter) -> None:
        node_reader, node_writer = await asyncio.open_connection(host, int(port))
        asking = asyncio.create_task(_copy(reader, node_writer))
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await _spoil(arguments.fault, node_reader, writer)
        asking.cancel()
        node_writer.close()
        writer.close()

    server = await asyncio.start_server(connected, arguments.host, arguments.port)
    print("listening", flush=True)
    await server.serve_forever()


async def _copy(reader: StreamReader, writer: StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
        writer.close()


async def _spoil(fault: str, reader: StreamReader, writer: StreamWriter) -> None:
    """Pass one answer after the other; pieces are what has a length and is no text."""
    while True:
        head = await reader.readuntil(b"\r\n\r\n")
        writer.write(head)
        found = re.search(rb"(?im)^content-length: *(\d+)", head)
        if found is None:
            await _copy(reader, writer)
            return
        left, spoilt = int(found[1]), not _TELLS.search(head)
        if spoilt and fault == "stalls":
            await asyncio.Event().wait()
        while left:
            data = bytearray(await reader.readexactly(min(left, _CHUNK)))
            left -= len(data)
            if spoilt:
                data[0] ^= 255
            writer.write(data)
            await writer.drain()


if __name__ == "__main__":
    main()
