"""Composes the node that `twistd p2p-node` runs."""

# ruff: noqa: PLC0415 - whatever imports klein installs the reactor, which is twistd's to choose

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from twisted.application.service import IService
from twisted.web.iweb import IPolicyForHTTPS

from p2pd.daemon import addresses, ending
from p2pd.daemon.addresses import Bound
from p2pd.daemon.config import NodeConfig
from p2pd.daemon.settings import DaemonOptions
from p2pd.errors import Refusal
from p2pd.metainfo.ids import Address, NodeId, new_node_id, parse_node_id
from p2pd.node.events import Kind
from p2pd.store.node_tables import MIGRATIONS
from p2pd.store.sqlite import Database
from p2pd.swarm.uploads import Uploads

_FAREWELL = 0.2  # seconds, in which who asked for the end, and who listens, hear of it


class Options(DaemonOptions):
    """The node's command line."""

    kind = NodeConfig
    config: NodeConfig
    longdesc = "Fetches and shares files, piece by piece, with the other nodes of a fleet."


def makeService(options: Options) -> IService:
    """Compose the node, its store, its links and its HTTP APIs."""
    from twisted.internet import reactor

    from p2pd.daemon import composition, node_parts
    from p2pd.frontends.control import Control
    from p2pd.frontends.mount import node_root
    from p2pd.frontends.sending import Uplink

    config = options.config
    authority = _authority(config)
    token = composition.read_token(config)
    control_tokens = composition.read_control_tokens(config.control_token_file)
    state = composition.StateDir(config.state_dir)
    database_path = state.path / "node.sqlite3"
    database = Database(database_path, MIGRATIONS, reactor=reactor)
    accounts = node_parts.make_accounts(reactor, database, state.secret("login-secret"))
    gate = composition.make_gate(
        config,
        token,
        control=control_tokens,
        login=accounts.role_of,
        origins=config.cors_origin,
    )
    parts = node_parts.NodeParts(
        reactor,
        config,
        database,
        node_id=config.node_id or kept_node_id(state.path / "node-id"),
        boot=boot_id(),
        token=token,
        authority=authority,
    )
    downloads = parts.downloads

    def on_bound(listeners: Sequence[Bound]) -> None:
        parts.loopback_only = all(map(addresses.is_loopback, listeners))
        if config.peer_ca:
            listeners = [bound for bound in listeners if bound.tls]
        downloads.node.address = config.advertise or _advertised(listeners, config.tracker)

    def shutdown() -> None:
        downloads.events.publish(Kind.SHUTDOWN)
        reactor.callLater(_FAREWELL, ending.stop, reactor)

    control = Control(downloads, accounts, shutdown, str(database_path))
    return composition.Daemon(
        config,
        reactor,
        state,
        node_root(control, gate, Uplink(downloads.node.uplink, Uploads())),
        guarded=token is not None,
        parts=[composition.OnDatabase(database, downloads, reactor, first=accounts.load)],
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
