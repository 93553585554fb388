"""What happens on a node, for those who listen: the latest of it is kept for who comes late."""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

_KEPT = 1000


class Kind(StrEnum):
    """What happened; of `SETTINGS`, `LOW_SPACE` and `SHUTDOWN` no download is the subject."""

    ADDED = "added"
    METAINFO = "metainfo"
    MOVED_ON = "state"
    PAUSED = "paused"
    RESUMED = "resumed"
    FINISHED = "finished"
    FAILED = "failed"
    REMOVED = "removed"
    RELOCATED = "relocated"
    CHANGED = "changed"
    TRACKER = "tracker"
    SETTINGS = "settings"
    LOW_SPACE = "low space"
    SHUTDOWN = "shutdown"


@dataclass(frozen=True, slots=True)
class Happening:
    """One thing that happened; `number` counts from 1 since the node's start, `time` is Unix.

    `id` is the download's infohash, or what stands for it before that is known; `facts` go with
    the kind: `state`, `reason`, `url`, `free` ...
    """

    number: int
    time: float
    kind: Kind
    id: str = ""
    name: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


Listener = Callable[[Happening], None]


class Events:
    """Tells listeners of happenings, in order; a listener must not raise."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._kept: deque[Happening] = deque(maxlen=_KEPT)
        self._listeners: list[Listener] = []
        self.latest = 0
        """The number of the latest happening."""

    @property
    def audience(self) -> int:
        """How many listen."""
        return len(self._listeners)

    def publish(self, kind: Kind, id_: str = "", name: str = "", **facts: Any) -> None:
        """Tell everybody."""
        self.latest += 1
        happening = Happening(self.latest, self._clock(), kind, id_, name, facts)
        self._kept.append(happening)
        for listener in tuple(self._listeners):
            listener(happening)

    def since(self, number: int) -> list[Happening]:
        """What came after a happening, as far as it is kept."""
        return [happening for happening in self._kept if happening.number > number]

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Tell `listener` of all that happens from now on; the returned call ends that."""
        self._listeners.append(listener)

        def unsubscribe() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return unsubscribe
