"""What can be changed of a running node, and is kept over its restarts."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from p2pd.errors import Invalid
from p2pd.node.options import SeedingRule

_FLAGS = frozenset({"paused"})


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """Rates in bytes/s, times in seconds; 0 is no limit everywhere.

    `seeding_ratio` and `seeding_time` None is for ever.  `log_lines` is how many lines of a
    download's log an API shows.
    """

    max_upload_rate: int = 0
    max_download_rate: int = 0
    max_active_downloads: int = 20
    max_active_seeds: int = 0
    seeding_ratio: float | None = None
    seeding_time: float | None = None
    least_free: int = 64 * 1024 * 1024
    log_lines: int = 10
    paused: bool = False

    @property
    def seeding(self) -> SeedingRule:
        """When complete downloads stop that have no rule of their own."""
        return SeedingRule(self.seeding_ratio, self.seeding_time)

    def changed(self, changes: Mapping[str, Any]) -> "NodeSettings":
        """Settings with some changed; raises `Invalid`, naming the one that is wrong."""
        known = {field.name for field in fields(self)}
        for name, value in changes.items():
            if name not in known:
                raise Invalid(f"there is no setting {name}: the settings are {sorted(known)}")
            _check(name, value)
        return replace(self, **changes)

    def kept(self, kept: Mapping[str, Any]) -> "NodeSettings":
        """Settings with those of an earlier run, as far as they still are ones."""
        settings = self
        for name, value in kept.items():
            with suppress(Invalid):
                settings = settings.changed({name: value})
        return settings

    def as_dict(self) -> dict[str, Any]:
        """Every setting by name."""
        return asdict(self)


def _check(name: str, value: object) -> None:
    if name in _FLAGS:
        if not isinstance(value, bool):
            raise Invalid(f"{name} must be true or false")
        return
    optional = name in ("seeding_ratio", "seeding_time")
    if optional and value is None:
        return
    kinds = (int, float) if optional else (int,)
    if isinstance(value, bool) or not isinstance(value, kinds) or not 0 <= value < 2**63:
        raise Invalid(f"{name} must be a number of at least 0")
