"""What both daemons are composed of, beside what makes them a tracker or a node.

Whatever keeps a daemon from starting ends it with one line on standard error and status 1.
Importing this imports klein, and with it the reactor: do so inside `makeService` only.
"""

import fcntl
import gc
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from twisted.application.service import MultiService, Service
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.threads import deferToThread
from twisted.web.resource import IResource

from p2pd.daemon import ending
from p2pd.daemon.addresses import Bound
from p2pd.daemon.announce_doors import HttpAnnounces
from p2pd.daemon.config import DaemonConfig
from p2pd.daemon.listening import Listening
from p2pd.daemon.site import Site
from p2pd.daemon.systemd import Notifier
from p2pd.errors import Refusal
from p2pd.frontends import authorisation, token_files
from p2pd.frontends.authorisation import Gate
from p2pd.links.agent import make_agent
from p2pd.links.origin import DirectoryOrigin, UrlOrigin
from p2pd.metainfo.origin import Origin
from p2pd.roles import Role
from p2pd.store.sqlite import Database

T = TypeVar("T")

# Nearly all garbage is freed without the collector, whose default of 700 costs 6 % of all CPU.
_COLLECT_AFTER = 20_000


class StateDir:
    """The directory for what must survive a restart: created, its owner's only, locked.

    The lock keeps a second daemon out until `release`, or the end of the process.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = (path / "lock").open("a")
        except OSError as error:
            raise SystemExit(f"cannot use the state directory {path}: {error.strerror}") from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            raise SystemExit(
                f"another daemon uses the state directory {path}: give each its own --state-dir"
            ) from None

    def secret(self, name: str) -> bytes:
        """Return 32 random bytes that the file `name` keeps; only its owner can read it."""
        path = self.path / name
        try:
            if not path.exists():
                made = self.path / f"{name}.new"
                made.touch(0o600)
                made.write_bytes(os.urandom(32))
                made.replace(path)
            return path.read_bytes()
        except OSError as error:
            raise SystemExit(f"cannot keep a secret in {path}: {error.strerror}") from None

    def release(self) -> None:
        """Let another daemon have it."""
        self._lock.close()


def read_token(config: DaemonConfig) -> bytes | None:
    """Return the fleet's token, or None if no token file is configured."""
    return _from(token_files.read_token, config.token_file) if config.token_file else None


def read_control_tokens(path: Path | None) -> Mapping[bytes, Role]:
    """Return the tokens of a node's users with their roles; none if no file is configured."""
    return _from(token_files.read_tokens, path) if path else {}


def make_admin_token(path: Path) -> bytes:
    """Return the token of the admin API, which is made if there is none."""
    return _from(token_files.admin_token, path)


def _from(read: Callable[[Path], T], path: Path) -> T:
    try:
        return read(path)
    except Refusal as refusal:
        raise SystemExit(refusal.reason) from None


def make_gate(config: DaemonConfig, token: bytes | None, **further: Any) -> Gate:
    """Return the gate that all requests pass; see `Gate` for what else it may be given.

    With neither a token nor the word `insecure` every listener is on loopback, and so must be
    the host that a request names.
    """
    hosts = None if config.insecure else authorisation.LOOPBACK_NAMES
    return Gate(token, hosts, **further)


def make_origin(config: DaemonConfig, reactor: Any, base_url: str) -> Origin | None:
    """Return where files come from that nobody shared, if that is configured.

    Files of a directory have URLs below `base_url`.
    """
    if config.origin_dir:
        return DirectoryOrigin(config.origin_dir, base_url, deferToThread)
    if config.origin_url:
        return UrlOrigin(config.origin_url, make_agent(reactor, connections=2), reactor)
    return None


class OnDatabase(Service):
    """Runs a service while its database is open: opened before it starts, closed after it stops.

    `first` is awaited between the two. The daemon ends if the database cannot be opened or read.
    """

    def __init__(
        self,
        database: Database,
        service: Service,
        reactor: Any,
        *,
        first: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._database = database
        self._service = service
        self._reactor = reactor
        self._first = first
        self._opening: Deferred[None] = succeed(None)

    def startService(self) -> None:
        """Open the database, then start the service."""
        super().startService()  # type: ignore[no-untyped-call]
        self._opening = Deferred.fromCoroutine(self._start())

    def stopService(self) -> Deferred[None]:
        """Stop the service, then close the database."""
        super().stopService()  # type: ignore[no-untyped-call]
        return Deferred.fromCoroutine(self._stop())

    async def _start(self) -> None:
        try:
            await self._database.open()
            if self._first:
                await self._first()
        except Refusal as refusal:
            ending.fail(self._reactor, refusal.reason)
        else:
            self._service.privilegedStartService()
            self._service.startService()

    async def _stop(self) -> None:
        await self._opening
        if self._service.running:
            await maybeDeferred(self._service.stopService)
        await self._database.close()


class Daemon(MultiService):
    """A whole daemon: its children start in order, stop in reverse, and then free its state.

    They are the reaction to SIGTERM, `parts`, the listeners that serve `root`, and the talk with
    systemd. `on_bound` hears where the listeners are before any part starts.
    Unless `guarded` by a token, they must be on loopback, or the configuration say `insecure`.
    `announces`, which is to be among the parts, accepts their connections.
    """

    def __init__(
        self,
        config: DaemonConfig,
        reactor: Any,
        state: StateDir,
        root: IResource,
        *,
        guarded: bool,
        parts: Sequence[Service],
        on_bound: Callable[[Sequence[Bound]], None] = lambda _: None,
        announces: HttpAnnounces | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._state = state
        self.listening = Listening(
            reactor,
            config.listen,
            Site(root, reactor=reactor),
            guarded=guarded or config.insecure,
            on_bound=on_bound,
            announces=announces,
        )
        notifier = Notifier(self._status, os.environ, reactor)
        for child in (ending.Termination(reactor), *parts, self.listening, notifier):
            child.setServiceParent(self)

    def privilegedStartService(self) -> None:
        """Listen, or end the daemon; the only place where something may fail so late."""
        try:
            super().privilegedStartService()  # type: ignore[no-untyped-call]
        except SystemExit as end:
            ending.refuse(str(end.code))

    def startService(self) -> None:
        """Start everything."""
        gc.set_threshold(_COLLECT_AFTER)
        super().startService()  # type: ignore[no-untyped-call]

    def stopService(self) -> Deferred[Any]:
        """Stop everything; fires when all has stopped."""
        stopping = maybeDeferred(super().stopService)
        return stopping.addBoth(self._released)

    def _released(self, result: Any) -> Any:
        self._state.release()
        return result

    def _status(self) -> str:
        return "listening on " + ", ".join(bound.url for bound in self.listening.bound)
