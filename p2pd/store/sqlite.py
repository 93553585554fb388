"""One SQLite database, used off the reactor thread, its schema migrated forward when opened."""

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from twisted.enterprise import adbapi

from p2pd.errors import Conflict, Unavailable

T = TypeVar("T")
P = ParamSpec("P")

Migration = Sequence[str]
"""The SQL statements that lead from one version of a schema to the next."""


class Database:
    """The database in the file `path`; calls run one after the other in one thread.

    Its version (`PRAGMA user_version`) is the number of `migrations` it has been through; they
    are only ever appended to. A process killed at any moment loses no transaction that was
    awaited (WAL); a power cut may lose the last ones, and never damages the file. `reactor` is
    the global one if none is given.
    """

    def __init__(
        self, path: Path, migrations: Sequence[Migration], *, reactor: object = None
    ) -> None:
        self._path = path
        self._migrations = migrations
        self._reactor = reactor
        self._pool: adbapi.ConnectionPool | None = None

    async def open(self) -> None:
        """Open or create the file and migrate it.

        Raises Conflict if a newer p2pd wrote it, Unavailable if it cannot be used.
        """
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.touch(0o600)  # there are digests of passwords in it
        except OSError as error:
            raise Unavailable(f"cannot create {error.filename}: {error.strerror}") from error
        self._pool = adbapi.ConnectionPool(
            "sqlite3",
            self._path,
            timeout=10.0,
            isolation_level=None,  # transactions begin where `_transact` says
            check_same_thread=False,  # the pool closes from the reactor thread
            cp_min=1,
            cp_max=1,
            cp_name="sqlite",
            cp_openfun=_configure,
            cp_reactor=self._reactor,
        )
        try:
            await self.run(_migrate, self._path, self._migrations)
        except BaseException:
            await self.close()
            raise

    async def run(
        self,
        call: Callable[Concatenate[sqlite3.Cursor, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Return `call(cursor, ...)`, made in a thread and in one transaction.

        Whatever it raises undoes the transaction. Raises Unavailable if the database is closed,
        locked, full or damaged.
        """
        if self._pool is None:
            raise Unavailable(f"the database {self._path} is not open")
        try:
            done: T = await self._pool.runWithConnection(_transact, call, *args, **kwargs)
        except (sqlite3.IntegrityError, sqlite3.ProgrammingError):
            raise
        except sqlite3.DatabaseError as error:
            raise Unavailable(f"the database {self._path} cannot be used: {error}") from error
        return done

    async def close(self) -> None:
        """Finish what is under way and close the file; closing twice is fine."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.close()


def _configure(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA foreign_keys = ON")


def _transact(connection: Any, call: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """Run inside the pool, which commits when this returns and rolls back when it raises."""
    cursor: sqlite3.Cursor = connection.cursor()
    try:
        cursor.execute("BEGIN IMMEDIATE")
        return call(cursor, *args, **kwargs)
    finally:
        cursor.close()


def _migrate(cursor: sqlite3.Cursor, path: Path, migrations: Sequence[Migration]) -> None:
    version: int = cursor.execute("PRAGMA user_version").fetchone()[0]
    if version > len(migrations):
        raise Conflict(
            f"the database {path} has schema version {version}, and this p2pd knows only"
            f" {len(migrations)}: install the newer p2pd that wrote it, or use another directory"
        )
    for migration in migrations[version:]:
        for statement in migration:
            cursor.execute(statement)
    cursor.execute(f"PRAGMA user_version = {len(migrations)}")
