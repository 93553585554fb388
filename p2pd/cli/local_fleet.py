"""A tracker and nodes on this machine, each a twistd process with directories of its own."""

from collections.abc import Coroutine, Iterable
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, FirstError, ensureDeferred, gatherResults
from twisted.internet.task import deferLater

from p2pd.cli.client import Client, Transfer
from p2pd.cli.daemons import Daemon
from p2pd.cli.outcome import CommandFailed, Exit
from p2pd.cli.progress import Display, watch
from p2pd.swarm.lifecycle import State

_LISTEN = ("--listen", "tcp:0:interface=127.0.0.1")
_PUBLISH_TIMEOUT = 15.0
_PUBLISH_RETRY = 0.05

_T = TypeVar("_T")


async def together(
    works: Iterable[Coroutine[Deferred[Any], Any, _T] | Deferred[_T]],
) -> list[_T]:
    """Do all at once: all results, in order; or the first error, and the rest is cancelled."""
    working = [ensureDeferred(work) for work in works]
    try:
        return await gatherResults(working, consumeErrors=True)
    except FirstError as first:
        error = first.subFailure.value
        assert error is not None
        raise error from None
    finally:
        for work in working:
            work.cancel()


class LocalNode:
    """One node: its process, and what is asked of it; all errors are CommandFailed."""

    def __init__(self, name: str, daemon: Daemon, client: Client, clock: Any) -> None:
        self.name = name
        self._daemon = daemon
        self._client = client
        self._clock = clock

    async def share(self, file: Path) -> Transfer:
        """Share a file."""
        return await self._blaming(self._client.share(str(file), None))

    async def fetch(self, name: str, display: Display) -> Transfer:
        """Fetch a file, and show how that goes."""
        transfer = await self._blaming(self._fetch(name, display))
        if transfer.state is not State.COMPLETE:
            raise self._daemon.failure(transfer.error or transfer.state.value)
        return transfer

    async def _fetch(self, name: str, display: Display) -> Transfer:
        infohash = await self._start(name)
        return await watch(self._client, infohash, self.name, display, self._clock)

    async def _start(self, name: str) -> str:
        """Start a download, as soon as the tracker has heard of the file."""
        latest = self._clock.seconds() + _PUBLISH_TIMEOUT
        while True:
            try:
                return (await self._client.start(name)).infohash
            except CommandFailed as failure:
                if failure.status is not Exit.NOT_FOUND or self._clock.seconds() > latest:
                    raise
            await deferLater(self._clock, _PUBLISH_RETRY)

    async def look(self, infohash: str) -> Transfer:
        """Look at a transfer."""
        return await self._blaming(self._client.transfer(infohash))

    async def _blaming(self, work: Coroutine[Deferred[Any], Any, _T]) -> _T:
        try:
            return await work
        except CommandFailed as failure:
            gone = failure.status is Exit.UNREACHABLE
            reason = "it answers no more" if gone else failure.reason
            raise self._daemon.failure(reason) from failure

    async def close(self) -> None:
        """Close the connections to it."""
        await self._client.close()


class LocalFleet:
    """A tracker and `nodes` below `directory`; `stop` must be called in any case."""

    def __init__(self, reactor: Any, directory: Path) -> None:
        self.nodes: list[LocalNode] = []
        self.clock = reactor
        self._directory = directory
        self._daemons: list[Daemon] = []

    async def start(self, count: int) -> None:
        """Start the tracker, then `count` nodes; returns when all listen."""
        tracker = await self._spawn("tracker", "p2p-tracker").listening
        names = [f"node-{number}" for number in range(1, count + 1)]
        self.nodes = await together(self._start_node(name, tracker) for name in names)

    async def _start_node(self, name: str, tracker: str) -> LocalNode:
        downloads = self._directory / name / "downloads"
        daemon = self._spawn(
            name,
            "p2p-node",
            *("--tracker", tracker, "--node-id", name, "--download-dir", str(downloads)),
        )
        url = await daemon.listening
        return LocalNode(name, daemon, Client(self.clock, url), self.clock)

    def _spawn(self, name: str, command: str, *options: str) -> Daemon:
        state = self._directory / name / "state"
        daemon = Daemon(
            name, [command, *_LISTEN, "--state-dir", str(state), *options], self._directory
        )
        daemon.start(self.clock)
        self._daemons.append(daemon)
        return daemon

    async def stop(self) -> None:
        """Stop every process; returns when all are gone."""
        await together(node.close() for node in self.nodes)
        tracker, nodes = self._daemons[:1], self._daemons[1:]
        await together(daemon.stop() for daemon in nodes)
        await together(daemon.stop() for daemon in tracker)
