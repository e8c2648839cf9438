"""Runs under way: followed from any number, cancelled, bounded and forgotten."""

import asyncio
import gc
from pathlib import Path

import anyio
import pytest
from msgspec.structs import replace

from firsthand.agent.errors import UnknownRun
from firsthand.agent.runs.live import Busy, Keeping, LiveRun, LiveRuns
from firsthand.agent.runs.loop import Answering
from firsthand.protocol.events import (
    Done,
    TextDelta,
)
from firsthand.protocol.questions import (
    RunState,
)
from tests.unit.agent.answering import (
    FunctionModel,
    engine,
    failure,
    follow,
    request,
    says,
)

RUNS = pytest.mark.requirement("AGT-1", "AGT-2")


@RUNS
async def test_a_run_is_followed_from_any_number_by_any_number(tree: Path) -> None:
    runs = LiveRuns(engine())
    run = runs.start(request(tree, model="slow:30x2ms"))
    async with asyncio.TaskGroup() as group:
        followers = [group.create_task(follow(run, after)) for after in (0, 0, 7, 1_000)]
    whole = followers[0].result()
    assert followers[1].result() == whole
    assert followers[2].result() == whole[7:]
    assert followers[3].result() == []
    assert await follow(run, 20) == whole[20:]
    assert run.snapshot.last_number == len(whole)
    assert run.state is RunState.SUCCEEDED


@RUNS
async def test_the_same_run_again_starts_nothing(tree: Path) -> None:
    model = FunctionModel(lambda _: says("Once."))
    runs = LiveRuns(engine(model))
    first = runs.start(request(tree))
    assert runs.start(request(tree)) is first
    await follow(first)
    assert runs.start(request(tree)) is first
    assert len(model.turns) == 1


@pytest.mark.requirement("AGT-3")
async def test_cancelling_ends_a_run_with_its_text(tree: Path) -> None:
    runs = LiveRuns(engine())
    run = runs.start(request(tree, model="slow:100000x1ms"))
    with anyio.fail_after(30):
        async for event in run.follow(0):
            if isinstance(event.event, TextDelta):
                break
        await runs.cancel("run")
    assert run.state is RunState.CANCELLED
    events = [event.event for event in await follow(run)]
    assert failure(events).error_tag == "Cancelled"
    before = run.snapshot
    await runs.cancel("run")
    assert run.snapshot == before


@pytest.mark.requirement("AGT-3")
async def test_a_run_can_be_cancelled_before_it_began(tree: Path) -> None:
    runs = LiveRuns(engine())
    runs.start(request(tree))
    with anyio.fail_after(10):
        run = await runs.cancel("run")
    assert run.state is RunState.CANCELLED


async def test_runs_are_bounded_and_forgotten(tree: Path) -> None:
    runs = LiveRuns(engine(), Keeping(in_progress=1, ended=1, seconds=3_600))
    wanted = request(tree, model="slow:100000x1ms")
    runs.start(wanted)
    other = request(tree)
    with pytest.raises(Busy):
        runs.start(replace(other, run_id="other"))
    await runs.close()
    for name in ("one", "two"):
        await follow(runs.start(replace(other, run_id=name)))
    runs.start(replace(other, run_id="three"))
    known = [name for name in ("run", "one", "two", "three") if _knows(runs, name)]
    assert known == ["two", "three"]
    await runs.close()


def _knows(runs: LiveRuns, name: str) -> bool:
    try:
        runs.get(name)
    except UnknownRun:
        return False
    return True


async def test_a_run_that_has_ended_keeps_its_events_only(tree: Path) -> None:
    run = LiveRun(request(tree, {"text": "Done."}))
    run.begin(engine())
    assert isinstance((await follow(run))[-1].event, Done)
    gc.collect()
    assert not [one for one in gc.get_objects() if type(one) is Answering]
    assert isinstance((await follow(run))[-1].event, Done)
