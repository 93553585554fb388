"""What a simulation showed, in figures."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from p2pd.sim.network import Host
from p2pd.sim.scenario import Scenario

PERCENTILES = (1, 10, 25, 50, 75, 90, 99, 100)


@dataclass(slots=True)
class Download:
    """What one node was to do; times in seconds after the first downloads began."""

    host: Host
    limit: float
    """What its link can bring, in bytes per second."""
    began: float
    straggles: bool = False
    ended: float | None = None
    died: bool = False
    error: str = ""

    def share(self, size: int) -> float:
        """The part of its link's rate at which it got the file; 0 if it did not."""
        if self.ended is None:
            return 0.0
        return size / max(self.ended - self.began, 1e-9) / self.limit


def ideal_finish(scenario: Scenario, download: Download) -> float:
    """When a node could be done at best, were it not for others, latency and overhead."""
    slowest = min(scenario.seed_rate, download.limit, scenario.zone_rate or scenario.seed_rate)
    return download.began + scenario.size / slowest / scenario.goodput


def ideal_makespan(scenario: Scenario, downloads: Sequence[Download]) -> float:
    """When all could be done at best: by the slowest link, or by all uplinks together."""
    uplinks = scenario.seed_rate * scenario.goodput + sum(d.host.up.rate for d in downloads)
    together = scenario.size * len(downloads) / uplinks
    return max(together, *(ideal_finish(scenario, download) for download in downloads))


@dataclass(frozen=True)
class Outcome:
    """One simulation's end; bytes, and seconds after the downloads began."""

    scenario: Scenario
    pieces: int
    downloads: Sequence[Download]
    ideal: float
    seconds: float
    seed_sent: float
    received: float
    kept: float
    tracker_arrivals: Sequence[float]
    events: int

    @property
    def finished(self) -> list[float]:
        """When each complete node was, ascending."""
        return sorted(d.ended for d in self.downloads if d.ended is not None)

    @property
    def died(self) -> int:
        """How many nodes died on the way."""
        return sum(d.died for d in self.downloads)

    @property
    def unfinished(self) -> int:
        """How many nodes live and have not got it all."""
        return len(self.downloads) - self.died - len(self.finished)

    @property
    def makespan(self) -> float | None:
        """When the last node was complete; None if some never were."""
        return self.finished[-1] if self.finished and not self.unfinished else None

    @property
    def copies(self) -> float:
        """How many times the seed sent the file."""
        return self.seed_sent / self.scenario.size

    @property
    def wasted(self) -> float:
        """The part of all bytes received that nobody had a use for."""
        return max(0.0, 1 - self.kept / self.received) if self.received else 0.0

    def shares(self, *, straggling: bool = False) -> dict[int, float]:
        """The share of its link's rate that so many percent of the living nodes had at least."""
        living = [d for d in self.downloads if not d.died and d.straggles is straggling]
        shares = sorted((d.share(self.scenario.size) for d in living), reverse=True)
        if not shares:
            return {}
        return {p: shares[max(0, -(-len(shares) * p // 100) - 1)] for p in PERCENTILES}

    @property
    def tracker_rate(self) -> float:
        """Requests that the tracker had in a second, in the mean."""
        return len(self.tracker_arrivals) / self.seconds if self.seconds else 0.0

    @property
    def tracker_peak(self) -> int:
        """The most requests that the tracker had in one second."""
        return max(Counter(map(int, self.tracker_arrivals)).values(), default=0)

    def to_wire(self) -> dict[str, Any]:
        """The outcome as JSON; all of it follows from the scenario."""
        hosts = len(self.downloads) + 1
        return {
            "scenario": asdict(self.scenario),
            "piece_length": self.scenario.length_of_piece,
            "pieces": self.pieces,
            "completed": len(self.finished),
            "died": self.died,
            "unfinished": self.unfinished,
            "share_of_limit": _by_percent(self.shares()),
            "stragglers_share_of_limit": _by_percent(self.shares(straggling=True)),
            "makespan": self.makespan,
            "ideal_makespan": self.ideal,
            "seconds": self.seconds,
            "seed_copies": self.copies,
            "wasted": self.wasted,
            "tracker_requests": len(self.tracker_arrivals),
            "tracker_requests_per_second": self.tracker_rate,
            "tracker_requests_per_second_and_host": self.tracker_rate / hosts,
            "tracker_requests_peak_second": self.tracker_peak,
            "events": self.events,
            "errors": dict(Counter(d.error for d in self.downloads if d.error)),
            "completed_at": self.finished,
        }

    def to_text(self) -> list[str]:
        """The outcome in lines for people."""
        size, piece = self.scenario.size / 1e6, self.scenario.length_of_piece / 2**20
        each = self.tracker_rate / (len(self.downloads) + 1)
        lines = {
            "torrent": f"{size:.1f} MB in {self.pieces} pieces of {piece:g} MiB",
            "completed": self._completed(),
            "of its limit": _shown(self.shares()),
            "stragglers": _shown(self.shares(straggling=True)),
            "makespan": self._makespan(),
            "the seed": f"sent {self.copies:.2f} copies",
            "wasted": f"{self.wasted:.2%} of all bytes received",
            "the tracker": f"had {self.tracker_rate:.1f} requests/s, {each:.3f} from each host,"
            f" at most {self.tracker_peak} in one second",
            "events": str(self.events),
        }
        return [f"{name:<12}  {text}" for name, text in lines.items() if text]

    def _completed(self) -> str:
        text = f"{len(self.finished)} of {len(self.downloads)} nodes"
        if self.died:
            text += f", {self.died} died"
        if self.unfinished:
            text += f", {self.unfinished} never did"
        reasons = Counter(d.error for d in self.downloads if d.error)
        return "; ".join([text, *(f"{count} failed: {why}" for why, count in reasons.items())])

    def _makespan(self) -> str:
        ideally = f"ideally {self.ideal:.3f} s"
        if self.makespan is None:
            return f"no end, {ideally}"
        return f"{self.makespan:.3f} s, {ideally} (ratio {self.makespan / self.ideal:.3f})"


def _by_percent(shares: dict[int, float]) -> dict[str, float]:
    return {f"p{percent}": share for percent, share in shares.items()}


def _shown(shares: dict[int, float]) -> str:
    return "  ".join(f"p{percent} {share:.1%}" for percent, share in shares.items())
