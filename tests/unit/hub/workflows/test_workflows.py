"""Durable work: once per id, carried on by the next process, bounded steps."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from firsthand.hub.errors import SettingsError, Unavailable
from firsthand.hub.workflows import StepFailed, StepLimit, Workflows, run_step

QUICK = StepLimit(timedelta(seconds=5), tries=3, pause=timedelta(milliseconds=1))


class Recorder:
    """A body that notes what it was called with, and waits if told so."""

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []
        self.called = asyncio.Event()
        self.may_end = asyncio.Event()
        self.loop = asyncio.get_running_loop()

    async def __call__(self, *arguments: object) -> None:
        assert asyncio.get_running_loop() is self.loop
        self.calls.append(arguments)
        self.called.set()
        await self.may_end.wait()


async def test_unfinished_work_is_carried_on_by_the_next(tmp_path: Path) -> None:
    path = tmp_path / "workflows.sqlite"
    recorder = Recorder()
    first = Workflows(path)
    first.register("work", recorder)
    await first.launch()
    try:
        await asyncio.gather(*(first.start("work", "id:1", "a", 1) for _ in range(10)))
        async with asyncio.timeout(20):
            await recorder.called.wait()
        assert recorder.calls == [("a", 1)]
        assert await first.is_unfinished("id:1")
        assert not await first.is_unfinished("id:2")
    finally:
        await first.shutdown()
    await first.shutdown()

    recorder.called.clear()
    recorder.may_end.set()
    second = Workflows(path)
    second.register("work", recorder)
    await second.launch()
    try:
        async with asyncio.timeout(20):
            await recorder.called.wait()
        assert recorder.calls == [("a", 1)] * 2
        # What has ended does not begin again.
        recorder.called.clear()
        await second.start("work", "id:2")
        async with asyncio.timeout(20):
            await recorder.called.wait()
        await second.start("work", "id:1", "a", 1)
        assert len(recorder.calls) == 3
    finally:
        await second.shutdown()


async def test_a_body_that_fails_does_not_harm_others(tmp_path: Path) -> None:
    async def fail() -> None:
        raise ValueError("a defect")

    recorder = Recorder()
    recorder.may_end.set()
    workflows = Workflows(tmp_path / "workflows.sqlite")
    workflows.register("fail", fail)
    workflows.register("work", recorder)
    await workflows.launch()
    try:
        await workflows.start("fail", "id:1")
        await workflows.start("work", "id:2")
        async with asyncio.timeout(20):
            await recorder.called.wait()
        with pytest.raises(KeyError):
            await workflows.start("unknown", "id:3")
        with pytest.raises(RuntimeError):
            workflows.register("late", fail)
    finally:
        await workflows.shutdown()


async def test_what_ended_long_ago_is_forgotten(tmp_path: Path) -> None:
    recorder = Recorder()
    recorder.may_end.set()
    now = datetime.now(UTC)
    for days in (0, 1, 8):
        workflows = Workflows(
            tmp_path / "workflows.sqlite", lambda days=days: now + timedelta(days=days)
        )
        workflows.register("work", recorder)
        await workflows.launch()
        try:
            await workflows.start("work", "id:1", days)
            async with asyncio.timeout(20):
                while await workflows.is_unfinished("id:1"):
                    pass
        finally:
            await workflows.shutdown()
    # On the second day the id was known, on the eighth it was free again.
    assert recorder.calls == [(0,), (8,)]


async def test_a_hub_that_never_ends_forgets_as_well(tmp_path: Path) -> None:
    recorder = Recorder()
    recorder.may_end.set()
    now = [datetime.now(UTC)]
    workflows = Workflows(
        tmp_path / "workflows.sqlite", lambda: now[0], forget_every=timedelta(milliseconds=1)
    )
    workflows.register("work", recorder)
    await workflows.launch()
    try:
        async with asyncio.timeout(20):
            await workflows.start("work", "id:1")
            await recorder.called.wait()
            now[0] += timedelta(days=8)
            # The id is free again once it was forgotten.
            while len(recorder.calls) < 2:
                await workflows.start("work", "id:1")
    finally:
        await workflows.shutdown()


async def test_a_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    path = tmp_path / "workflows.sqlite"
    path.write_bytes(b"this is no database" * 100)
    with pytest.raises(SettingsError) as refusal:
        await Workflows(path).launch()
    assert str(path) in refusal.value.detail
    # Nothing is left that would keep the next one from its launch.
    path.unlink()
    workflows = Workflows(path)
    await workflows.launch()
    with pytest.raises(RuntimeError):
        await Workflows(tmp_path / "other.sqlite").launch()
    await workflows.shutdown()
    with pytest.raises(Unavailable):
        await workflows.is_unfinished("id")


async def test_a_step_is_tried_again() -> None:
    tries: list[int] = []

    async def work() -> str:
        tries.append(1)
        if len(tries) < 3:
            raise OSError("not yet")
        return "done"

    assert await run_step("Step", work, QUICK, retry_on=(OSError,)) == "done"
    assert len(tries) == 3


async def test_a_step_gives_up_with_its_reason() -> None:
    async def work() -> None:
        raise OSError("no luck")

    with pytest.raises(StepFailed) as failure:
        await run_step("Step", work, QUICK, retry_on=(OSError,))
    assert (failure.value.step, failure.value.reason) == ("Step", "no luck")


async def test_a_step_has_a_time_limit() -> None:
    async def work() -> None:
        await asyncio.Event().wait()

    with pytest.raises(StepFailed) as failure:
        await run_step("Step", work, StepLimit(timedelta(milliseconds=10)))
    assert "0.01 s" in failure.value.reason


async def test_a_defect_passes_through() -> None:
    async def work() -> None:
        raise KeyError("a defect")

    with pytest.raises(KeyError):
        await run_step("Step", work, QUICK, retry_on=(OSError,))
