"""Composes the tracker that `twistd p2p-tracker` runs."""

# ruff: noqa: PLC0415 - whatever imports klein installs the reactor, which is twistd's to choose

import gc
import random
import time
from typing import Any, cast

from twisted.application.service import IService, MultiService
from twisted.internet.defer import CancelledError
from twisted.logger import Logger
from twisted.python.failure import Failure

from p2pd.daemon import ending, twins
from p2pd.daemon.announce_doors import HttpAnnounces, UdpAnnounces
from p2pd.daemon.config import TrackerConfig
from p2pd.daemon.settings import DaemonOptions
from p2pd.store.admin_tables import SqliteAdminTables
from p2pd.store.snapshot import SnapshotFile
from p2pd.store.sqlite import Database
from p2pd.store.tracker_tables import MIGRATIONS, SqliteCatalog
from p2pd.tracker.access import Access, Mode
from p2pd.tracker.announcing import Announcing
from p2pd.tracker.persistence import Persistence
from p2pd.tracker.tracker import Tracker
from p2pd.tracker.zones import Zones

_log = Logger()


class Options(DaemonOptions):
    """The tracker's command line."""

    kind = TrackerConfig
    config: TrackerConfig
    longdesc = (
        "Tells the nodes of a fleet, and BitTorrent clients, who has which pieces of which files."
    )


def makeService(options: Options) -> IService:
    """Compose the tracker, its tables, its APIs, its doors for announces, and its origin."""
    from twisted.internet import reactor
    from twisted.internet.threads import deferToThread

    from p2pd.daemon import composition
    from p2pd.frontends.mount import Parts, tracker_root
    from p2pd.frontends.sources import Sources

    config = options.config
    token = composition.read_token(config)
    state = composition.StateDir(config.state_dir)
    gate = composition.make_gate(
        config,
        token,
        admin_token=composition.make_admin_token(config.admin_token_file),
        strict=config.strict_auth,
    )
    clock = cast("Any", reactor)
    database = Database(state.path / "tracker.sqlite3", MIGRATIONS, reactor=reactor)
    twin = twins.choose(compiled=config.compiled)
    announcing = _announcing(config, clock, twin)
    sources = Sources(config.trusted_proxy, config.trusted_ip)
    http = HttpAnnounces(
        reactor,
        lambda hand_over: twin.http_door(announcing, sources, hand_over, clock=time.monotonic),
    )
    # Kept, so that connection ids hold over a restart: clients use one for up to two minutes.
    secret = state.secret("udp-secret")
    udp_door = twin.udp_door(announcing, clock=time.monotonic, secret=secret)
    tracker = Tracker(
        clock,
        SqliteCatalog(database),
        clients=announcing.table,
        access=announcing.access,
        admitting=lambda: announcing.open,
        heartbeat_timeout=config.heartbeat_timeout,
        sweep_interval=config.sweep_interval,
        origin=composition.make_origin(config, reactor, base_url="origin"),
        threads=deferToThread,
    )
    persistence = Persistence(
        clock,
        announcing,
        SqliteAdminTables(database),
        SnapshotFile(state.path / "swarms", deferToThread),
        lifetime=config.peer_timeout,
        write_behind=config.write_behind,
        snapshot_interval=config.snapshot_interval,
    )
    persistence.loaded.addCallbacks(_settle, _not_loaded, errbackArgs=(reactor,))
    stored = MultiService()
    for service in (tracker, persistence):
        cast("Any", service).setServiceParent(stored)
    parts = Parts(
        tracker,
        announcing,
        persistence,
        sources,
        {"http": http.door.tallies, "udp": udp_door.tallies},
        started=clock.seconds(),
        clock=clock,
        origin_dir=config.origin_dir,
        literal_304=config.torrust_304,
    )
    return composition.Daemon(
        config,
        reactor,
        state,
        tracker_root(parts, gate),
        guarded=token is not None,
        parts=[
            composition.OnDatabase(database, stored, reactor),
            http,
            UdpAnnounces(reactor, config.udp, udp_door),
        ],
        announces=http,
    )


def _announcing(config: TrackerConfig, clock: Any, twin: twins.Twin) -> Announcing:
    """Compose what an announce means, with its peer table and its access policy."""
    _log.info("{words}", words=twin.words)
    return Announcing(
        twin.table(lifetime=config.peer_timeout, now=clock.seconds(), rng=random.SystemRandom()),
        Access(
            mode=cast("Mode", config.access),
            require_keys=config.require_keys,
            users=config.users,
            clock=clock.seconds,
            patience=2 * config.peer_timeout,
        ),
        interval=round(config.announce_interval),
        zones=Zones(config.zone_net) if config.zone_net else None,
    )


def _not_loaded(failure: Failure, reactor: Any) -> None:
    """End the daemon: it would not know whom to refuse, and overwrite what it did not read."""
    if not failure.check(CancelledError):
        ending.fail(reactor, f"cannot load the tracker's tables: {failure.getErrorMessage()}")


def _settle(_: object) -> None:
    """Keep what was loaded, which stays, out of the garbage collector's way."""
    gc.collect()
    gc.freeze()
