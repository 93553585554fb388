"""Keys that let clients announce until they expire."""

import heapq
from collections.abc import Callable, Iterable, Iterator

from p2pd.tracker.records import LARGEST, KeyRecord

_NEVER = 0
_SPARE = 64  # entries that a heap may have beyond twice those that count


class Keys:
    """The keys that operators gave out, by their 20 bytes."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._keys: dict[bytes, KeyRecord] = {}
        self._expiring: list[tuple[int, bytes]] = []  # a heap, with those that changed since
        self._changed: set[bytes] = set()

    def __len__(self) -> int:
        return len(self._keys)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._keys)

    def __contains__(self, key: bytes) -> bool:
        """Whether a key is known and has not expired."""
        return self.get(key) is not None

    def get(self, key: bytes) -> KeyRecord | None:
        """Return a key that has not expired, None if there is none."""
        record = self._keys.get(key)
        if record is None or _NEVER < record.expires <= self._clock():
            return None
        return record

    def put(self, key: bytes, timeout: int) -> bool:
        """Let a key be good for `timeout` seconds, 0: for ever; tell whether it is new."""
        expires = min(int(self._clock()) + timeout, LARGEST) if timeout else _NEVER
        return self.restore(key, KeyRecord(timeout, expires))

    def restore(self, key: bytes, record: KeyRecord) -> bool:
        """Let a key be good as it was elsewhere; tell whether it is new."""
        new = key not in self
        self.load([(key, record)])
        self._changed.add(key)
        return new

    def remove(self, key: bytes) -> bool:
        """Forget a key; tell whether it was good until now."""
        known = key in self
        if self._keys.pop(key, None):
            self._changed.add(key)
        return known

    def load(self, records: Iterable[tuple[bytes, KeyRecord]]) -> None:
        """Take in keys as they were stored; `changes` does not tell of these."""
        for key, record in records:
            self._keys[key] = record
            if record.expires != _NEVER:
                heapq.heappush(self._expiring, (record.expires, key))
        if len(self._expiring) > 2 * len(self._keys) + _SPARE:
            self._expiring = [
                (record.expires, key)
                for key, record in self._keys.items()
                if record.expires != _NEVER
            ]
            heapq.heapify(self._expiring)

    def changes(self) -> dict[bytes, KeyRecord | None]:
        """Return the keys that changed since the last call; None: the key is gone."""
        changed, self._changed = self._changed, set()
        return {key: self._keys.get(key) for key in changed}

    def sweep(self) -> None:
        """Forget the keys that have expired."""
        now = self._clock()
        while self._expiring and self._expiring[0][0] <= now:
            _, key = heapq.heappop(self._expiring)
            if key in self._keys and key not in self:
                self.remove(key)
