"""The accounts of a node in SQLite, and their twin in memory."""

import sqlite3

from p2pd.errors import Conflict
from p2pd.node.accounts import Account
from p2pd.roles import Role
from p2pd.store.sqlite import Database


class SqliteAccountTable:
    """Implements `p2pd.node.accounts.AccountTable` in a `Database` of `node_tables.MIGRATIONS`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self) -> list[Account]:
        """All accounts; see `AccountTable.load`."""
        return await self._database.run(_load)

    async def add(self, account: Account) -> None:
        """Write a new account down; see `AccountTable.add`."""
        try:
            await self._database.run(_add, account)
        except sqlite3.IntegrityError:
            raise Conflict(_taken(account)) from None


def _load(cursor: sqlite3.Cursor) -> list[Account]:
    rows = cursor.execute(
        "SELECT name, salt, digest, role, created FROM accounts ORDER BY created, name"
    )
    return [
        Account(name, salt, digest, Role.read(role), created)
        for name, salt, digest, role, created in rows
    ]


def _add(cursor: sqlite3.Cursor, account: Account) -> None:
    cursor.execute(
        "INSERT INTO accounts (name, salt, digest, role, created) VALUES (?, ?, ?, ?, ?)",
        (account.name, account.salt, account.digest, account.role.word, account.created),
    )


def _taken(account: Account) -> str:
    return f"there is an account named {account.name!r} already: choose another name"


class MemoryAccountTable:
    """Implements `p2pd.node.accounts.AccountTable` in a dict."""

    def __init__(self) -> None:
        self.kept: dict[str, Account] = {}

    async def load(self) -> list[Account]:
        """All accounts; see `AccountTable.load`."""
        return sorted(self.kept.values(), key=lambda account: (account.created, account.name))

    async def add(self, account: Account) -> None:
        """Write a new account down; see `AccountTable.add`."""
        if account.name in self.kept:
            raise Conflict(_taken(account))
        self.kept[account.name] = account
