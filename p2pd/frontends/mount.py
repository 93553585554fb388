"""Which frontend stands at which path of a daemon."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from twisted.internet.interfaces import IReactorTime
from twisted.web.resource import IResource

from p2pd.frontends import (
    fleet,
    fleet_node,
    fleet_tracker,
    jsonrpc,
    node_metrics,
    pieces,
    tasks,
    tasks_config,
)
from p2pd.frontends.admin import admin_apis
from p2pd.frontends.admin_dialect import Admin
from p2pd.frontends.announce_resource import AnnounceResource
from p2pd.frontends.authorisation import Gate
from p2pd.frontends.control import Control
from p2pd.frontends.downloads import downloads_apis
from p2pd.frontends.kit import application
from p2pd.frontends.metrics import Counted, Figures
from p2pd.frontends.origin_files import OriginFiles
from p2pd.frontends.root import RawResource, Root
from p2pd.frontends.sending import Uplink
from p2pd.frontends.sources import Sources
from p2pd.tracker.administration import Administration
from p2pd.tracker.announcing import Announcing, Tally
from p2pd.tracker.persistence import Persistence
from p2pd.tracker.tracker import Tracker

Tallies = Callable[[], tuple[Tally, Tally]]


@dataclass(frozen=True)
class Parts:
    """What a tracker is made of; `tallies` are those of the doors "http" and "udp"."""

    tracker: Tracker
    announcing: Announcing
    persistence: Persistence
    sources: Sources
    tallies: Mapping[str, Tallies]
    started: float
    """When, in Unix seconds."""
    clock: IReactorTime
    origin_dir: Path | None = None
    literal_304: bool = False


def tracker_root(parts: Parts, gate: Gate) -> IResource:
    """Everything that a tracker serves, beside what its doors answer themselves."""
    announcing, access = parts.announcing, parts.announcing.access
    announces = AnnounceResource(announcing, parts.sources)
    administration = Administration(announcing.table, access, loaded=lambda: announcing.open)
    figures = Figures(
        counts=administration.counts,
        nodes=parts.tracker.count_nodes,
        doors={
            "http": lambda: _sum(parts.tallies["http"](), announces.tallies()),
            "udp": parts.tallies["udp"],
        },
        enabled=access.enabled(),
        started=parts.started,
    )
    apis = [
        (fleet_tracker.api, parts.tracker),
        (fleet_tracker.top, parts.tracker),
        *admin_apis(
            Admin(administration, parts.clock, parts.literal_304), parts.persistence, figures
        ),
    ]
    raw: dict[bytes, RawResource] = {b"announce": announces, b"scrape": announces}
    if parts.origin_dir:
        raw[b"origin"] = OriginFiles(parts.origin_dir, fleet.error)
    root = Root(gate, fleet.error, application(gate, apis), raw, roaming=announces)
    return Counted(root, figures.visits)


def _sum(some: tuple[Tally, Tally], more: tuple[Tally, Tally]) -> tuple[Tally, Tally]:
    return some[0] + more[0], some[1] + more[1]


def node_root(control: Control, gate: Gate, uplink: Uplink) -> IResource:
    """Everything that a node serves."""
    node = control.downloads.node
    apis = [
        (fleet_node.api, node),
        (fleet_node.top, node),
        *downloads_apis(control, uplink),
        (tasks.api, control),
        (tasks_config.api, control),
        *jsonrpc.apis(control, gate),
        (node_metrics.api, control),
    ]
    raw: dict[bytes, RawResource] = {
        b"pieces": pieces.Pieces(node, uplink),
        b"files": pieces.Files(node, uplink),
        b"metainfo": pieces.Metainfo(node, uplink),
        b"swarms": pieces.Swarms(node, uplink),
    }
    return Root(gate, fleet.error, application(gate, apis), raw)
