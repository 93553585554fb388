"""What one TCP connection gets through a link: the file from the seed to one leech, unchecked."""

import socket
import threading
from pathlib import Path

from network import Network
from processes import Failed
from race import SEED, Outcome, Race, leech

_CHUNK = 1024 * 1024


def one_stream(file: Path, network: Network, _directory: Path) -> Outcome:
    """Send the file over a bare socket to the first leech; the others have nothing to do."""
    length = file.stat().st_size
    name = leech(1)
    with network.hosts[SEED].inside():
        server = socket.create_server((network.hosts[SEED].address, 0))
    with server:
        with network.hosts[name].inside():
            receiver = socket.create_connection(server.getsockname())
        sender = server.accept()[0]
        with receiver, sender, file.open("rb") as opened:
            sending = threading.Thread(target=sender.sendfile, args=(opened,))
            with Race(network, [], length=length) as race:
                race.begin(name)
                sending.start()
                left = length
                while left and (count := len(receiver.recv(min(left, _CHUNK)))):
                    left -= count
                race.end(name)
                sending.join()
                if left:
                    raise Failed("the sender ended early")
                outcome = race.finish([])
        outcome.seed_sent = length
        return outcome
