"""The states of a download, and which may follow which."""

from collections.abc import Mapping
from enum import StrEnum

from p2pd.errors import Conflict


class State(StrEnum):
    """What a download is doing; each frontend has its own words for these."""

    QUEUED = "queued"
    METAINFO = "fetching metainfo"
    ALLOCATING = "allocating"
    CHECKING = "checking"
    DOWNLOADING = "downloading"
    COMPLETE = "complete"
    PAUSED = "paused"
    FAILED = "failed"


_STOPS = frozenset({State.PAUSED, State.FAILED})

MOVES: Mapping[State, frozenset[State]] = {
    # Kept resume data let a queued download go straight to where it was.
    State.QUEUED: _STOPS
    | {State.METAINFO, State.ALLOCATING, State.CHECKING, State.DOWNLOADING, State.COMPLETE},
    State.METAINFO: _STOPS | {State.QUEUED, State.ALLOCATING, State.CHECKING, State.DOWNLOADING},
    State.ALLOCATING: _STOPS | {State.QUEUED, State.CHECKING, State.DOWNLOADING},
    State.CHECKING: _STOPS | {State.QUEUED, State.ALLOCATING, State.DOWNLOADING, State.COMPLETE},
    State.DOWNLOADING: _STOPS | {State.QUEUED, State.CHECKING, State.COMPLETE},
    # A recheck may find damage, and a wider file selection leaves something to fetch.
    State.COMPLETE: _STOPS | {State.QUEUED, State.CHECKING, State.DOWNLOADING},
    State.PAUSED: frozenset({State.QUEUED, State.CHECKING}),
    State.FAILED: frozenset({State.QUEUED, State.CHECKING}),
}


def advance(old: State, new: State) -> State:
    """Give `new` if a download in state `old` may enter it; raise Conflict if not."""
    if new in MOVES[old]:
        return new
    if new is old:
        raise Conflict(f"the download is already {old}")
    allowed = ", ".join(state for state in State if state in MOVES[old])
    raise Conflict(f"a download that is {old} cannot become {new}; it can become: {allowed}")
