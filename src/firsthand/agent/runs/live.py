"""The runs of this process: in progress, and for a while after their end.

Each keeps its numbered events, so that a reader may come late, come again, or leave. Bounded in
number and in time.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass

from firsthand.agent.errors import AgentError, UnknownRun
from firsthand.agent.runs.loop import Answering, Engine
from firsthand.protocol.events import NumberedEvent, RunEvent
from firsthand.protocol.questions import RunRequest, RunSnapshot, RunState


class Busy(AgentError):
    """The agent answers as many questions as it may at once."""

    tag = "Busy"


@dataclass(frozen=True, slots=True)
class Keeping:
    """How many runs are kept, and for how many seconds after their end."""

    in_progress: int = 16
    ended: int = 64
    seconds: float = 1_800.0


class LiveRun:
    """One run and its events."""

    def __init__(self, request: RunRequest) -> None:
        self.request = request
        self.state = RunState.RUNNING
        self.ended_at: float | None = None
        self._events: list[NumberedEvent] = []
        self._changed = asyncio.Event()
        self._began_at = asyncio.get_running_loop().time()
        self._task: asyncio.Task[None] | None = None
        self._answering: Answering | None = None
        self._stopped = False

    @property
    def seconds(self) -> float:
        """How long the run has taken, or has taken so far."""
        now = asyncio.get_running_loop().time()
        return (self.ended_at or now) - self._began_at

    def begin(self, engine: Engine, ended: "Callable[[LiveRun], None] | None" = None) -> None:
        """Start answering in a task of its own; `ended` is called at the end."""
        self._task = asyncio.create_task(self._run(engine, ended))

    async def _run(self, engine: Engine, ended: "Callable[[LiveRun], None] | None") -> None:
        self._answering = Answering(self.request, engine, self._emit)
        if self._stopped and self._task is not None:
            # Cancelled before it began, it would never have run its end.
            self._task.cancel()
        self.state = await self._answering.run()
        # The events are kept for those who come late; the conversation has served its turn.
        self._answering = None
        self.ended_at = asyncio.get_running_loop().time()
        self._wake()
        if ended is not None:
            ended(self)

    def _emit(self, event: RunEvent) -> None:
        self._events.append(NumberedEvent(number=len(self._events) + 1, event=event))
        self._wake()

    def _wake(self) -> None:
        # A new event object for those who come next: nobody has to reset it, nobody misses it.
        self._changed, changed = asyncio.Event(), self._changed
        changed.set()

    @property
    def snapshot(self) -> RunSnapshot:
        """The state and the number of the last event."""
        return RunSnapshot(
            run_id=self.request.run_id, state=self.state, last_number=len(self._events)
        )

    async def follow(self, after: int) -> AsyncGenerator[NumberedEvent, None]:
        """Yield the events after that number, and go on until the run has ended."""
        position = max(0, after)
        while True:
            changed, ended = self._changed, self.ended_at is not None
            for event in self._events[position:]:
                position = event.number
                yield event
            if ended:
                return
            await changed.wait()

    def stop(self, *, shutting_down: bool = False) -> None:
        """Ask the run to end; `cancel` also waits until it has."""
        self._stopped = True
        if self._task is None or self._task.done() or self._answering is None:
            return
        if shutting_down:
            self._answering.shut_down()
        self._task.cancel()

    async def cancel(self, *, shutting_down: bool = False) -> None:
        """Stop the run and wait until its model and tools have really stopped."""
        self.stop(shutting_down=shutting_down)
        if self._task is not None:
            await asyncio.wait([self._task])


class LiveRuns:
    """All runs of this process."""

    def __init__(self, engine: Engine, keeping: Keeping | None = None) -> None:
        self._engine = engine
        self._keeping = keeping or Keeping()
        self._runs: dict[str, LiveRun] = {}
        self._on_end: Callable[[LiveRun], None] | None = None

    def when_ended(self, call: Callable[[LiveRun], None]) -> None:
        """Call this whenever a run has ended."""
        self._on_end = call

    @property
    def in_progress(self) -> int:
        """How many runs have not ended."""
        return sum(run.ended_at is None for run in self._runs.values())

    def start(self, request: RunRequest) -> LiveRun:
        """Start a run, or return the one of that id. Raises `Busy`."""
        self._forget()
        run = self._runs.get(request.run_id)
        if run is None:
            if self.in_progress >= self._keeping.in_progress:
                raise Busy(
                    f"This agent answers {self._keeping.in_progress} questions at once, not more.",
                    hint="Wait until one has ended, or stop one.",
                )
            run = self._runs[request.run_id] = LiveRun(request)
            run.begin(self._engine, self._on_end)
        return run

    def get(self, run_id: str) -> LiveRun:
        """Return a run. Raises `UnknownRun`."""
        run = self._runs.get(run_id)
        if run is None:
            raise UnknownRun(f"There is no run {run_id!r} here, or it ended too long ago.")
        return run

    async def cancel(self, run_id: str) -> LiveRun:
        """Stop a run; nothing happens to one that has ended. Raises `UnknownRun`."""
        run = self.get(run_id)
        await run.cancel()
        return run

    async def close(self) -> None:
        """Stop all runs, since the process ends."""
        await asyncio.gather(*(run.cancel(shutting_down=True) for run in self._runs.values()))

    def _forget(self) -> None:
        now = asyncio.get_running_loop().time()
        ended = sorted(
            (run.ended_at, run_id) for run_id, run in self._runs.items() if run.ended_at is not None
        )
        too_many = max(0, len(ended) - self._keeping.ended)
        for place, (ended_at, run_id) in enumerate(ended):
            if place < too_many or now - ended_at > self._keeping.seconds:
                del self._runs[run_id]
