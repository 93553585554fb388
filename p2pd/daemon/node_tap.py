"""Composes the node that `twistd p2p-node` runs."""

# ruff: noqa: PLC0415 - whatever imports klein installs the reactor, which is twistd's to choose

import dataclasses
import random
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from twisted.application.service import IService
from twisted.web.iweb import IPolicyForHTTPS

from p2pd.daemon import addresses
from p2pd.daemon.addresses import Bound
from p2pd.daemon.config import NodeConfig
from p2pd.daemon.settings import DaemonOptions
from p2pd.errors import Refusal
from p2pd.metainfo.ids import Address, NodeId, new_node_id, parse_node_id
from p2pd.node.node import Node
from p2pd.node.throttle import Throttle
from p2pd.node.transfers import Surroundings
from p2pd.store.files import FileStore
from p2pd.store.node_tables import MIGRATIONS, SqliteResumeTable
from p2pd.store.sqlite import Database
from p2pd.swarm.uploads import Uploads


class Options(DaemonOptions):
    """The node's command line."""

    kind = NodeConfig
    config: NodeConfig
    longdesc = "Fetches and shares files, piece by piece, with the other nodes of a fleet."


def makeService(options: Options) -> IService:
    """Compose the node, its store, its links and its HTTP APIs."""
    from twisted.internet import reactor
    from twisted.internet.threads import deferToThread

    from p2pd.daemon import composition
    from p2pd.frontends.mount import node_root
    from p2pd.frontends.sending import Uplink
    from p2pd.links.agent import make_agent, make_client
    from p2pd.links.dialer import HttpDialer
    from p2pd.links.http import Caller
    from p2pd.links.http_tracker import HttpTracker

    config = options.config
    authority = _authority(config)
    token = composition.read_token(config)
    gate = composition.make_gate(config, token)
    state = composition.StateDir(config.state_dir)
    database = Database(state.path / "node.sqlite3", MIGRATIONS, reactor=reactor)
    node_id = config.node_id or kept_node_id(state.path / "node-id")
    uplink = Throttle(reactor, config.max_upload_rate)
    downlink = Throttle(reactor, config.max_download_rate)
    agent = make_agent(reactor, connections=config.parallel, policy=authority)
    caller = Caller(
        make_client(agent),
        reactor,
        node_id,
        downlink,
        token,
        deferToThread,
        agent,
    )
    origin_url = config.origin_dir.as_uri() if config.origin_dir else ""
    surroundings = Surroundings(
        clock=reactor,
        rng=random.Random(),  # noqa: S311 - for choices, not for secrets
        store=FileStore(config.download_dir, deferToThread),
        table=SqliteResumeTable(database),
        dialer=HttpDialer(
            caller,
            tls=authority is not None,
            outside=dataclasses.replace(
                caller,
                client=make_client(make_agent(reactor, connections=config.parallel)),
                agent=None,
            ),
            zone=config.zone,
            trackers=config.tracker,
            origin_dir=config.origin_dir,
            threads=deferToThread,
        ),
        boot=boot_id(),
        origin=composition.make_origin(config, reactor, base_url=origin_url),
        threads=deferToThread,
        uplink=uplink,
        downlink=downlink,
    )
    node = Node(
        surroundings,
        node_id=node_id,
        trackers=[HttpTracker(url, caller) for url in config.tracker],
        parallel=config.parallel,
        heartbeat_interval=config.heartbeat_interval,
        zone=config.zone,
    )

    def on_bound(listeners: Sequence[Bound]) -> None:
        if config.peer_ca:
            listeners = [bound for bound in listeners if bound.tls]
        node.address = config.advertise or _advertised(listeners, config.tracker)

    return composition.Daemon(
        config,
        reactor,
        state,
        node_root(node, gate, Uplink(uplink, Uploads())),
        guarded=token is not None,
        parts=[composition.OnDatabase(database, node, reactor)],
        on_bound=on_bound,
    )


def _authority(config: NodeConfig) -> IPolicyForHTTPS | None:
    """Return whom to believe of nodes and trackers; None where nodes do not talk TLS."""
    from p2pd.links.tls import read_authority

    if config.peer_ca is None:
        return None
    if not any(endpoint.startswith("ssl:") for endpoint in config.listen):
        raise SystemExit(
            "with --peer-ca other nodes call this one by TLS: give it an endpoint for that, like"
            " --listen ssl:48000:privateKey=KEY.pem:certKey=CERTIFICATE.pem"
        )
    try:
        return read_authority(config.peer_ca.read_bytes())
    except OSError as error:
        raise SystemExit(f"cannot read --peer-ca {config.peer_ca}: {error.strerror}") from None
    except Refusal as refusal:
        raise SystemExit(f"--peer-ca {config.peer_ca} is of no use: {refusal.reason}") from None


def _advertised(listeners: Sequence[Bound], trackers: Sequence[str]) -> Address:
    towards = [host for url in trackers if (host := urlsplit(url).hostname)]
    try:
        return addresses.advertised(listeners, *towards[:1])
    except Refusal as refusal:
        raise SystemExit(refusal.reason) from None


def kept_node_id(path: Path) -> NodeId:
    """The node's name, made at its first start and kept in a file."""
    try:
        if not path.exists():
            path.write_text(f"{new_node_id()}\n", encoding="ascii")
        return parse_node_id(path.read_text(encoding="ascii", errors="replace").strip())
    except OSError as error:
        raise SystemExit(f"cannot keep the node's id in {path}: {error.strerror}") from None
    except Refusal as refusal:
        raise SystemExit(f"{path}: {refusal.reason}, or delete the file") from None


def boot_id() -> str:
    """What names this run of the machine; empty where the system does not tell."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""
