"""The database: transactions, migrations, refusals."""

import sqlite3
import subprocess
import sys
import threading

import pytest
import pytest_twisted
from twisted.internet.threads import deferToThread

from p2pd.errors import Conflict, Unavailable
from p2pd.store.sqlite import Database

FIRST = ("CREATE TABLE words (word TEXT NOT NULL UNIQUE)",)
SECOND = ("ALTER TABLE words ADD COLUMN length INTEGER", "UPDATE words SET length = LENGTH(word)")


@pytest_twisted.async_yield_fixture
async def database(tmp_path):
    made = Database(tmp_path / "below" / "a.sqlite", [FIRST])
    await made.open()
    yield made
    await made.close()


def insert(cursor, *words):
    cursor.executemany("INSERT INTO words (word) VALUES (?)", [(word,) for word in words])


def select(cursor):
    return [word for (word,) in cursor.execute("SELECT word FROM words ORDER BY word")]


async def test_a_call_is_one_transaction_off_the_reactor_thread(database):
    def add(cursor, word):
        insert(cursor, word)
        return threading.get_ident()

    assert await database.run(add, "one") != threading.get_ident()
    assert await database.run(select) == ["one"]


async def test_what_raises_changes_nothing(database):
    def fail(cursor):
        insert(cursor, "one")
        raise KeyError

    with pytest.raises(KeyError):
        await database.run(fail)
    with pytest.raises(sqlite3.IntegrityError):
        await database.run(insert, "two", "two")
    assert await database.run(select) == []


async def test_calls_run_in_their_order(database):
    running = [database.run(insert, str(at)) for at in range(9)]
    for each in running:
        await each
    assert await database.run(select) == [str(at) for at in range(9)]


async def test_is_in_wal_mode(database):
    def mode(cursor):
        return cursor.execute("PRAGMA journal_mode").fetchone()[0]

    assert await database.run(mode) == "wal"


async def test_migrates_forward(tmp_path):
    path = tmp_path / "a.sqlite"
    old = Database(path, [FIRST])
    await old.open()
    await old.run(insert, "four")
    await old.close()
    for _ in range(2):
        new = Database(path, [FIRST, SECOND])
        await new.open()
        rows = await new.run(lambda cursor: cursor.execute("SELECT * FROM words").fetchall())
        assert rows == [("four", 4)]
        await new.close()


async def test_a_migration_that_fails_changes_nothing(tmp_path):
    path = tmp_path / "a.sqlite"
    bad = Database(path, [FIRST, ("CREATE TABLE other (x)", "NONSENSE")])
    with pytest.raises(Unavailable, match="NONSENSE"):
        await bad.open()
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (0,)
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == []


async def test_refuses_the_database_of_a_newer_version(tmp_path):
    new = Database(tmp_path / "a.sqlite", [FIRST, SECOND])
    await new.open()
    await new.close()
    old = Database(tmp_path / "a.sqlite", [FIRST])
    with pytest.raises(Conflict, match="schema version 2, and this p2pd knows only 1"):
        await old.open()
    with pytest.raises(Unavailable, match="not open"):
        await old.run(select)


async def test_refuses_what_is_no_database(tmp_path):
    path = tmp_path / "a.sqlite"
    path.write_bytes(b"this is text" * 100)
    with pytest.raises(Unavailable, match="not a database"):
        await Database(path, [FIRST]).open()
    assert path.read_bytes() == b"this is text" * 100


async def test_refuses_a_directory_it_cannot_make(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable, match="cannot create"):
        await Database(tmp_path / "file" / "a.sqlite", [FIRST]).open()


async def test_closing_twice_is_fine(database):
    await database.close()
    await database.close()
    with pytest.raises(Unavailable):
        await database.run(select)


async def test_kill_9_loses_nothing_that_was_awaited(tmp_path):
    path = tmp_path / "a.sqlite"
    program = f"""
import os, pathlib, signal
from twisted.internet.task import react
from p2pd.store.sqlite import Database
async def main(reactor):
    database = Database(pathlib.Path({str(path)!r}), [{FIRST!r}])
    await database.open()
    await database.run(lambda c: c.execute("INSERT INTO words VALUES ('kept')"))
    os.kill(os.getpid(), signal.SIGKILL)
react(main)
"""
    killed = await deferToThread(subprocess.run, [sys.executable, "-c", program], check=False)
    assert killed.returncode == -9
    database = Database(path, [FIRST])
    await database.open()
    assert await database.run(select) == ["kept"]
    await database.close()


async def test_only_its_owner_reads_it(database, tmp_path):
    for file in (tmp_path / "below").iterdir():
        assert file.stat().st_mode & 0o077 == 0, file
