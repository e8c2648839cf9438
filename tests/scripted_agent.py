"""An agent that speaks the protocol of runs and answers by a script instead of thinking.

The script is a list of events and of gates: at a gate the answer waits until the test opens it.
As a program (`python -m tests.scripted_agent SOCKET`) it reads its script from the question:
`words=200 pause_ms=5` says 200 words, one at a time.
"""

import asyncio
import contextlib
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from aiohttp import web

from firsthand.hub.sandboxes.in_memory.provider import AgentPlace
from firsthand.protocol.events import (
    Done,
    Meta,
    ModelName,
    NumberedEvent,
    RunEvent,
    RunFailed,
    TextDelta,
    Usage,
    ends_run,
)
from firsthand.protocol.questions import AgentProblem, RunRequest, RunSnapshot, RunState
from firsthand.protocol.sse import write_event


@dataclass
class Gate:
    """A place where an answer waits. `reached` tells the test that it does."""

    reached: asyncio.Event = field(default_factory=asyncio.Event)
    opened: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(frozen=True)
class Pause:
    seconds: float


@dataclass(frozen=True)
class Die:
    """The agent ends in the middle, as if it were killed."""


ScriptItem = RunEvent | Gate | Pause | Die
Script = Sequence[ScriptItem]
META = Meta(model=ModelName(provider="test", model="scripted"), resources=[])


def say(*words: str, end: bool = True) -> list[RunEvent]:
    """A whole answer of these words."""
    events: list[RunEvent] = [META, *(TextDelta(delta=word) for word in words)]
    if end:
        events.append(done("".join(words)))
    return events


def done(text: str) -> Done:
    return Done(text=text, reasoning="", tools=[], usage=Usage(input_tokens=7, output_tokens=3))


class _Run:
    def __init__(self, request: RunRequest) -> None:
        self.request = request
        self.events: list[RunEvent] = []
        self.changed = asyncio.Condition()
        self.task: asyncio.Task[None] | None = None

    @property
    def snapshot(self) -> RunSnapshot:
        ended = bool(self.events) and ends_run(self.events[-1])
        state = RunState.SUCCEEDED if ended else RunState.RUNNING
        return RunSnapshot(run_id=self.request.run_id, state=state, last_number=len(self.events))

    async def add(self, event: RunEvent) -> None:
        async with self.changed:
            if not (self.events and ends_run(self.events[-1])):
                self.events.append(event)
            self.changed.notify_all()


class ScriptedAgent:
    """One test's agents: what they were asked, and what they shall say."""

    def __init__(self, script: Script | Callable[[RunRequest], Script] = ()) -> None:
        self.script = script
        self.requests: list[RunRequest] = []
        self.cancelled: list[str] = []
        # Whether health is answered; an agent that never comes up has this unset.
        self.healthy = True
        # Where the reply to a start waits, after the run was begun.
        self.before_reply: Gate | None = None
        # How many starts are refused because others are answered.
        self.busy = 0
        # Where a call to stop waits for its reply.
        self.before_stop: Gate | None = None
        # Ends before it answers anything.
        self.stillborn = False

    async def serve(self, place: AgentPlace) -> None:
        """Serve one sandbox until cancelled or until a script says to die."""
        if self.stillborn:
            place.say("agent was told to die")
            return
        life = _Life(self)
        runner = web.AppRunner(life.app, shutdown_timeout=0.1, handle_signals=False)
        await runner.setup()
        try:
            await web.SockSite(runner, place.listener).start()
            place.say("agent listens")
            await life.over.wait()
            place.say("agent was told to die")
        finally:
            await life.close()
            await runner.cleanup()

    def script_for(self, request: RunRequest) -> Script:
        return self.script(request) if callable(self.script) else self.script


class _Life:
    """One process of an agent; its runs are forgotten with it."""

    def __init__(self, agent: ScriptedAgent) -> None:
        self.agent = agent
        self.over = asyncio.Event()
        self.runs: dict[str, _Run] = {}
        self.app = web.Application()
        self.app.add_routes(
            [
                web.get("/", self._health),
                web.post("/runs", self._start),
                web.get("/runs/{id}/events", self._events),
                web.delete("/runs/{id}", self._cancel),
            ]
        )

    async def close(self) -> None:
        tasks = [run.task for run in self.runs.values() if run.task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _health(self, _: web.Request) -> web.Response:
        if not self.agent.healthy:
            raise web.HTTPServiceUnavailable
        return web.json_response({"ok": True, "service": "firsthand", "version": "1.2.3"})

    async def _start(self, request: web.Request) -> web.Response:
        if self.agent.busy:
            self.agent.busy -= 1
            problem = AgentProblem(error="Hands full.", tag="Busy")
            return web.Response(
                status=429, body=msgspec.json.encode(problem), content_type="application/json"
            )
        wanted = msgspec.json.decode(await request.read(), type=RunRequest)
        run = self.runs.get(wanted.run_id)
        if run is None:
            self.agent.requests.append(wanted)
            run = self.runs[wanted.run_id] = _Run(wanted)
            run.task = asyncio.create_task(self._act(run))
        if (gate := self.agent.before_reply) is not None:
            gate.reached.set()
            await gate.opened.wait()
        return _json(run.snapshot)

    async def _act(self, run: _Run) -> None:
        for item in self.agent.script_for(run.request):
            match item:
                case Gate():
                    item.reached.set()
                    await item.opened.wait()
                case Pause():
                    await asyncio.sleep(item.seconds)
                case Die():
                    self.over.set()
                    return
                case _:
                    await run.add(item)

    async def _events(self, request: web.Request) -> web.StreamResponse:
        run = self._find(request)
        number = int(request.query.get("after", "0"))
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        while True:
            for event in run.events[number:]:
                number += 1
                await response.write(write_event(NumberedEvent(number=number, event=event)))
                if ends_run(event):
                    return response
            async with run.changed:
                await run.changed.wait_for(lambda: len(run.events) > number)  # noqa: B023

    async def _cancel(self, request: web.Request) -> web.Response:
        run = self._find(request)
        self.agent.cancelled.append(run.request.run_id)
        if (gate := self.agent.before_stop) is not None:
            await gate.opened.wait()
        if run.task is not None:
            run.task.cancel()
        await run.add(RunFailed(error_tag="Cancelled", message="Stopped by the asker."))
        return _json(run.snapshot)

    def _find(self, request: web.Request) -> _Run:
        run = self.runs.get(request.match_info["id"])
        if run is None:
            raise web.HTTPNotFound(
                text='{"error": "no such run", "tag": "UnknownRun"}',
                content_type="application/json",
            )
        return run


def _json(value: msgspec.Struct) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), content_type="application/json")


def script_of_words(request: RunRequest) -> Script:
    """Read the script from the question."""
    settings = dict(re.findall(r"(\w+)=(\d+)", request.question))
    words = [f"word{number} " for number in range(int(settings.get("words", 3)))]
    pause = Pause(int(settings.get("pause_ms", 0)) / 1000)
    script: list[ScriptItem] = [META]
    for word in words:
        script += [pause, TextDelta(delta=word)]
    return [*script, done("".join(words))]


async def _main(path: Path) -> None:
    path.unlink(missing_ok=True)
    life = _Life(ScriptedAgent(script_of_words))
    runner = web.AppRunner(life.app)
    await runner.setup()
    await web.UnixSite(runner, path).start()
    await life.over.wait()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_main(Path(sys.argv[1])))
