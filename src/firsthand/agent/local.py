"""Answers a question inside the calling process: the same loop as in a sandbox, without HTTP."""

from collections.abc import Awaitable, Callable
from contextlib import aclosing
from inspect import isawaitable

from firsthand.agent.models.choosing import open_model
from firsthand.agent.models.endpoint import ModelEndpoint
from firsthand.agent.runs.live import LiveRun
from firsthand.agent.runs.loop import Engine
from firsthand.agent.tools.search import SearchIndexes
from firsthand.protocol.events import NumberedEvent
from firsthand.protocol.questions import RunRequest, RunSnapshot

__all__ = ["ModelEndpoint", "answer_locally"]


async def answer_locally(
    request: RunRequest,
    *,
    model_endpoint: ModelEndpoint | None,
    emit: Callable[[NumberedEvent], Awaitable[None] | None],
) -> RunSnapshot:
    """Answer, handing each event to `emit` in order; return how it ended.

    Failures are events too and are not raised. Cancelling the caller stops model and tools.
    """
    engine = Engine(
        open_model=lambda wanted: open_model(wanted.model, model_endpoint),
        indexes=SearchIndexes(),
    )
    run = LiveRun(request)
    run.begin(engine)
    try:
        async with aclosing(run.follow(0)) as events:
            async for event in events:
                handed = emit(event)
                if isawaitable(handed):
                    await handed
    finally:
        await run.cancel()
    return run.snapshot
