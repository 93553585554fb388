"""p2pd on a network: a seed, its leeches, and what may befall them."""

import http.client
import selectors
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from fleet import Daemon, wait_until_known
from network import Network
from processes import Failed, running
from race import FAULTY, SEED, TRACKER, Outcome, Race, leech

_FAULTY = Path(__file__).with_name("faulty.py")
_FAULTY_PORT = 48000
_TRACKER_DIES = 2.0
_LOOK = 0.02


@dataclass(frozen=True, slots=True)
class Scenario:
    """What is different from an undisturbed run.

    `slow`: the last leech has a tenth of the rate, and is not waited for. `late`: the last one
    begins when the others have half of the file. `fault`: one more seed, spoilt as `faulty.py`
    says.
    """

    tracker_dies: bool = False
    slow: bool = False
    late: bool = False
    fault: str | None = None

    def rates(self, leeches: int, rate: int) -> dict[str, int]:
        """Return the hosts of a run, each with its rate."""
        names = [TRACKER, SEED, *(leech(number) for number in range(1, leeches + 1))]
        rates = dict.fromkeys([*names, FAULTY] if self.fault else names, rate)
        if self.slow:
            rates[leech(leeches)] = rate // 10
        return rates


SCENARIOS: Mapping[str, Scenario] = {
    "plain": Scenario(),
    "tracker-dies": Scenario(tracker_dies=True),
    "slow-leech": Scenario(slow=True),
    "liar": Scenario(fault="lies"),
    "stall": Scenario(fault="stalls"),
    "late": Scenario(late=True),
}


def p2pd(scenario: Scenario, file: Path, network: Network, directory: Path) -> Outcome:
    """Share the file on the seed, fetch it on the leeches, until all that count have it."""
    with ExitStack() as stack:
        return _Fleet(stack, file, network, scenario, directory).run()


class _Fleet:
    """A tracker and nodes, each on its host."""

    def __init__(
        self,
        stack: ExitStack,
        file: Path,
        network: Network,
        scenario: Scenario,
        directory: Path,
    ) -> None:
        self._file = file
        self._network = network
        self._scenario = scenario
        self._tracker = Daemon(
            stack, "p2p-tracker", directory / TRACKER, host=network.hosts[TRACKER]
        )
        self._options = ("--tracker", f"http://{self._tracker.address}")
        self._nodes = {
            name: Daemon(stack, "p2p-node", directory / name, *self._options, host=host)
            for name, host in network.hosts.items()
            if name not in {TRACKER, FAULTY}
        }
        self._seed = self._nodes[SEED]
        self._leeches = [name for name in self._nodes if name != SEED]
        addresses = {node.address for node in self._nodes.values()}
        shared = {"path": str(file)}
        if scenario.fault is not None:
            faulty = self._start_faulty(stack, scenario.fault, directory / FAULTY)
            faulty.call("share", shared)
            addresses.add(f"{network.hosts[FAULTY].address}:{_FAULTY_PORT}")
        self._infohash = self._seed.call("share", shared)["transfer"]["infohash"]
        wait_until_known(self._tracker, self._infohash, addresses)
        self._asked: dict[str, http.client.HTTPConnection] = {}
        self._selector = stack.enter_context(selectors.DefaultSelector())

    def _start_faulty(self, stack: ExitStack, fault: str, directory: Path) -> Daemon:
        """Start a good node that others reach only through what spoils its pieces."""
        host = self._network.hosts[FAULTY]
        advertise = ("--advertise", f"{host.address}:{_FAULTY_PORT}")
        hidden = replace(host, address="127.0.0.1")
        node = Daemon(stack, "p2p-node", directory, *self._options, *advertise, host=hidden)
        script = [sys.executable, str(_FAULTY), fault, host.address, str(_FAULTY_PORT)]
        command = [*host.prefix, *script, node.address]
        stack.enter_context(running(command, directory / "faulty.log")).wait_for("listening")
        return node

    def run(self) -> Outcome:
        """Tell the leeches to begin, and wait for those that count."""
        last = self._leeches[-1]
        others = self._leeches[:-1]
        awaited = others if self._scenario.slow else self._leeches
        pids = [daemon.process.pid for daemon in (self._tracker, *self._nodes.values())]
        with Race(self._network, pids, length=self._file.stat().st_size) as race:
            for name in others if self._scenario.late else self._leeches:
                self._begin(race, name)
            due = self._happenings(race, others)
            while not race.done(awaited):
                for key, _ in self._selector.select(_LOOK if due else 1.0):
                    self._end(race, key.data)
                due = [happening for happening in due if not happening()]
                race.check()
            outcome = race.finish([])
        return replace(
            outcome,
            began={name: outcome.began[name] for name in awaited},
            seconds={name: outcome.seconds[name] for name in awaited},
            copies=[Path(self._transfer(name)["path"]) for name in awaited],
            seed_sent=self._transfer(SEED)["uploaded"],
            remark=self._remark(outcome, last),
        )

    def _happenings(self, race: Race, others: list[str]) -> list[Callable[[], bool]]:
        """Return what is to be tried until it says that it is done."""

        def kill_tracker() -> bool:
            if race.elapsed < _TRACKER_DIES:
                return False
            self._tracker.process.send_signal(signal.SIGKILL)
            return True

        def begin_last() -> bool:
            if race.progress(others) < 0.5:
                return False
            self._begin(race, self._leeches[-1])
            return True

        due = []
        if self._scenario.tracker_dies:
            due.append(kill_tracker)
        if self._scenario.late:
            due.append(begin_last)
        return due

    def _begin(self, race: Race, name: str) -> None:
        race.begin(name)
        wish = {"infohash": self._infohash}
        connection = self._nodes[name].ask("start_download?wait=1", wish)
        self._asked[name] = connection
        self._selector.register(connection.sock, selectors.EVENT_READ, name)

    def _end(self, race: Race, name: str) -> None:
        race.end(name)
        connection = self._asked.pop(name)
        self._selector.unregister(connection.sock)
        state = self._nodes[name].answer(connection)["state"]
        if state != "complete":
            raise Failed(f"{name} ended {state}:\n{self._nodes[name].process.printed}")

    def _transfer(self, name: str) -> dict[str, object]:
        return self._nodes[name].call(f"transfers/{self._infohash}")["transfer"]

    def _remark(self, outcome: Outcome, last: str) -> str:
        if self._scenario.slow:
            rate = outcome.wire[last].received * 8 / outcome.makespan
            share = rate / self._network.rates[last]
            return f"the slow one received at {share:.0%} of its own limit meanwhile"
        if self._scenario.late:
            began, took = outcome.began[last], outcome.seconds[last]
            return f"the late one began at {began:.1f} s and took {took:.1f} s"
        if self._scenario.fault:
            sent = outcome.wire[FAULTY].sent / self._file.stat().st_size
            return f"the faulty one sent {sent:.2f} copies"
        return ""
