"""Composes the tracker that `twistd p2p-tracker` runs."""

# ruff: noqa: PLC0415 - whatever imports klein installs the reactor, which is twistd's to choose

from twisted.application.service import IService

from p2pd.daemon.config import DaemonOptions, TrackerConfig
from p2pd.store.sqlite import Database
from p2pd.store.tracker_tables import MIGRATIONS, SqliteCatalog
from p2pd.tracker.tracker import Tracker


class Options(DaemonOptions):
    """The tracker's command line."""

    kind = TrackerConfig
    config: TrackerConfig
    longdesc = "Tells the nodes of a fleet who has which pieces of which files."


def makeService(options: Options) -> IService:
    """Compose the tracker, its catalog, its HTTP API and its origin."""
    from twisted.internet import reactor
    from twisted.internet.threads import deferToThread

    from p2pd.daemon import composition
    from p2pd.frontends import fleet, fleet_tracker, kit
    from p2pd.frontends.origin_files import OriginFiles

    config = options.config
    token = composition.read_token(config)
    gate = composition.make_gate(config, token)
    state = composition.StateDir(config.state_dir)
    database = Database(state.path / "tracker.sqlite3", MIGRATIONS, reactor=reactor)
    tracker = Tracker(
        reactor,
        SqliteCatalog(database),
        heartbeat_timeout=config.heartbeat_timeout,
        sweep_interval=config.sweep_interval,
        origin=composition.make_origin(config, reactor, base_url="origin"),
        threads=deferToThread,
    )
    raw = {b"origin": OriginFiles(config.origin_dir, fleet.error)} if config.origin_dir else {}
    apis = [(fleet_tracker.api, tracker), (fleet_tracker.top, tracker)]
    return composition.Daemon(
        config,
        reactor,
        state,
        kit.Root(gate, fleet.error, kit.application(gate, apis), raw),
        guarded=token is not None,
        parts=[composition.OnDatabase(database, tracker, reactor)],
    )
