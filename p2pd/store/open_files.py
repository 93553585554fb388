"""A few files kept open from one read or write to the next, so that a piece does not open them."""

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from contextlib import AbstractContextManager, nullcontext
from typing import Self

_LIMIT = 64
_NO_LOCK: AbstractContextManager[object] = nullcontext()


class OpenFile:
    """An open file, to be used in a `with` statement: after the last use it is closed, or kept.

    Its owner notes in `looked` when it last saw the file's path lead to it, and in `changed` the
    file's time of change then.
    """

    __slots__ = ("_lock", "changed", "fileno", "kept", "looked", "users")

    def __init__(self, fileno: int, lock: AbstractContextManager[object] = _NO_LOCK) -> None:
        self.fileno = fileno
        self.users = 1
        self.kept = False
        self.looked = 0.0
        self.changed: int | None = None
        self._lock = lock

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self.users -= 1
            over = not self.users and not self.kept
        if over:
            os.close(self.fileno)


class OpenFiles:
    """Keeps the `limit` files open that were used last; for any number of threads.

    A file is closed when it is neither kept nor used, so whoever uses one may go on with it
    whatever happens here.
    """

    def __init__(self, limit: int = _LIMIT) -> None:
        self._limit = limit
        # Reentrant: the garbage collector may end somebody's use at any point.
        self._lock = threading.RLock()
        self._files: OrderedDict[tuple[object, Hashable], OpenFile] = OrderedDict()
        self._closings = 0

    def take(self, owner: object, name: Hashable, opening: Callable[[], int]) -> OpenFile:
        """The open file of that owner and name; `opening` opens it if it was not kept."""
        key = owner, name
        with self._lock:
            file = self._files.get(key)
            if file is not None:
                self._files.move_to_end(key)
                file.users += 1
                return file
            before = self._closings
        # Beside the lock: this may take long.
        file = OpenFile(opening(), self._lock)
        self._keep(key, file, before)
        return file

    def close(self, owner: object | None = None) -> None:
        """Keep no file of this owner any longer, or of any; what is in use closes after use."""
        with self._lock:
            # What is being opened just now is not kept either.
            self._closings += 1
            keys = [key for key in self._files if owner in (None, key[0])]
            dropped = [self._drop(key) for key in keys]
        _close(dropped)

    def _keep(self, key: tuple[object, Hashable], file: OpenFile, before: int) -> None:
        dropped = []
        with self._lock:
            # Two may have opened it at once: the first is kept.
            if self._closings == before and key not in self._files:
                file.kept = True
                self._files[key] = file
                if len(self._files) > self._limit:
                    dropped.append(self._drop(next(iter(self._files))))
        _close(dropped)

    def _drop(self, key: tuple[object, Hashable]) -> int | None:
        file = self._files.pop(key)
        idle = not file.users
        file.kept = False
        return file.fileno if idle else None


def _close(filenos: list[int | None]) -> None:
    for fileno in filenos:
        if fileno is not None:
            os.close(fileno)
