"""Downloads as `torrents.list` shows them: what stands in each field, and in which order."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from p2pd.frontends.jsonrpc_hashes import hashes_of
from p2pd.frontends.jsonrpc_methods import SESSION
from p2pd.frontends.jsonrpc_query import Vocabulary
from p2pd.node.download_views import DownloadView
from p2pd.swarm.lifecycle import State

CHECKING = 1
METADATA = 2
DOWNLOADING = 3
FINISHED = 4
SEEDING = 5
RESUMING = 7
"""The states of libtorrent."""

STATE_NAMES = {
    CHECKING: "checking_files",
    METADATA: "downloading_metadata",
    DOWNLOADING: "downloading",
    FINISHED: "finished",
    SEEDING: "seeding",
    RESUMING: "checking_resume_data",
}

_STATES = {
    State.QUEUED: RESUMING,
    State.METAINFO: METADATA,
    State.ALLOCATING: RESUMING,
    State.CHECKING: CHECKING,
    State.DOWNLOADING: DOWNLOADING,
}
_HALTED = frozenset({State.PAUSED, State.FAILED})
# What libtorrent has beside trackers to find peers, and p2pd has not.
_DISABLED = ("disable_dht", "disable_lsd", "disable_pex")
_FAILURE = 1


@dataclass(frozen=True, slots=True)
class Row:
    """One download, at a time in Unix seconds; `moving` says that its files are being moved."""

    view: DownloadView
    moving: bool
    now: float


def state_of(view: DownloadView) -> int:
    """The state by libtorrent's number; a paused download has the one that it was paused in."""
    if view.complete:
        return FINISHED if view.partial else SEEDING
    if view.state in _STATES:
        return _STATES[view.state]
    return DOWNLOADING if view.known else METADATA


def flags_of(view: DownloadView) -> list[str]:
    """The names of libtorrent's flags that are set."""
    flags = ["paused"] if view.state in _HALTED else ["auto_managed"]
    if view.sequential:
        flags.append("sequential_download")
    return [*flags, *_DISABLED]


def _error(view: DownloadView) -> dict[str, Any] | None:
    return {"message": view.error, "value": _FAILURE} if view.error else None


def _eta(view: DownloadView) -> int:
    return -1 if view.eta is None or not view.left else int(view.eta)


def _ago(time: float | None, now: float) -> int:
    return -1 if time is None else max(int(now - time), 0)


FIELDS: Mapping[str, Callable[[Row], Any]] = {
    "active_duration": lambda row: int(row.view.elapsed + row.view.seeding_time),
    "all_time_download": lambda row: row.view.downloaded,
    "all_time_upload": lambda row: row.view.uploaded,
    "category": lambda row: row.view.category or None,
    "download_rate": lambda row: int(row.view.speed_down),
    "error": lambda row: _error(row.view),
    "eta": lambda row: _eta(row.view),
    "finished_duration": lambda row: int(row.view.seeding_time),
    "flags": lambda row: flags_of(row.view),
    "info_hash": lambda row: hashes_of(row.view),
    "last_download": lambda row: _ago(row.view.last_received, row.now),
    "last_upload": lambda row: _ago(row.view.last_sent, row.now),
    "list_peers": lambda row: row.view.peers,
    "list_seeds": lambda row: row.view.seeds,
    "metadata": lambda row: dict(row.view.metadata),
    "moving_storage": lambda row: row.moving,
    "name": lambda row: row.view.name,
    "num_peers": lambda row: row.view.connected_peers,
    "num_seeds": lambda row: row.view.connected_seeds,
    "progress": lambda row: row.view.progress,
    "queue_position": lambda row: -1 if row.view.complete else row.view.position,
    "ratio": lambda row: row.view.ratio,
    "save_path": lambda row: row.view.directory,
    "seeding_duration": lambda row: 0 if row.view.partial else int(row.view.seeding_time),
    "session": lambda _: SESSION,
    "size": lambda row: row.view.size,
    "state": lambda row: state_of(row.view),
    "tags": lambda row: list(row.view.tags),
    "total": lambda row: row.view.size,
    "total_done": lambda row: row.view.wanted_done,
    "upload_rate": lambda row: int(row.view.speed_up),
}
"""The fields of a row in `torrents.list`."""

# Less than 0 means that there is none, and comes last in either order.
_PRIORITIES = frozenset({"eta", "queue_position"})

QUERIES: Vocabulary[Row] = Vocabulary(
    numbers={
        "age": lambda row: row.now - row.view.added,
        **{
            name: FIELDS[name]
            for name in (
                "active_duration",
                "download_rate",
                "finished_duration",
                "progress",
                "ratio",
                "seeding_duration",
                "size",
                "upload_rate",
            )
        },
    },
    texts={
        "category": lambda row: row.view.category,
        "name": lambda row: row.view.name,
        "save_path": lambda row: row.view.directory,
    },
    lists={"tags": lambda row: row.view.tags},
    flags={
        "downloading": lambda row: state_of(row.view) == DOWNLOADING,
        "finished": lambda row: state_of(row.view) == FINISHED,
        "moving": lambda row: row.moving,
        "paused": lambda row: row.view.state in _HALTED,
        "seeding": lambda row: state_of(row.view) == SEEDING,
    },
)


def ordered(rows: list[Row], field: str, *, descending: bool) -> list[Row]:
    """Sort rows by one of `FIELDS`."""
    value = FIELDS[field]
    if field not in _PRIORITIES:
        return sorted(rows, key=lambda row: _sortable(value(row)), reverse=descending)
    some = [row for row in rows if value(row) >= 0]
    none = [row for row in rows if value(row) < 0]
    return sorted(some, key=value, reverse=descending) + none


def _sortable(value: Any) -> Any:
    if isinstance(value, int | float):
        return value
    return value if isinstance(value, str) else json.dumps(value)
