"""Carrying answers over: readers, cancel in every phase, lost agents, restarts of the hub."""

import asyncio
from contextlib import aclosing
from datetime import timedelta

import pytest

from firsthand.hub.errors import Conflict, Unavailable
from firsthand.hub.threads import store
from firsthand.protocol.events import (
    Done,
    NumberedEvent,
    RunFailed,
    StatusChanged,
    ToolState,
    ToolStatus,
    ToolUpdated,
)
from firsthand.protocol.questions import RunLimits, RunRequest, RunState
from firsthand.sources.errors import RefNotFound
from tests.hub_world import OWNER, Ground, World, text_of
from tests.scripted_agent import Die, Gate, Script, say


def in_order(events: list[NumberedEvent]) -> bool:
    return [e.number for e in events] == list(range(1, len(events) + 1))


async def answer_text(world: World, run_id: str) -> str:
    def read(connection: store.Connection) -> str:
        run = store.get_started_run(connection, store.RunId(run_id))
        said = store.list_messages(connection, OWNER, run.thread_id)
        return next(m.text for m in said if m.id == run.answer_id)

    return await world.db.read(read)


@pytest.mark.requirement("HUB-7")
async def test_readers_start_where_they_like_and_see_the_same(world: World) -> None:
    gate = Gate()
    world.agent.script = [*say("one ", "two ", end=False), gate, *say("three")[1:]]
    run = await world.ask.ask(OWNER, "Well?")
    early = asyncio.create_task(world.events(run))
    await asyncio.wait_for(gate.reached.wait(), 20)
    gate.opened.set()
    whole = await early
    assert text_of(whole) == "one two three"
    # Late, from the start and from the middle, and again after the end.
    assert await world.events(run) == whole
    async with aclosing(world.journal.follow(OWNER, run.id, 4)) as events:
        assert [event async for event in events] == whole[4:]
    assert await world.journal.read(OWNER, run.id, len(whole)) == []
    assert await world.journal.read(OWNER, run.id) == whole


async def test_a_reader_that_leaves_changes_nothing(world: World) -> None:
    gate = Gate()
    world.agent.script = [*say("one ", end=False), gate, *say("two")[1:]]
    run = await world.ask.ask(OWNER, "Well?")
    async with aclosing(world.journal.follow(OWNER, run.id)) as events:
        await anext(events)
    gate.opened.set()
    assert text_of(await world.events(run)) == "one two"


async def test_stop_while_waking(world: World) -> None:
    gate = world.provider.gates["start"] = Gate()
    run = await world.ask.ask(OWNER, "Well?")
    await asyncio.wait_for(gate.reached.wait(), 20)
    await world.ask.cancel(OWNER, run.id)
    ended = await world.ended(run)
    assert ended.state is RunState.CANCELLED
    gate.opened.set()
    assert world.agent.requests == []


async def test_stop_while_fetching(world: World) -> None:
    gate = world.checkouts.gates["https://host.example/owner/repo"] = Gate()
    run = await world.ask.ask(OWNER, "Well?")
    await asyncio.wait_for(gate.reached.wait(), 20)
    await world.ask.cancel(OWNER, run.id)
    assert (await world.ended(run)).state is RunState.CANCELLED
    assert world.agent.requests == []


@pytest.mark.requirement("HUB-8")
async def test_stop_while_answering_keeps_what_was_said(world: World) -> None:
    gate = Gate()
    world.agent.script = [*say("some ", "text", end=False), gate, *say("more")[1:]]
    run = await world.ask.ask(OWNER, "Well?")
    await world.until_text(run.id, "some text")
    await world.ask.cancel(OWNER, run.id)
    events = await world.events(run)
    assert isinstance(events[-1].event, RunFailed)
    assert events[-1].event.error_tag == "Cancelled"
    assert world.agent.cancelled == [run.id]
    assert (await world.journal.run(OWNER, run.id)).state is RunState.CANCELLED
    assert await answer_text(world, run.id) == "some text"
    # Again does nothing.
    await world.ask.cancel(OWNER, run.id)
    assert await world.events(run) == events


async def test_stop_before_the_workflow_began(ground: Ground) -> None:
    async with ground.hub(resume=False) as world:
        gate = world.provider.gates["create"] = Gate()
        run = await world.ask.ask(OWNER, "Well?")
        await asyncio.wait_for(gate.reached.wait(), 20)
    # The hub is down. Someone had pressed stop in the last moment.
    async with ground.hub(resume=False) as world:
        await world.ask.cancel(OWNER, run.id)
        assert (await world.ended(run)).state is RunState.CANCELLED


@pytest.mark.requirement("HUB-18")
async def test_a_sandbox_that_dies_in_the_middle_fails_the_run(world: World) -> None:
    gate = Gate()
    world.agent.script = [*say("some ", "text", end=False), gate, Die()]
    run = await world.ask.ask(OWNER, "Well?")
    await world.until_text(run.id, "some text")
    gate.opened.set()
    events = await world.events(run)
    assert in_order(events)
    last = events[-1].event
    assert isinstance(last, RunFailed)
    assert last.error_tag == "AnswerLost"
    assert last.hint is not None
    assert "Retry" in last.hint
    assert (await world.journal.run(OWNER, run.id)).state is RunState.FAILED
    assert await answer_text(world, run.id) == "some text"

    world.agent.script = say("All of it.")
    again = await world.ask.retry(OWNER, run.id)
    assert again.id != run.id
    assert (await world.ended(again)).state is RunState.SUCCEEDED
    assert await answer_text(world, again.id) == "All of it."
    assert await answer_text(world, run.id) == "some text"
    with pytest.raises(Conflict):
        await world.ask.retry(OWNER, again.id)
    assert world.agent.requests[-1].question == "Well?"


async def test_an_agent_lost_before_its_first_word_is_asked_once_more(world: World) -> None:
    def script(_: RunRequest) -> Script:
        return [Die()] if len(world.agent.requests) == 1 else say("It works.")

    world.agent.script = script
    run = await world.ask.ask(OWNER, "Well?")
    assert (await world.ended(run)).state is RunState.SUCCEEDED
    assert len(world.agent.requests) == 2
    assert world.agent.requests[0].gateway_token != world.agent.requests[1].gateway_token


async def test_but_only_once(world: World) -> None:
    world.agent.script = [Die()]
    run = await world.ask.ask(OWNER, "Well?")
    ended = await world.ended(run)
    assert ended.state is RunState.FAILED
    assert ended.error_tag == "AnswerLost"
    assert len(world.agent.requests) == 2


async def test_a_source_that_cannot_be_had_is_named(world: World) -> None:
    world.checkouts.errors["https://host.example/owner/repo"] = RefNotFound(
        "There is no branch v9.", "Look at the tags."
    )
    run = await world.ask.ask(OWNER, "Well?")
    ended = await world.ended(run)
    assert ended.state is RunState.FAILED
    assert (ended.error_tag, ended.error_message, ended.error_hint) == (
        "RefNotFound",
        "repo: There is no branch v9.",
        "Look at the tags.",
    )


async def test_an_instance_that_cannot_wake_fails_the_run_with_its_reason(world: World) -> None:
    world.provider.failing["start"] = 99
    run = await world.ask.ask(OWNER, "Well?")
    ended = await world.ended(run)
    assert ended.state is RunState.FAILED
    assert ended.error_message is not None
    assert "start was told to fail" in ended.error_message


@pytest.mark.requirement("HUB-6")
async def test_the_answer_goes_on_over_a_restart_of_the_hub(ground: Ground) -> None:
    gates = [Gate(), Gate()]
    ground.agent.script = [
        *say("one ", "two ", end=False),
        gates[0],
        *say("three ", end=False)[1:],
        gates[1],
        *say("four")[1:],
    ]
    async with ground.hub() as world:
        run = await world.ask.ask(OWNER, "Well?")
        await world.until_text(run.id, "one two ")
    stored = len(await _journal_of(ground, run.id))
    # While no hub is there, the agent goes on.
    gates[0].opened.set()
    await asyncio.wait_for(gates[1].reached.wait(), 20)
    async with ground.hub() as world:
        gates[1].opened.set()
        events = await world.events(run)
        assert len(events) > stored
        assert in_order(events)
        assert text_of(events) == "one two three four"
        assert (await world.journal.run(OWNER, run.id)).state is RunState.SUCCEEDED
    assert len(ground.agent.requests) == 1


async def _journal_of(ground: Ground, run_id: str) -> list[NumberedEvent]:
    from firsthand.hub.db.engine import Database

    db = Database.open(f"sqlite:///{ground.root / 'hub.sqlite'}")
    try:
        return await db.read(lambda c: store.read_events(c, store.RunId(run_id), 0))
    finally:
        await db.close()


@pytest.mark.requirement("HUB-18")
async def test_an_agent_that_was_restarted_meanwhile_has_lost_the_answer(ground: Ground) -> None:
    gate = Gate()
    ground.agent.script = [*say("some ", "text", end=False), gate]
    async with ground.hub() as world:
        run = await world.ask.ask(OWNER, "Well?")
        await world.until_text(run.id, "some text")
        instance = await world.instance()
        assert instance.sandbox_id is not None
    sandbox = ground.backing.sandboxes[instance.sandbox_id]
    await ground.clear()
    async with ground.hub() as world:
        await world.running()
        assert sandbox.task is not None
        ended = await world.ended(run)
        assert ended.state is RunState.FAILED
        assert ended.error_tag == "AnswerLost"
        assert await answer_text(world, run.id) == "some text"


async def test_a_question_whose_workflow_never_started_is_answered_later(ground: Ground) -> None:
    async with ground.hub(resume=False) as world:
        # The hub died between the commit and the start.
        await world.workflows.shutdown()
        with pytest.raises(Unavailable):
            await world.ask.ask(OWNER, "Well?")
        (run_id,) = await world.db.read(store.list_unfinished_runs)
    async with ground.hub() as world:
        run = await world.journal.run(OWNER, run_id)
        assert isinstance((await world.events(run))[-1].event, Done)


async def test_a_run_that_the_agent_has_but_the_hub_did_not_note_is_found(ground: Ground) -> None:
    gate = ground.agent.before_reply = Gate()
    async with ground.hub() as world:
        run = await world.ask.ask(OWNER, "Well?")
        async with asyncio.timeout(20):
            await gate.reached.wait()
    ground.agent.before_reply = None
    async with ground.hub() as world:
        events = await world.events(run)
        assert in_order(events)
        assert text_of(events) == "It works."
    assert len(ground.agent.requests) == 1


async def test_an_agent_that_does_not_end_in_its_time_is_ended(ground: Ground) -> None:
    ground.limits = RunLimits(max_seconds=0.2)
    ground.end_grace = timedelta(seconds=0.2)
    ground.agent.script = [*say("some ", "text", end=False), Gate()]
    async with ground.hub(resume=False) as world:
        run = await world.ask.ask(OWNER, "Well?")
        ended = await world.ended(run)
        assert ended.state is RunState.FAILED
        assert ended.error_tag == "AnswerTooLong"
        assert world.agent.cancelled == [run.id]
        assert world.agent.requests[0].limits.max_seconds == 0.2
        assert await answer_text(world, run.id) == "some text"


async def test_a_question_waits_for_an_agent_that_has_its_hands_full(world: World) -> None:
    world.agent.busy = 2
    run = await world.ask.ask(OWNER, "Well?")
    events = await world.events(run)
    steps = [e.event.step for e in events if isinstance(e.event, StatusChanged)]
    assert steps.count("Waiting for other answers to end") == 1
    # What comes after it is the answer, no longer its preparation.
    states = [e.event.status for e in events if isinstance(e.event, StatusChanged)]
    assert states[-1] == "ready"
    assert text_of(events) == "It works."


async def test_an_agent_that_does_not_hear_of_the_stop_holds_nobody_up(ground: Ground) -> None:
    ground.cancel_grace = timedelta(seconds=0.2)
    gate = ground.agent.before_stop = Gate()
    ground.agent.script = [*say("some ", "text", end=False), Gate()]
    async with ground.hub(resume=False) as world:
        run = await world.ask.ask(OWNER, "Well?")
        await world.until_text(run.id, "some text")
        await world.ask.cancel(OWNER, run.id)
        async with asyncio.timeout(10):
            assert (await world.ended(run)).state is RunState.CANCELLED
        gate.opened.set()


async def test_an_answer_without_end_is_ended_on_both_sides(world: World) -> None:
    endless = ToolState(status=ToolStatus.COMPLETED, output="x" * 4_000_000)
    update = ToolUpdated(call_id="1", tool="grep", state=endless)
    world.agent.script = [*say("some text", end=False), *[update] * 20, Gate()]
    run = await world.ask.ask(OWNER, "Well?")
    ended = await world.ended(run)
    assert (ended.state, ended.error_tag) == (RunState.FAILED, "AnswerTooLong")
    assert world.agent.cancelled == [run.id]


async def test_a_run_ends_once_the_full_disk_has_room_again(ground: Ground) -> None:
    gate = Gate()
    ground.agent.script = [*say("some ", "text", end=False), gate, *say("more" * 50_000)[1:]]
    worlds: list[World] = []

    async def make_room(_: float) -> None:
        await worlds[0].db.write(lambda c: c.exec_driver_sql("PRAGMA max_page_count = 100000"))

    ground.pause = make_room
    async with ground.hub(resume=False) as world:
        worlds.append(world)
        run = await world.ask.ask(OWNER, "Well?")
        await world.until_text(run.id, "some text")
        # SQLite then says that the disk is full as soon as the file has to grow.
        await world.db.write(lambda c: c.exec_driver_sql("PRAGMA max_page_count = 1"))
        gate.opened.set()
        ended = await world.ended(run)
        assert (ended.state, ended.error_tag) == (RunState.FAILED, "Unavailable")
        assert await answer_text(world, run.id) == "some text"
