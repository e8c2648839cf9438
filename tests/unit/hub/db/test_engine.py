"""The database: what is written stays, alone and together, and what fails hurts nobody else."""

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncGenerator
from pathlib import Path

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError, OperationalError

from firsthand.hub.db.engine import Database, translated
from firsthand.hub.errors import BadInput, SettingsError, Unavailable
from tests.world import database_url


@pytest.fixture
async def database(tmp_path: Path) -> AsyncGenerator[Database]:
    opened = Database.open(database_url(tmp_path))
    await opened.write(_make_table)
    yield opened
    await opened.close()


def _make_table(conn: Connection) -> None:
    conn.execute(text("CREATE TABLE numbers (n INTEGER PRIMARY KEY)"))


def _all(conn: Connection) -> list[int]:
    return list(conn.execute(text("SELECT n FROM numbers ORDER BY n")).scalars())


async def _add(database: Database, n: int) -> int:
    def insert(conn: Connection) -> int:
        conn.execute(text("INSERT INTO numbers VALUES (:n)"), {"n": n})
        return n

    return await database.write(insert)


async def test_sixteen_writers_lose_nothing(database: Database) -> None:
    async def write_many(writer: int) -> None:
        for step in range(50):
            assert await _add(database, writer * 50 + step) == writer * 50 + step

    with anyio.fail_after(60):
        async with anyio.create_task_group() as group:
            for writer in range(16):
                group.start_soon(write_many, writer)
    assert await database.read(_all) == list(range(16 * 50))


async def test_one_that_fails_does_not_hurt_the_others_of_its_group(database: Database) -> None:
    await _add(database, 5)
    failed: list[int] = []

    async def add(n: int) -> None:
        try:
            await _add(database, n)
        except IntegrityError:
            failed.append(n)

    async with anyio.create_task_group() as group:
        for n in range(10):
            group.start_soon(add, n)
    assert failed == [5]
    assert await database.read(_all) == list(range(10))


async def test_of_a_function_that_raises_nothing_stays(database: Database) -> None:
    def half(conn: Connection) -> None:
        conn.execute(text("INSERT INTO numbers VALUES (1)"))
        raise LookupError("in the middle")

    with pytest.raises(LookupError, match="in the middle"):
        await database.write(half)
    assert await database.read(_all) == []


async def test_a_function_that_ends_the_transaction_fails_clearly_and_the_next_works(
    database: Database,
) -> None:
    def undo_all(conn: Connection) -> None:
        conn.exec_driver_sql("ROLLBACK")

    with pytest.raises(OperationalError):
        await database.write(undo_all)
    await _add(database, 7)
    assert await database.read(_all) == [7]


async def test_a_reader_cannot_write(database: Database) -> None:
    with pytest.raises(OperationalError, match="readonly"):
        await database.read(lambda conn: conn.execute(text("INSERT INTO numbers VALUES (1)")))


async def test_a_reader_sees_one_state(database: Database, tmp_path: Path) -> None:
    await _add(database, 1)

    def read_twice(conn: Connection) -> tuple[list[int], list[int]]:
        first = _all(conn)
        other = subprocess.run(
            [
                sys.executable,
                "-c",
                "import sqlite3,sys; c=sqlite3.connect(sys.argv[1], timeout=20);"
                "c.execute('INSERT INTO numbers VALUES (2)'); c.commit(); c.close()",
                str(tmp_path / "firsthand.sqlite"),
            ],
            check=False,
            timeout=30,
        )
        assert other.returncode == 0
        return first, _all(conn)

    assert await database.read(read_twice) == ([1], [1])
    assert await database.read(_all) == [1, 2]


async def test_foreign_keys_hold(database: Database) -> None:
    with pytest.raises(IntegrityError):
        await database.write(
            lambda conn: conn.execute(
                text(
                    "INSERT INTO projects (id, owner_id, name, created_at)"
                    " VALUES ('p', 'nobody', 'n', '2026-01-01')"
                )
            )
        )


async def test_what_was_handed_in_before_closing_is_written(tmp_path: Path) -> None:
    database = Database.open(database_url(tmp_path))
    await database.write(_make_table)
    async with anyio.create_task_group() as group:
        for n in range(20):
            group.start_soon(_add, database, n)
        await anyio.lowlevel.checkpoint()
        await database.close()
    await database.close()
    with pytest.raises(Unavailable):
        await database.read(_all)
    with pytest.raises(Unavailable):
        await _add(database, 21)
    again = Database.open(database_url(tmp_path))
    assert await again.read(_all) == list(range(20))
    await again.close()


async def test_a_full_disk_is_unavailable_and_passes(database: Database) -> None:
    await _add(database, 1)

    def fill(conn: Connection) -> None:
        # Stands for a full disk: the file may not grow any more.
        conn.exec_driver_sql("PRAGMA max_page_count = 1")
        conn.exec_driver_sql("CREATE TABLE big AS SELECT randomblob(1000000) AS b")

    with pytest.raises(Unavailable, match="full") as caught:
        await database.write(fill)
    assert caught.value.hint is not None
    await database.write(lambda conn: conn.exec_driver_sql("PRAGMA max_page_count = 1000000"))
    await _add(database, 2)
    assert await database.read(_all) == [1, 2]


async def test_half_a_character_is_bad_input(database: Database) -> None:
    def look_for(conn: Connection) -> object:
        return conn.execute(text("SELECT :word"), {"word": "\ud800"}).scalar()

    with pytest.raises(BadInput, match="half a character"):
        await database.read(look_for)
    with pytest.raises(BadInput, match="half a character"):
        await database.write(look_for)


def test_a_locked_file_is_unavailable() -> None:
    error = sqlite3.OperationalError("database is locked")
    error.sqlite_errorcode = sqlite3.SQLITE_BUSY
    turned = translated(OperationalError("COMMIT", {}, error))
    assert isinstance(turned, Unavailable)
    assert "locked" in turned.detail


def test_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    anyio.run(Database.open(database_url(tmp_path / "new" / "folder")).close)
    file = tmp_path / "new" / "folder" / "firsthand.sqlite"
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "url", ["sqlite://", "sqlite:///:memory:", "postgresql://host/db", "no url"]
)
def test_a_url_that_cannot_be_used_is_named(url: str) -> None:
    with pytest.raises(SettingsError, match="DATABASE_URL"):
        Database.open(url)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SettingsError, match="cannot be made"):
        Database.open(database_url(tmp_path / "file"))


_WRITER = """
import sys, anyio
from sqlalchemy import text
from firsthand.hub.db.engine import Database

async def main():
    database = Database.open(sys.argv[1])
    await database.write(lambda c: c.execute(text("CREATE TABLE numbers (n INTEGER PRIMARY KEY)")))
    async def write(first):
        for n in range(first, 10**9, 4):
            await database.write(lambda c: c.execute(text(f"INSERT INTO numbers VALUES ({n})")))
            print(n, flush=True)
    async with anyio.create_task_group() as group:
        for first in range(4):
            group.start_soon(write, first)

anyio.run(main)
"""


@pytest.mark.requirement("HUB-12")
async def test_what_was_committed_outlives_a_killed_process(tmp_path: Path) -> None:
    url = database_url(tmp_path)
    told = await anyio.to_thread.run_sync(_write_until_killed, url)
    database = Database.open(url)
    assert told <= set(await database.read(_all))
    assert await database.read(lambda c: c.execute(text("PRAGMA integrity_check")).scalar()) == "ok"
    await database.close()


def _write_until_killed(url: str) -> set[int]:
    """Return every number that the killed process knew to be committed."""
    with subprocess.Popen(
        [sys.executable, "-c", _WRITER, url], stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        told = {int(writer.stdout.readline()) for _ in range(100)}
        os.kill(writer.pid, signal.SIGKILL)
        return told | {int(line) for line in writer.stdout if line.endswith("\n")}
