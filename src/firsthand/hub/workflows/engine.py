"""Durable workflows over DBOS, in a SQLite file of their own.

A workflow id runs once. Work that the process left unfinished, because it was killed or shut
down, begins again from the start of its function at the next launch, so every function must look
at what has been reached. Bodies run on the loop that called `launch`; DBOS has threads and loops
of its own, which nothing else sees. DBOS keeps process-wide state, so that one `Workflows` can be
launched at a time; after `shutdown` the next one may follow.
"""

import asyncio
import concurrent.futures
import contextlib
import json
import threading
from collections.abc import Awaitable, Callable, Coroutine
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import structlog
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.exc import DBAPIError

from firsthand.hub.clock import Clock, utc_now
from firsthand.hub.errors import SettingsError, Unavailable

T = TypeVar("T")

# Arguments are whatever JSON can hold.
Body = Callable[..., Awaitable[None]]

# One workflow as far as DBOS is concerned: the names below it are ours, so that a renamed Python
# function never strands what is stored.
_ENTRY = "firsthand"
# Bump when stored workflows cannot be continued by the present code.
_APPLICATION_VERSION = "1"
_EXECUTOR_ID = "hub"
# Ids are remembered this long after their end; nobody starts one again after that.
_KEPT = timedelta(days=7)
_FORGOTTEN_AT_ONCE = 10_000
_UNFINISHED = frozenset({"PENDING", "ENQUEUED", "DELAYED"})

# DBOS is a singleton; a second one would silently be the first.
_ONE_AT_A_TIME = threading.Lock()

_log = structlog.get_logger("firsthand.workflows")


class _LoopThread:
    """An event loop in a thread, on which DBOS may do as it likes with the default executor."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="workflows", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    async def _end_tasks(self) -> None:
        tasks = asyncio.all_tasks(self.loop) - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def call(self, work: Coroutine[Any, Any, T]) -> T:
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self.loop))

    def close(self) -> None:
        # As `asyncio.run` does: what a body's end has just set off must not be torn apart.
        rest = asyncio.run_coroutine_threadsafe(self._end_tasks(), self.loop)
        concurrent.futures.wait([rest], timeout=5)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(timeout=5)
        self.loop.close()


class Workflows:
    """Starts named functions once per id and carries them to their end."""

    def __init__(
        self, path: Path, clock: Clock = utc_now, *, forget_every: timedelta = timedelta(days=1)
    ) -> None:
        self._path = path
        self._clock = clock
        self._forget_every = forget_every
        self._forgetting: asyncio.Task[None] | None = None
        self._bodies: dict[str, Body] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._main: asyncio.AbstractEventLoop | None = None
        self._thread: _LoopThread | None = None
        self._engine: Engine | None = None
        self._entry: Any = None
        self._closing = False

    def register(self, name: str, body: Body) -> None:
        """Make `body` startable as `name`. All names must be known before `launch`."""
        if self._main is not None:
            raise RuntimeError("workflows are registered before launch")
        self._bodies[name] = body

    async def launch(self) -> None:
        """Open the store and begin again what an earlier process left unfinished.

        Raises `SettingsError` if the file cannot be used.
        """
        self._main = asyncio.get_running_loop()
        # The import alone takes seconds on a cold disk; the loop must go on meanwhile.
        await asyncio.to_thread(self._open)
        self._thread = _LoopThread()
        self._forgetting = asyncio.create_task(self._go_on_forgetting())

    def _open(self) -> None:
        if not _ONE_AT_A_TIME.acquire(blocking=False):
            raise RuntimeError("another Workflows is launched in this process")
        try:
            self._open_alone()
        except BaseException as error:
            self._close()
            if isinstance(error, DBAPIError | OSError):
                raise SettingsError(
                    f"The list of unfinished work in {self._path} cannot be used: {error}",
                    hint="Check the file's rights and the room on the disk, or move it away.",
                ) from error
            raise

    def _open_alone(self) -> None:
        from dbos import DBOS

        self._path.parent.mkdir(parents=True, exist_ok=True)
        url = f"sqlite:///{self._path}"
        self._engine = create_engine(url)
        event.listen(self._engine, "connect", _use_write_ahead_log)
        DBOS(
            config={
                "name": _ENTRY,
                "system_database_url": url,
                "system_database_engine": self._engine,
                "application_version": _APPLICATION_VERSION,
                "executor_id": _EXECUTOR_ID,
                "log_level": "CRITICAL",
                "console_log_level": "CRITICAL",
                "enable_otlp": False,
                # How long its listener, which has nothing to do here, takes to see a shutdown.
                "notification_listener_polling_interval_sec": 0.1,
            }
        )

        # DBOS marks the function it registers, which a bound method does not allow.
        async def enter(name: str, workflow_id: str, arguments: str) -> None:
            await self._enter(name, workflow_id, arguments)

        self._entry = DBOS.workflow(name=_ENTRY, max_recovery_attempts=None)(enter)
        DBOS.launch()
        self._forget_old()

    async def _go_on_forgetting(self) -> None:
        while True:
            await asyncio.sleep(self._forget_every.total_seconds())
            try:
                await asyncio.to_thread(self._forget_old)
            except Exception:  # noqa: BLE001 - the outermost loop; recorded, and tried again
                _log.exception("ended work could not be forgotten")

    def _forget_old(self) -> None:
        """Remove what ended long ago, so that the file does not grow for ever."""
        from dbos import DBOS

        before = (self._clock() - _KEPT).isoformat()
        while True:
            old = DBOS.list_workflows(
                status=["SUCCESS", "ERROR"],
                completed_before=before,
                limit=_FORGOTTEN_AT_ONCE,
                load_input=False,
                load_output=False,
            )
            if old:
                DBOS.delete_workflows([status.workflow_id for status in old])
            if len(old) < _FORGOTTEN_AT_ONCE:
                return

    async def _enter(self, name: str, workflow_id: str, arguments: str) -> None:
        """Run in a loop of DBOS: hop to the main loop and wait there."""
        main = self._main
        if main is None or self._closing:
            raise asyncio.CancelledError
        work = self._run_body(name, workflow_id, arguments)
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, main))

    async def _run_body(self, name: str, workflow_id: str, arguments: str) -> None:
        body = self._bodies.get(name)
        task = asyncio.current_task()
        if body is None or task is None:
            _log.error("workflow has no body", name=name, workflow_id=workflow_id)
            return
        if self._closing:
            raise asyncio.CancelledError
        if workflow_id in self._running:
            # Recovered and started at once: it has one body, and has ended when that has.
            await asyncio.wait({self._running[workflow_id]})
            return
        self._running[workflow_id] = task
        try:
            await body(*json.loads(arguments))
        except Exception:
            # The outermost loop of durable work: whoever registered it repairs what is left.
            _log.exception("workflow failed", name=name, workflow_id=workflow_id)
            raise
        finally:
            del self._running[workflow_id]

    async def start(self, name: str, workflow_id: str, *arguments: object) -> None:
        """Start `name` under this id; does nothing if that id was started before.

        Once this returns, the work survives a crash of the process.
        """
        if name not in self._bodies:
            raise KeyError(name)
        thread = self._launched()
        await thread.call(self._start(name, workflow_id, json.dumps(arguments)))

    async def _start(self, name: str, workflow_id: str, arguments: str) -> None:
        from dbos import DBOS, SetWorkflowID

        with SetWorkflowID(workflow_id):
            await DBOS.start_workflow_async(self._entry, name, workflow_id, arguments)

    async def is_unfinished(self, workflow_id: str) -> bool:
        """Tell whether this work is under way or will be taken up again by itself."""
        if workflow_id in self._running:
            return True
        return await self._launched().call(self._is_unfinished(workflow_id))

    async def _is_unfinished(self, workflow_id: str) -> bool:
        from dbos import DBOS

        status = await DBOS.get_workflow_status_async(workflow_id)
        return status is not None and status.status in _UNFINISHED

    async def shutdown(self) -> None:
        """Interrupt what is under way, leaving it to the next launch. May be repeated."""
        self._closing = True
        tasks = list(self._running.values())
        if self._forgetting is not None:
            tasks.append(self._forgetting)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=10)
        if self._thread is None:
            return
        await asyncio.to_thread(self._close)
        self._thread = None

    def _close(self) -> None:
        from dbos import DBOS

        try:
            DBOS.destroy(destroy_registry=True)
            if self._engine is not None:
                self._engine.dispose()
            if self._thread is not None:
                self._thread.close()
        finally:
            _ONE_AT_A_TIME.release()

    def _launched(self) -> _LoopThread:
        if self._thread is None or self._closing:
            raise Unavailable(
                "Firsthand is starting or ending.",
                hint="What is stored already goes on at the next start.",
            )
        return self._thread


def _use_write_ahead_log(connection: Any, _record: object) -> None:
    with contextlib.closing(connection.cursor()) as cursor:
        cursor.execute("PRAGMA journal_mode=WAL")
        # A commit may be lost with the machine's power, never with the process.
        cursor.execute("PRAGMA synchronous=NORMAL")
