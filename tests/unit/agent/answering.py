"""A model made of a function, and runs of the loop with it."""

import json
from collections.abc import AsyncGenerator, Callable, Sequence
from pathlib import Path
from typing import Any

import anyio

from firsthand.agent.models.choosing import open_model
from firsthand.agent.models.port import (
    AssistantMessage,
    ModelPart,
    ModelTurn,
    TextPart,
    ToolRequest,
    TurnEnded,
)
from firsthand.agent.runs.live import LiveRun
from firsthand.agent.runs.loop import Engine
from firsthand.agent.tools.search import SearchIndexes
from firsthand.protocol.events import (
    Done,
    NumberedEvent,
    RunEvent,
    RunFailed,
    Usage,
)
from firsthand.protocol.questions import (
    Dialect,
    ModelChoice,
    RunLimits,
    RunRequest,
)
from tests.unit.agent.conftest import checkout

Answer = Callable[[ModelTurn], Sequence[ModelPart]]


class FunctionModel:
    """A model whose turns are a function of the conversation."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.turns: list[ModelTurn] = []

    async def answer(self, turn: ModelTurn) -> AsyncGenerator[ModelPart, None]:
        self.turns.append(turn)
        for part in self._answer(turn):
            yield part


def says(text: str, *calls: ToolRequest, usage: Usage | None = None) -> list[ModelPart]:
    ended = TurnEnded(AssistantMessage(text, calls), usage or Usage())
    return [TextPart(text), ended] if text else [ended]


def grep(number: int = 0, pattern: str = "redirects") -> ToolRequest:
    return ToolRequest(f"call-{number}", "grep", json.dumps({"pattern": pattern}))


def request(
    tree: Path, *script: dict[str, Any], limits: RunLimits | None = None, model: str = "script"
) -> RunRequest:
    question = f"```json\n{json.dumps(script)}\n```" if script else "How?"
    return RunRequest(
        run_id="run",
        question=question,
        checkouts=(checkout(tree),),
        model=ModelChoice(dialect=Dialect.SCRIPTED, provider="scripted", model=model),
        limits=limits or RunLimits(),
    )


def engine(model: FunctionModel | None = None) -> Engine:
    return Engine(
        open_model=lambda wanted: model or open_model(wanted.model, None), indexes=SearchIndexes()
    )


async def follow(run: LiveRun, after: int = 0) -> list[NumberedEvent]:
    with anyio.fail_after(30):
        return [event async for event in run.follow(after)]


async def answer(wanted: RunRequest, model: FunctionModel | None = None) -> list[RunEvent]:
    run = LiveRun(wanted)
    run.begin(engine(model))
    events = await follow(run)
    assert [event.number for event in events] == list(range(1, len(events) + 1))
    ends = [event for event in events if isinstance(event.event, Done | RunFailed)]
    assert ends == events[-1:], "exactly one end, and it is the last"
    return [event.event for event in events]


def failure(events: Sequence[RunEvent]) -> RunFailed:
    assert isinstance(events[-1], RunFailed)
    return events[-1]


def done(events: Sequence[RunEvent]) -> Done:
    assert isinstance(events[-1], Done), events[-1]
    return events[-1]
