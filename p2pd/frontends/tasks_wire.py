"""Downloads as the task API prints them: pure functions from views to JSON."""

import html
import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import PurePath
from typing import Any, Protocol

from p2pd.node.download_views import DownloadView
from p2pd.node.job import Level, Line
from p2pd.swarm.lifecycle import State

OPTIONS = "ydl_opts"
"""Where a download's metadata holds what a task was given beside its URL."""
FORMAT = "format"
"""The one of them that a task can set."""

_INFO = ("tid", "url", "state", "valid", "title", "create_time", "finish_time", "format", "ext")
_MEDIA = (
    "thumbnail",
    "duration",
    "view_count",
    "like_count",
    "dislike_count",
    "average_rating",
    "description",
)


class TaskState(StrEnum):
    """What a task is doing, in the order in which they are counted."""

    DOWNLOADING = "downloading"
    PAUSED = "paused"
    FINISHED = "finished"
    INVALID = "invalid"


class Standing(Protocol):
    """What tells the state of a task: a download, or a view of one."""

    @property
    def state(self) -> State:
        """What it is doing."""

    @property
    def complete(self) -> bool:
        """Whether all that is wanted of it is here."""


def state_of(standing: Standing) -> TaskState:
    """Return the state of a task: what is complete is finished, also if it serves no more."""
    if standing.state is State.FAILED:
        return TaskState.INVALID
    if standing.complete:
        return TaskState.FINISHED
    return TaskState.PAUSED if standing.state is State.PAUSED else TaskState.DOWNLOADING


def counter_to_wire(standings: Iterable[Standing]) -> dict[str, int]:
    """How many tasks there are in each state, all states named."""
    counted = Counter(map(state_of, standings))
    return {state.value: counted[state] for state in TaskState}


def excerpt_to_wire(view: DownloadView) -> dict[str, Any]:
    """The seven facts that a list of tasks shows."""
    state = state_of(view)
    moving = state is TaskState.DOWNLOADING
    return {
        "tid": tid_of(view),
        "state": state.value,
        "percent": percent(view),
        "total_bytes": view.wanted,
        "title": view.name,
        "eta": math.ceil(view.eta) if moving and view.eta is not None else 0,
        "speed": int(view.speed_down) if moving else 0,
    }


def task_to_wire(view: DownloadView, log_lines: int) -> dict[str, Any]:
    """All facts of a task, its log cut to the latest lines.

    What only videos have is empty text.  `description` is HTML, as the API's web page takes it.
    """
    return {
        **excerpt_to_wire(view),
        "url": view.source,
        "filename": view.path,
        "tmpfilename": "",
        "downloaded_bytes": view.wanted_done,
        "total_bytes_estmt": view.wanted,
        "elapsed": view.elapsed,
        "start_time": view.started or 0.0,
        "pause_time": view.paused_at or 0.0,
        "log": log_to_wire(view, log_lines),
        "valid": int(_valid(view)),
        "create_time": view.added,
        "finish_time": view.finished or 0.0,
        "format": options_of(view.metadata).get(FORMAT, ""),
        "ext": PurePath(view.path).suffix.removeprefix("."),
        **dict.fromkeys(_MEDIA, ""),
        "description": html.escape(view.comment),
    }


def status_to_wire(view: DownloadView, log_lines: int) -> dict[str, Any]:
    """All facts of a task, and the options that it was given, as JSON text."""
    opt = json.dumps(options_of(view.metadata))
    return {**task_to_wire(view, log_lines), "opt": opt}


def info_to_wire(view: DownloadView) -> dict[str, Any]:
    """What is known of the content of a task, whatever it is doing."""
    whole = task_to_wire(view, 0)
    return {
        **{name: whole[name] for name in (*_INFO, *_MEDIA)},
        "infohash": view.infohash.hex() if view.infohash else "",
        "pieces": view.pieces,
    }


def _valid(view: DownloadView) -> bool:
    """Whether the URL of a task has led somewhere: to metainfo, or to a file that is read."""
    return view.piece_length > 0 or view.streaming


def log_to_wire(view: DownloadView, most: int) -> list[dict[str, Any]]:
    """The latest lines of a task's log, newest first; a URL that led nowhere is named in one."""
    lines = list(view.log)
    if state_of(view) is TaskState.INVALID and not _valid(view):
        failed = lines[-1].time if lines else view.added
        lines.append(Line(failed, Level.FATAL, f"invalid url: {view.source}"))
    return [
        {"time": int(line.time), "type": line.level.value, "msg": line.text}
        for line in lines[::-1][:most]
    ]


def percent(view: DownloadView) -> str:
    """How much is here of what is wanted, as text of six characters once there is any.

    It is rounded down: what says 100 % is complete.
    """
    if view.complete:
        return "100.0%"
    if not view.wanted_done or not view.wanted:
        return "0.0%"
    return f"{math.floor(1000 * view.wanted_done / view.wanted) / 10:5.1f}%"


def tid_of(view: DownloadView) -> str:
    """What names a task: its source, or its infohash if it was not asked for by a source."""
    return view.tid if view.source else view.id


def options_of(metadata: Mapping[str, Any]) -> dict[str, str]:
    """Return the options that a task was given, out of its download's metadata."""
    options = metadata.get(OPTIONS)
    given = options.get(FORMAT) if isinstance(options, dict) else None
    return {FORMAT: given} if isinstance(given, str) else {}
