"""The way to the database: `write` and `read` run a plain function of a connection.

A transaction is a plain function, so nothing can be awaited inside it. On SQLite one thread
writes: whatever waits is run as one group, each function in a savepoint of its own, and the group
is committed at once. Readers have threads of their own and see the last commit.

This module knows nothing of tables, users or what is written.
"""

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.pool import QueuePool

from firsthand.hub.db.migrate import migrate
from firsthand.hub.errors import BadInput, SettingsError, Unavailable

T = TypeVar("T")

_READERS = 4
# Bounds how long the first of a group waits for the last.
_GROUP = 256
_BUSY_SECONDS = 10


@dataclass(slots=True)
class _Job:
    fn: Callable[[Connection], Any]
    future: Future[Any]


@dataclass(slots=True)
class _Outcome:
    job: _Job
    value: Any = None
    error: BaseException | None = None


class Database:
    """One open database. Usable from any event loop; `close` it once."""

    def __init__(self, url: URL) -> None:
        self._write_engine = _engine(url, writes=True)
        self._read_engine = _engine(url, writes=False)
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._closing = threading.Lock()
        self._closed = False
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="db-read")
        self._writer = threading.Thread(target=self._write_forever, name="db-write", daemon=True)
        self._writer.start()

    @classmethod
    def open(cls, url: str) -> "Database":
        """Open the database at `url`, making and migrating it where needed.

        Raises `SettingsError` if the URL is not understood, the file cannot be used or is
        damaged, or it was made by a newer version.
        """
        parsed = _sqlite_url(url)
        path = Path(str(parsed.database))
        _make_file(path)
        engine = _engine(parsed, writes=True, foreign_keys=False)
        try:
            migrate(engine, path)
        finally:
            engine.dispose()
        return cls(parsed)

    async def write(self, fn: Callable[[Connection], T]) -> T:
        """Run `fn` in a transaction and return its value once it is committed.

        If `fn` raises, nothing of it stays, and its exception is raised here. A caller that is
        cancelled while `fn` waits for its turn cancels it; once it runs, it is committed.
        Raises `Unavailable` if the database cannot be written.
        """
        future: Future[T] = Future()
        with self._closing:
            self._refuse_if_closed()
            self._jobs.put(_Job(fn, future))
        return await asyncio.wrap_future(future)

    async def read(self, fn: Callable[[Connection], T]) -> T:
        """Run `fn` on one consistent state of the database; it cannot write."""
        with self._closing:
            self._refuse_if_closed()
            future = self._readers.submit(self._read_now, fn)
        return await asyncio.wrap_future(future)

    async def close(self) -> None:
        """Finish what was handed in, then let go of the file. Safe to repeat."""
        with self._closing:
            if not self._closed:
                self._closed = True
                self._jobs.put(None)
        await asyncio.to_thread(self._wind_up)

    def _wind_up(self) -> None:
        self._writer.join()
        self._readers.shutdown()
        self._read_engine.dispose()
        self._write_engine.dispose()

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise Unavailable("The database is closed.", hint="Firsthand is shutting down.")

    def _read_now(self, fn: Callable[[Connection], T]) -> T:
        try:
            with self._read_engine.connect() as connection:
                return fn(connection)
        except (DBAPIError, UnicodeEncodeError) as error:
            raise translated(error) from error

    def _write_forever(self) -> None:
        while True:
            group, last = self._next_group()
            if group:
                self._write_group(group)
            if last:
                return

    def _next_group(self) -> tuple[list[_Job], bool]:
        """Wait for a job and take all that came with it; the flag says that none will follow."""
        group: list[_Job] = []
        job = self._jobs.get()
        while True:
            if job is None:
                return group, True
            if job.future.set_running_or_notify_cancel():
                group.append(job)
            if len(group) >= _GROUP:
                return group, False
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                return group, False

    def _write_group(self, group: list[_Job]) -> None:
        outcomes: list[_Outcome] = []
        try:
            with self._write_engine.begin() as connection:
                outcomes.extend(_run_in_savepoint(connection, job) for job in group)
        except BaseException as error:  # noqa: BLE001 - the outermost loop of the thread; every
            # waiting caller gets the error, and the next group begins afresh.
            for job in group:
                job.future.set_exception(translated(error))
            return
        for outcome in outcomes:
            if outcome.error is None:
                outcome.job.future.set_result(outcome.value)
            else:
                outcome.job.future.set_exception(translated(outcome.error))


def _run_in_savepoint(connection: Connection, job: _Job) -> _Outcome:
    savepoint = connection.begin_nested()
    try:
        outcome = _Outcome(job, value=job.fn(connection))
    except BaseException as error:  # noqa: BLE001 - handed to the caller, whose function it is.
        try:
            savepoint.rollback()
        except DBAPIError as gone:
            # SQLite has undone the whole transaction (disk full), so that the group fails: by
            # what the function met, not by what that did to its savepoint.
            raise error from gone
        return _Outcome(job, error=error)
    savepoint.commit()
    return outcome


def translated(error: BaseException) -> BaseException:
    """Turn trouble with the file or the disk into `Unavailable`; leave all else as it is.

    Except for text that is no Unicode, which only the driver notices: that is `BadInput`.
    """
    if isinstance(error, UnicodeEncodeError):
        refused = BadInput("The text holds half a character, which cannot be stored.")
        refused.__cause__ = error
        return refused
    original = error.orig if isinstance(error, DBAPIError) else None
    if (
        isinstance(original, sqlite3.OperationalError)
        and (original.sqlite_errorcode & 0xFF) in _TROUBLE
    ):
        translated = Unavailable(
            f"The database could not be used: {original}.",
            hint="Check that the disk has room and that no other program holds the file.",
        )
        translated.__cause__ = error
        return translated
    return error


_TROUBLE = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CANTOPEN,
    }
)


def _sqlite_url(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise SettingsError("DATABASE_URL is not a database URL.") from error
    if parsed.get_backend_name() != "sqlite":
        raise SettingsError(
            f"DATABASE_URL: this version works with SQLite only, not {parsed.get_backend_name()}.",
            hint="Leave DATABASE_URL unset, or use sqlite:////path/to/file.",
        )
    if not parsed.database or parsed.database == ":memory:":
        raise SettingsError("DATABASE_URL must name a file, as in sqlite:////path/to/file.")
    return parsed


def _make_file(path: Path) -> None:
    """Make the file readable by its owner alone; SQLite gives its side files the same mode."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
    except OSError as error:
        raise SettingsError(
            f"The database {path} cannot be made: {error.strerror}.",
            hint="Set FIRSTHAND_DATA_DIR to a folder that you may write to.",
        ) from error


def _engine(url: URL, *, writes: bool, foreign_keys: bool = True) -> Engine:
    engine = create_engine(
        url.set(drivername="sqlite+pysqlite"),
        connect_args={"timeout": _BUSY_SECONDS, "check_same_thread": False},
        poolclass=QueuePool,
        pool_size=1 if writes else _READERS,
        max_overflow=0,
    )

    def on_connect(connection: sqlite3.Connection, _record: object) -> None:
        # The driver would begin transactions late and on its own terms; see `on_begin`.
        connection.isolation_level = None
        pragmas = [
            f"foreign_keys = {'ON' if foreign_keys else 'OFF'}",
            # FULL, not NORMAL: in WAL mode NORMAL survives a killed process, but a power cut
            # takes back every commit since the last checkpoint, and by then a user has seen the
            # answer and a sandbox was made. Group commit shares the cost of one sync.
            "synchronous = FULL",
            "temp_store = MEMORY",
            *(["journal_mode = WAL"] if writes else ["query_only = ON"]),
        ]
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}").close()

    def on_begin(connection: Connection) -> None:
        # A deferred transaction that reads before it writes can fail as busy without waiting.
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    event.listen(engine, "connect", on_connect)
    event.listen(engine, "begin", on_begin)
    return engine


__all__ = ["Connection", "Database"]
