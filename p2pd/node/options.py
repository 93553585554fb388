"""What its user wants of one download; kept over a restart, with it, as JSON."""

import json
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from enum import IntFlag
from typing import Any

from p2pd.errors import Invalid

UNWANTED = 0
NORMAL = 4
TOP = 7
"""Priorities of files: 0 is not wanted, 7 comes first."""

MAX_TRACKERS = 1000
_MAX_TEXT = 4096
_MAX_TEXTS = 2**20
_MAX_TAGS = 100
_MAX_METADATA = 65536
_SCHEMES = frozenset({"http", "https", "udp"})
_LONGEST_URL = 2048
_URL = re.compile(r"[!-~]+")


class TrackerSource(IntFlag):
    """How a download came by a tracker, as libtorrent numbers it."""

    TORRENT = 1
    CLIENT = 2
    MAGNET = 4


@dataclass(frozen=True, slots=True)
class TrackerChoice:
    """A tracker to announce to; lower tiers are tried first (BEP 12)."""

    url: str
    tier: int
    source: TrackerSource

    def __post_init__(self) -> None:
        """Refuse what no tracker is reached by."""
        scheme, _, rest = self.url.partition("://")
        if (
            not rest
            or scheme.lower() not in _SCHEMES
            or len(self.url) > _LONGEST_URL
            or not _URL.fullmatch(self.url)
        ):
            raise Invalid(f"{self.url[:80]!r} is not the URL of a tracker: http, https or udp")


Trackers = tuple[TrackerChoice, ...]


def trackers_of(tiers: Iterable[Iterable[str]], source: TrackerSource) -> Trackers:
    """The trackers that are named in tiers; those that cannot be ones are left out."""
    chosen = []
    for tier, urls in enumerate(tiers):
        for url in urls:
            with suppress(Invalid):
                chosen.append(TrackerChoice(url, tier, source))
    return tuple(chosen)


def merge_trackers(known: Trackers, more: Trackers) -> Trackers:
    """Known trackers and those of the others that are new, as far as there may be more."""
    merged = {tracker.url: tracker for tracker in known}
    for tracker in more:
        merged.setdefault(tracker.url, tracker)
    return tuple(merged.values())[:MAX_TRACKERS]


@dataclass(frozen=True, slots=True)
class SeedingRule:
    """When to stop serving a complete download: at a ratio, or after seconds; None is never."""

    ratio: float | None = None
    seconds: float | None = None


FOREVER = SeedingRule()


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadOptions:
    """What its user wants of one download.

    `source` is the URI or the name that it was added by.  `destination` is what `Store.begin`
    takes.  `priorities` has one number for each file of the torrent, padding left out, or none
    at all if every file is `NORMAL`; `selected` says the same before the files are known: indexes
    or paths of those that are wanted, none at all for every file.  `upload_limit` and
    `download_limit` are in bytes/s and 0 is no limit, as for `max_connections` and `max_uploads`.
    `seeding` None follows the node's rule.  `metadata` is any JSON object of the user's;
    `safe_seeding` is only echoed.
    """

    source: str = ""
    name: str = ""
    destination: str = ""
    replace: bool = False
    paused: bool = False
    priorities: tuple[int, ...] = ()
    selected: tuple[int | str, ...] = ()
    sequential: bool = False
    upload_limit: int = 0
    download_limit: int = 0
    max_connections: int = 0
    max_uploads: int = 0
    seeding: SeedingRule | None = None
    category: str = ""
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    trackers: tuple[TrackerChoice, ...] = ()
    web_seeds: tuple[str, ...] = ()
    safe_seeding: bool = False

    def __post_init__(self) -> None:
        """Refuse what is out of bounds."""
        texts = [self.source, self.name, self.destination, self.category, *self.tags]
        texts += [*self.web_seeds, *(file for file in self.selected if isinstance(file, str))]
        if any(len(text) > _MAX_TEXT or not _is_text(text) for text in texts):
            raise Invalid(f"a text of a download has more than {_MAX_TEXT} characters, or no text")
        if sum(map(len, texts)) > _MAX_TEXTS:
            raise Invalid(f"the texts of a download have more than {_MAX_TEXTS} characters")
        if len(self.tags) > _MAX_TAGS:
            raise Invalid(f"a download can have {_MAX_TAGS} tags")
        if any(not UNWANTED <= priority <= TOP for priority in self.priorities):
            raise Invalid(f"the priority of a file is {UNWANTED} to {TOP}")
        if len(self.trackers) > MAX_TRACKERS:
            raise Invalid(f"a download can have {MAX_TRACKERS} trackers")
        if any(number < 0 for number in self.numbers()):
            raise Invalid("a limit cannot be negative: 0 is no limit")
        if len(json.dumps(dict(self.metadata))) > _MAX_METADATA:
            raise Invalid(f"the metadata of a download can have {_MAX_METADATA} bytes of JSON")

    def numbers(self) -> tuple[int, int, int, int]:
        """All limits."""
        return self.upload_limit, self.download_limit, self.max_connections, self.max_uploads

    def to_json(self) -> str:
        """Write what is not as by default."""
        plain = DownloadOptions()
        given = {
            one.name: value
            for one in fields(self)
            if (value := getattr(self, one.name)) != getattr(plain, one.name)
        }
        if self.trackers:
            given["trackers"] = [[one.url, one.tier, one.source] for one in self.trackers]
        if self.seeding is not None:
            given["seeding"] = asdict(self.seeding)
        return json.dumps(given, default=dict)

    @classmethod
    def from_json(cls, text: str) -> "DownloadOptions":
        """Read what `to_json` wrote; raises ValueError or TypeError for anything else."""
        given: dict[str, Any] = json.loads(text or "{}")
        for name in ("priorities", "selected", "tags", "web_seeds"):
            if name in given:
                given[name] = tuple(given[name])
        if "trackers" in given:
            given["trackers"] = tuple(
                TrackerChoice(url, tier, TrackerSource(source))
                for url, tier, source in given["trackers"]
            )
        if "seeding" in given:
            given["seeding"] = SeedingRule(**given["seeding"])
        return cls(**given)


def _is_text(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)
