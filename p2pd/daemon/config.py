"""The settings of both daemons: the fields of `TrackerConfig` and `NodeConfig` are the tables."""

# ruff: noqa: RUF009 - `setting` and its like return dataclass fields

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from p2pd import values
from p2pd.daemon.settings import Settings, setting
from p2pd.errors import Invalid
from p2pd.metainfo.ids import (
    NO_ZONE,
    Address,
    NodeId,
    Zone,
    parse_address,
    parse_node_id,
    parse_zone,
)


def _listen(default: str) -> Any:
    return setting(
        "Twisted endpoint to listen on, or auto: a free port of 48000-48999 on loopback"
        " (repeatable)",
        default=default,
        repeatable=True,
    )


def _state_dir(daemon: str) -> Any:
    return setting(
        "directory for what must survive a restart (default: $STATE_DIRECTORY,"
        f" or ~/.local/state/p2pd/{daemon})",
        values.path,
        otherwise=lambda _: default_state_dir(daemon, os.environ),
    )


def _zone_of_network(text: str) -> tuple[values.Network, Zone]:
    name, equals, addresses = text.partition("=")
    if not (name and equals):
        raise Invalid(f"{text!r} does not name a zone: write rack1=10.0.1.0/24")
    return values.network(addresses), parse_zone(name)


def default_state_dir(daemon: str, environ: Mapping[str, str]) -> Path:
    """Return where a daemon keeps its state: as systemd says, else as the XDG directories do."""
    if systemd := environ.get("STATE_DIRECTORY", "").partition(":")[0]:
        return Path(systemd)
    home = environ.get("XDG_STATE_HOME", "")
    base = Path(home) if Path(home).is_absolute() else values.path("~/.local/state")
    return base / "p2pd" / daemon


@dataclasses.dataclass(frozen=True, kw_only=True)
class DaemonConfig(Settings):
    """The settings that both daemons have; each gives its own default to the first two."""

    listen: tuple[str, ...]
    state_dir: Path
    origin_dir: Path | None = setting(
        "directory of files to fetch when no node has them", values.existing_directory
    )
    origin_url: str | None = setting(
        "HTTP server of files to fetch when no node has them", values.url
    )
    token_file: Path | None = setting(
        "file with the token that all daemons of a fleet share", values.path
    )
    insecure: bool = setting("listen off loopback even without a token file", values.flag, "no")

    def __post_init__(self) -> None:
        """Refuse settings that contradict each other."""
        if self.origin_dir and self.origin_url:
            raise Invalid("give origin-dir or origin-url, not both")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrackerConfig(DaemonConfig):
    """The tracker's settings; times in seconds."""

    daemon: ClassVar[str] = "tracker"

    listen: tuple[str, ...] = _listen("tcp:38080:interface=127.0.0.1")
    state_dir: Path = _state_dir("tracker")
    heartbeat_timeout: float = setting(
        "seconds of silence after which a node counts as gone", values.seconds, "10"
    )
    sweep_interval: float = setting(
        "seconds between two looks for silent nodes", values.seconds, "3"
    )
    udp: tuple[Address, ...] = setting(
        "HOST:PORT to answer BitTorrent clients at by UDP, like 0.0.0.0:6969 or [::]:6969"
        " (repeatable)",
        parse_address,
        repeatable=True,
    )
    announce_interval: float = setting(
        "seconds after which BitTorrent clients are to announce again, about",
        values.seconds,
        "1800",
    )
    peer_timeout: float = setting(
        "seconds of silence after which a BitTorrent client counts as gone (default: one and a"
        " half times announce-interval)",
        values.seconds,
        otherwise=lambda read: read["announce_interval"] * 1.5,
    )
    access: str = setting(
        "which torrents may be shared: whitelist (only those listed), blacklist (all but those"
        " listed) or open",
        values.choice("open", "whitelist", "blacklist"),
        "open",
    )
    require_keys: bool = setting(
        "answer only BitTorrent clients whose announce URL holds a key", values.flag, "no"
    )
    users: bool = setting(
        "answer only BitTorrent clients whose announce URL holds a user's passkey, and account"
        " what they send",
        values.flag,
        "no",
    )
    admin_token_file: Path = setting(
        "file with the token that the admin API asks for; made if there is none (default:"
        " admin-token in the state directory)",
        values.path,
        otherwise=lambda read: read["state_dir"] / "admin-token",
    )
    strict_auth: bool = setting(
        "answer 401 in the admin API where the token is missing or wrong, not 400 as its clients"
        " expect",
        values.flag,
        "no",
    )
    torrust_304: bool = setting(
        "answer 304 without a body in the admin API where its document says so, not 200 with the"
        " status text",
        values.flag,
        "no",
    )
    trusted_proxy: tuple[values.Network, ...] = setting(
        "network of proxies whose X-Forwarded-For and X-Real-IP are believed: they must set, or"
        " drop, both (repeatable)",
        values.network,
        repeatable=True,
    )
    trusted_ip: tuple[values.Network, ...] = setting(
        "network of clients whose ip= parameter is believed (repeatable)",
        values.network,
        repeatable=True,
    )
    zone_net: tuple[tuple[values.Network, Zone], ...] = setting(
        "where the BitTorrent clients of a network are, like rack1=10.0.1.0/24: those of one"
        " zone hear of each other first (repeatable)",
        _zone_of_network,
        repeatable=True,
    )
    write_behind: float = setting(
        "seconds for which changes wait to be written to disk together", values.seconds, "1"
    )
    snapshot_interval: float = setting(
        "seconds between two snapshots of the swarms, which a restart begins with",
        values.seconds,
        "300",
    )
    compiled: bool = setting(
        "answer announces by compiled code, if it was built", values.flag, "yes"
    )

    def __post_init__(self) -> None:
        """Refuse settings by which clients would be forgotten before they come again."""
        super().__post_init__()
        if self.peer_timeout < 1.2 * self.announce_interval:  # as late as they are told to come
            raise Invalid("peer-timeout must be at least 1.2 times announce-interval")


@dataclasses.dataclass(frozen=True, kw_only=True)
class NodeConfig(DaemonConfig):
    """The node's settings; times in seconds, rates in bytes a second (0: no limit)."""

    daemon: ClassVar[str] = "node"

    listen: tuple[str, ...] = _listen("auto")
    state_dir: Path = _state_dir("node")
    tracker: tuple[str, ...] = setting(
        "URL of a tracker, like http://tracker.example:38080 (repeatable)",
        values.url,
        repeatable=True,
    )
    peer_ca: Path | None = setting(
        "PEM file of the CA that signed the certificates of all nodes and https trackers: nodes"
        " then talk TLS to each other",
        values.path,
    )
    advertise: Address | None = setting(
        "HOST:PORT at which other nodes reach this one (default: the first listening address)",
        parse_address,
    )
    node_id: NodeId | None = setting(
        "name of this node (default: made once, kept in the state directory)", parse_node_id
    )
    zone: Zone = setting(
        "name of where this node is, such as a rack: nodes of one zone serve each other first",
        parse_zone,
        otherwise=lambda _: NO_ZONE,
    )
    download_dir: Path = setting(
        "directory for finished files (default: downloads in the state directory)",
        values.path,
        otherwise=lambda read: read["state_dir"] / "downloads",
    )
    control_token_file: Path | None = setting(
        "file with the tokens of those who may use this node, one a line, each with its role:"
        " reader, operator or admin (an admin's if none is given); it closes the node to everyone"
        " else",
        values.path,
    )
    cors_origin: tuple[str, ...] = setting(
        "origin whose web pages may use this node, like https://ui.example (repeatable)",
        values.origin,
        repeatable=True,
    )
    allow_root: tuple[Path, ...] = setting(
        "directory in which downloads may go, and file: sources lie, beside download-dir"
        " (repeatable)",
        values.path,
        repeatable=True,
    )
    allow_source_net: tuple[values.Network, ...] = setting(
        "network of loopback or private addresses from which sources may come, like 10.0.0.0/8"
        " (repeatable)",
        values.network,
        repeatable=True,
    )
    parallel: int = setting("requests for pieces at the same time, in all", values.count, "8")
    max_upload_rate: int = setting(
        "bytes to send in a second, like 10M or 64KiB; 0: no limit", values.size, "0"
    )
    max_download_rate: int = setting(
        "bytes to receive in a second, like 10M or 64KiB; 0: no limit", values.size, "0"
    )
    max_active_downloads: int = setting(
        "downloads at the same time, the others wait; 0: no limit", values.whole, "20"
    )
    max_active_seeds: int = setting(
        "complete downloads served at the same time, the others wait; 0: no limit",
        values.whole,
        "0",
    )
    seeding_ratio: float | None = setting(
        "stop serving what is complete once so many times its size was sent (default: never)",
        values.number,
    )
    seeding_time: float | None = setting(
        "stop serving what is complete after so many seconds (default: never)", values.number
    )
    least_free: int = setting(
        "bytes to leave free on the disk of a download, like 1GiB", values.size, "64MiB"
    )
    log_lines: int = setting("lines of a download's log that APIs show", values.count, "10")
    heartbeat_interval: float = setting(
        "seconds between two heart beats to the tracker", values.seconds, "3"
    )
