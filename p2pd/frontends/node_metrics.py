"""What a node counts, for Prometheus (`/metrics`).

It is said in p2pd's own words, and in those of Porla as far as they are true here, so that its
dashboards work.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from prometheus_client import ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    Metric,
    UnknownMetricFamily,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector
from twisted.internet.task import deferLater
from twisted.web.server import Request

from p2pd.frontends import fleet
from p2pd.frontends.authorisation import Policy
from p2pd.frontends.control import Control
from p2pd.frontends.jsonrpc_methods import SESSION
from p2pd.frontends.jsonrpc_rows import FIELDS, Row
from p2pd.frontends.kit import Api, Reply
from p2pd.node.download_views import Counters, DownloadView, Space, Statistics
from p2pd.node.downloads import Downloads

_KINDS = ("downloading", "seeding", "paused", "finished", "queued", "checking", "failed")
_LABELS = ("infohash", "name")

_Facts = Mapping[str, tuple[str, Callable[[DownloadView], float]]]

_GAUGES: _Facts = {
    "wanted_bytes": ("Bytes of the files that are wanted", lambda view: view.wanted),
    "left_bytes": ("Bytes that are wanted and not here", lambda view: view.left),
    "progress_ratio": ("The part of what it does now, 0 to 1", lambda view: view.progress),
    "receive_bytes_per_second": ("How fast it comes", lambda view: view.speed_down),
    "transmit_bytes_per_second": ("How fast it goes", lambda view: view.speed_up),
    "peers": ("Nodes that it is linked with", lambda view: view.connected_peers),
    "copies": ("Whole copies in sight", lambda view: view.availability),
}
_COUNTERS: _Facts = {
    "receive_bytes": ("Bytes that came, of all time", lambda view: view.downloaded),
    "transmit_bytes": ("Bytes that went, of all time", lambda view: view.uploaded),
}

# By their names; the first are counters there, though the library would give those an ending.
_THEIR_COUNTERS = (
    "active_duration",
    "all_time_download",
    "all_time_upload",
    "finished_duration",
    "seeding_duration",
    "total",
    "total_done",
)
_THEIR_GAUGES = (
    "download_rate",
    "list_peers",
    "list_seeds",
    "num_peers",
    "num_seeds",
    "queue_position",
    "state",
    "upload_rate",
)
_THEIR_OTHERS: Mapping[str, Callable[[Row], Any]] = {
    "added_time": lambda row: int(row.view.added),
    "completed_time": lambda row: int(row.view.finished or 0),
    "num_pieces": lambda row: row.view.pieces_held,
    "progress_ppm": lambda row: int(row.view.progress * 1_000_000),
    "total_download": lambda row: row.view.session_downloaded,
    "total_upload": lambda row: row.view.session_uploaded,
    "total_wanted": lambda row: row.view.wanted,
    "total_wanted_done": lambda row: row.view.wanted_done,
}

api = Api(fleet.error, "/metrics")


@api.route("", policy=Policy.READ)
async def metrics(control: Control, _request: Request) -> Reply:
    """Tell all numbers in Prometheus's text format."""
    return Reply(await text(control.downloads), CONTENT_TYPE_LATEST.encode())


async def text(downloads: Downloads) -> bytes:
    """Return the numbers of a node and its downloads, with those of its process."""
    statistics, space = await downloads.statistics(), await downloads.space()
    now = downloads.node.now()
    rows = [Row(downloads.view(job), bool(job.moving_to), now) for job in downloads.jobs()]
    parts = []
    for metric in _Measured(downloads.counters(), statistics, space, rows).collect():
        parts.append(generate_latest(_Alone(metric)))
        await deferLater(downloads.node.uplink.clock, 0)  # others have their turn
    return b"".join(parts)


class _Alone(Collector):
    """One metric, to be written by itself."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric

    def collect(self) -> Iterator[Metric]:
        yield self._metric


class _Measured:
    def __init__(
        self, counters: Counters, statistics: Statistics, space: Space, rows: list[Row]
    ) -> None:
        self._counters = counters
        self._statistics = statistics
        self._space = space
        self._rows = rows

    def collect(self) -> Iterator[Metric]:
        yield from self._of_node()
        yield from _of_downloads([row.view for row in self._rows])
        yield from self._in_their_words()
        yield from _of_torrents(self._rows)
        yield from ProcessCollector(registry=None).collect()

    def _of_node(self) -> Iterator[Metric]:
        node = self._statistics
        kinds = GaugeMetricFamily("p2pd_downloads", "Downloads by what they do", labels=["kind"])
        for kind in _KINDS:
            kinds.add_metric([kind], getattr(self._counters, kind))
        yield kinds
        yield _counter("p2pd_receive_bytes", "Bytes that came", node.downloaded)
        yield _counter("p2pd_transmit_bytes", "Bytes that went", node.uploaded)
        yield _gauge("p2pd_peers", "Nodes that downloads are linked with", node.peers)
        yield _gauge("p2pd_free_bytes", "Room where downloads go", self._space.free)
        yield _gauge("p2pd_capacity_bytes", "Size of where downloads go", self._space.capacity)
        yield _gauge("p2pd_database_bytes", "Size of the database", node.database_bytes)
        yield _gauge("p2pd_uptime_seconds", "Time since the node's start", node.uptime)

    def _in_their_words(self) -> Iterator[Metric]:
        counters = self._counters
        numbers = {
            "net_recv_payload_bytes": self._statistics.session_downloaded,
            "net_sent_payload_bytes": self._statistics.session_uploaded,
            "peer_num_peers_connected": self._statistics.peers,
            "ses_num_checking_torrents": counters.checking,
            "ses_num_downloading_torrents": counters.downloading,
            "ses_num_error_torrents": counters.failed,
            "ses_num_queued_download_torrents": counters.queued,
            "ses_num_seeding_torrents": counters.seeding,
            "ses_num_stopped_torrents": counters.paused + counters.finished,
        }
        for name, number in numbers.items():
            family = UnknownMetricFamily(f"libtorrent_{name}", name, labels=["session"])
            family.add_metric([SESSION], number)
            yield family


def _of_downloads(views: Iterable[DownloadView]) -> Iterator[Metric]:
    labelled = [((view.id, view.name), view) for view in views]
    kinds: tuple[tuple[_Facts, Any], ...] = (
        (_GAUGES, GaugeMetricFamily),
        (_COUNTERS, CounterMetricFamily),
    )
    for facts, kind in kinds:
        for name, (explanation, value) in facts.items():
            family = kind(f"p2pd_download_{name}", explanation, labels=_LABELS)
            for labels, view in labelled:
                family.add_metric(labels, value(view))
            yield family


def _of_torrents(rows: list[Row]) -> Iterator[Metric]:
    """Porla's lines, with the infohash beside the name, which need not be the only one."""
    named = {name: FIELDS[name] for name in (*_THEIR_COUNTERS, *_THEIR_GAUGES)}
    values: dict[str, Callable[[Row], Any]] = {**named, **_THEIR_OTHERS}
    for name, value in sorted(values.items()):
        kind = GaugeMetricFamily if name in _THEIR_GAUGES else UnknownMetricFamily
        family = kind(f"porla_torrent_status_{name}", name, labels=("session", *_LABELS))
        for row in rows:
            labels = [SESSION, row.view.id, row.view.name]
            family.add_metric(labels, value(row), timestamp=row.now)
        yield family


def _gauge(name: str, explanation: str, value: float) -> Metric:
    return GaugeMetricFamily(name, explanation, value=value)


def _counter(name: str, explanation: str, value: float) -> Metric:
    return CounterMetricFamily(name, explanation, value=value)
