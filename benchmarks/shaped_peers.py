"""BitTorrent clients on a network: the same ones as on loopback, each on its host."""

import signal
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from bittorrent import ARIA2, ARIA2_DONE, LIBTORRENT, Tracker, metainfo
from network import Host, Network
from peers import program
from processes import Process, free_port, running
from race import SEED, TRACKER, Outcome, Race

from p2pd.metainfo.pieces import piece_length_for

_LOOK = 0.02
_END = 60.0


def libtorrent(file: Path, network: Network, directory: Path) -> Outcome:
    """Seed on one client of libtorrent, and tell the others to begin, all at once."""
    torrent = _torrent(file)
    with ExitStack() as stack:
        tracker = stack.enter_context(Tracker(network.hosts[TRACKER]))

        def start(host: Host, place: Path, *role: str) -> Process:
            arguments = (str(torrent), str(place), host.address, tracker.url, *role)
            return _start(stack, host, directory, *LIBTORRENT, *arguments)

        seed = start(network.hosts[SEED], file.parent, "--seed")
        others = {host.name: start(host, directory / host.name) for host in _leeches(network)}
        for node in (seed, *others.values()):
            node.wait_for("^ready$")
        tracker.wait_for_a_peer()
        pids = [node.pid for node in (seed, *others.values())]
        with Race(network, pids, length=file.stat().st_size) as race:
            for name, node in others.items():
                race.begin(name)
                node.send_signal(signal.SIGUSR1)
            _wait(race, others, "^done$")
            outcome = race.finish([directory / name / file.name for name in others])
        for node in (seed, *others.values()):
            node.send_signal(signal.SIGUSR1)
        for node in others.values():
            node.wait_for(r"^sent \d+$", _END)
        outcome.seed_sent = int(seed.wait_for(r"^sent (\d+)$", _END)[1])
        return outcome


def aria2(file: Path, network: Network, directory: Path) -> Outcome:
    """Seed with one aria2c, and start the others, all at once."""
    torrent = _torrent(file)
    with ExitStack() as stack:
        tracker = stack.enter_context(Tracker(network.hosts[TRACKER]))

        def start(host: Host, place: Path) -> Process:
            with host.inside():
                port = free_port(host.address)
            return _start(
                stack,
                host,
                directory,
                *(program("aria2c"), *ARIA2, "--no-proxy=*", f"--dir={place}"),
                *(f"--bt-tracker={tracker.url}", f"--listen-port={port}", str(torrent)),
            )

        seed = start(network.hosts[SEED], file.parent)
        tracker.wait_for_a_peer()
        others = {}
        with Race(network, [seed.pid], length=file.stat().st_size) as race:
            for host in _leeches(network):
                race.begin(host.name)
                others[host.name] = start(host, directory / host.name)
                race.count([others[host.name].pid])
            _wait(race, others, ARIA2_DONE)
            return race.finish([directory / name / file.name for name in others])


def _torrent(file: Path) -> Path:
    """Return metainfo with pieces of p2pd's length: with large ones a swarm begins slowly."""
    return metainfo(file, piece_length_for(file.stat().st_size))


def _leeches(network: Network) -> list[Host]:
    return [host for name, host in network.hosts.items() if name not in {TRACKER, SEED}]


def _start(stack: ExitStack, host: Host, directory: Path, *command: str) -> Process:
    place = directory / host.name
    place.mkdir()
    return stack.enter_context(running([*host.prefix, *command], place / "output.log"))


def _wait(race: Race, nodes: Mapping[str, Process], done: str) -> None:
    """Note when each client has printed that it is done."""
    left = dict(nodes)
    while left:
        for name, node in nodes.items():
            if name in left and node.look_for(done):
                race.end(name)
                del left[name]
        race.check()
        time.sleep(_LOOK)
