"""What the tracker counts, for Prometheus (`/metrics`) and as JSON (`/stats`).

Both say it in the words of Torrust-Actix, so that its dashboards and scripts work; for Prometheus
also in p2pd's own.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import cast

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    Metric,
    UnknownMetricFamily,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector
from twisted.web.resource import IResource, Resource
from twisted.web.server import Request

from p2pd.frontends import json_text
from p2pd.frontends.admin_dialect import make_api
from p2pd.frontends.authorisation import Policy
from p2pd.frontends.kit import Reply
from p2pd.tracker.administration import Counts
from p2pd.tracker.announcing import Tally

_THEIRS = "torrust_actix"
_TALLIED = {
    "connections": "Connections accepted, or connection ids handed out",
    "announces": "Announces answered",
    "scrapes": "Scrapes answered",
    "failures": "Requests answered with a failure reason",
    "malformed": "Requests and packets dropped without an answer",
}


@dataclass(slots=True)
class Visits:
    """Requests that came to the site from clients of one address family."""

    handled: int = 0
    not_found: int = 0


@dataclass(frozen=True, slots=True)
class Figures:
    """Where all the numbers come from; `doors` are "http" and "udp", IPv4 before IPv6."""

    counts: Callable[[], Counts]
    nodes: Callable[[], int]
    doors: Mapping[str, Callable[[], tuple[Tally, Tally]]]
    enabled: Mapping[str, bool]
    """Which of "whitelist", "blacklist", "keys" and "users" govern who may announce."""
    started: float
    """When the daemon started, in Unix seconds."""
    visits: tuple[Visits, Visits] = field(default_factory=lambda: (Visits(), Visits()))


class Counted(Resource):
    """Passes requests on to the root of a site, and counts them."""

    def __init__(self, root: IResource, visits: tuple[Visits, Visits]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._root = root
        self._visits = visits

    def getChildWithDefault(self, path: bytes, request: Request) -> IResource:
        """Count the request now, and once more when it is answered and nothing was found."""
        host = getattr(request.getClientAddress(), "host", "")
        visits = self._visits[":" in host and not host.startswith("::ffff:")]
        visits.handled += 1

        def answered(_: object) -> None:
            visits.not_found += request.code == 404

        request.notifyFinish().addBoth(answered)
        return cast("IResource", self._root.getChildWithDefault(path, request))


def stats(figures: Figures) -> dict[str, int]:
    """Return what there is now, by Torrust-Actix's names."""
    counts = figures.counts()
    return {
        "torrents": counts.torrents,
        "users": counts.users,
        "seeds": counts.seeds,
        "peers": counts.leeches,
        "completed": counts.completed,
        "whitelist": counts.whitelist,
        "blacklist": counts.blacklist,
        "keys": counts.keys,
    }


def counters(figures: Figures) -> dict[str, int]:
    """Return what has happened since the start, by Torrust-Actix's names."""
    counted: dict[str, int] = {}
    for family, tally, visits in zip("46", figures.doors["http"](), figures.visits, strict=True):
        counted |= {
            f"tcp{family}_not_found": visits.not_found,
            f"tcp{family}_failure": tally.failures,
            f"tcp{family}_connections_handled": tally.connections,
            f"tcp{family}_api_handled": visits.handled,
            f"tcp{family}_announces_handled": tally.announces,
            f"tcp{family}_scrapes_handled": tally.scrapes,
        }
    for family, tally in zip("46", figures.doors["udp"](), strict=True):
        counted |= {
            f"udp{family}_bad_request": tally.malformed,
            f"udp{family}_invalid_request": tally.failures,
            f"udp{family}_connections_handled": tally.connections,
            f"udp{family}_announces_handled": tally.announces,
            f"udp{family}_scrapes_handled": tally.scrapes,
        }
    return counted


class Metrics:
    """The numbers of one tracker, with those of its process."""

    def __init__(self, figures: Figures) -> None:
        self.figures = figures
        self._registry = CollectorRegistry()
        self._registry.register(_Measuring(figures))
        ProcessCollector(registry=self._registry)

    def text(self) -> bytes:
        """Return all numbers in Prometheus's text format."""
        return generate_latest(self._registry)


class _Measuring(Collector):
    """Reads the figures when Prometheus asks, so that nothing is counted twice."""

    def __init__(self, figures: Figures) -> None:
        self._figures = figures

    def collect(self) -> Iterator[Metric]:
        yield from self._in_their_words()
        yield from self._in_ours()
        yield from self._of_doors()

    def _in_their_words(self) -> Iterator[Metric]:
        now = stats(self._figures)
        yield _gauge(f"{_THEIRS}_torrents_total", "Torrents known", now["torrents"])
        yield _gauge(f"{_THEIRS}_peers_total", "Clients in swarms", now["seeds"] + now["peers"])
        present = GaugeMetricFamily(f"{_THEIRS}_gauge", "What there is now", labels=["metric"])
        # Their counters lack the ending that the library gives to counters.
        past = UnknownMetricFamily(
            f"{_THEIRS}_counter", "What happened since the start", labels=["metric"]
        )
        for family, numbers in ((present, now), (past, counters(self._figures))):
            for name, number in numbers.items():
                family.add_metric([name], number)
            yield family

    def _in_ours(self) -> Iterator[Metric]:
        counts = self._figures.counts()
        yield _gauge("p2pd_nodes", "Fleet nodes alive", self._figures.nodes())
        yield _gauge("p2pd_torrents", "Torrents with clients or a count", counts.torrents)
        peers = GaugeMetricFamily("p2pd_peers", "Clients in swarms", labels=["kind"])
        peers.add_metric(["seed"], counts.seeds)
        peers.add_metric(["leech"], counts.leeches)
        yield peers
        yield _gauge("p2pd_completed", "Completed downloads of known torrents", counts.completed)
        listed = GaugeMetricFamily("p2pd_listed", "Torrents on the lists", labels=["list"])
        listed.add_metric(["whitelist"], counts.whitelist)
        listed.add_metric(["blacklist"], counts.blacklist)
        yield listed
        yield _gauge("p2pd_keys", "Keys to announce with", counts.keys)
        yield _gauge("p2pd_users", "Users with a passkey", counts.users)

    def _of_doors(self) -> Iterator[Metric]:
        tallies = [
            ([door, family], tally)
            for door, both in self._figures.doors.items()
            for family, tally in zip(("ipv4", "ipv6"), both(), strict=True)
        ]
        for what, explanation in _TALLIED.items():
            counter = CounterMetricFamily(f"p2pd_{what}", explanation, labels=["door", "family"])
            for labels, tally in tallies:
                counter.add_metric(labels, getattr(tally, what))
            yield counter


def _gauge(name: str, explanation: str, value: float) -> Metric:
    return GaugeMetricFamily(name, explanation, value=value)


metrics_api = make_api("/metrics")
stats_api = make_api("/stats")


@metrics_api.route("", policy=Policy.ADMIN)
async def metrics(metrics: Metrics, _request: Request) -> Reply:
    """Tell all numbers in Prometheus's text format."""
    return Reply(metrics.text(), CONTENT_TYPE_LATEST.encode())


@stats_api.route("", policy=Policy.ADMIN)
@stats_api.route(".json", policy=Policy.ADMIN)
async def all_stats(metrics: Metrics, _request: Request) -> Reply:
    """Tell the numbers, and which lists and credentials govern announces, as one JSON object."""
    figures = metrics.figures
    enabled = {f"{name}_enabled": is_on for name, is_on in figures.enabled.items()}
    told = {"started": int(figures.started), **stats(figures), **enabled, **counters(figures)}
    return Reply(json_text.write(told))
