"""Asking: from a question to a stored answer, and what is refused."""

import pytest
from sqlalchemy import func, select

from firsthand.hub.db.schema import messages, runs, threads
from firsthand.hub.errors import BadInput, Conflict, NotAllowed, NotFound
from firsthand.hub.identity.principal import Principal, Scope
from firsthand.hub.ids import ThreadId
from firsthand.hub.threads import store
from firsthand.hub.threads.message import Speaker
from firsthand.protocol.events import Done, SessionStarted, StatusChanged, TextDelta
from firsthand.protocol.questions import RunState, Turn
from tests.hub_world import OWNER, STRANGER, World
from tests.scripted_agent import Gate, say


@pytest.mark.requirement("HUB-7")
async def test_a_question_is_answered_from_nothing(world: World) -> None:
    run = await world.ask.ask(OWNER, "  How does it\nwork?  ")
    events = await world.events(run)
    assert [e.number for e in events] == list(range(1, len(events) + 1))
    assert isinstance(events[0].event, SessionStarted)
    steps = [e.event.step for e in events if isinstance(e.event, StatusChanged)]
    assert steps.count("repo: Receiving objects") == 1
    assert "Making the sandbox" in steps
    assert "".join(e.event.delta for e in events if isinstance(e.event, TextDelta)) == "It works."
    assert isinstance(events[-1].event, Done)

    ended = await world.journal.run(OWNER, run.id)
    assert ended.state is RunState.SUCCEEDED
    assert ended.ended_at is not None
    assert ended.gateway_token_hash is None
    thread = await world.db.read(lambda c: store.get_thread(c, OWNER, run.thread_id))
    assert thread.title == "How does it work?"
    said = await world.db.read(lambda c: store.list_messages(c, OWNER, run.thread_id))
    assert [(m.speaker, m.text) for m in said] == [
        (Speaker.USER, "How does it\nwork?"),
        (Speaker.ASSISTANT, "It works."),
    ]
    assert said[1].completed_at is not None
    assert said[1].parts is not None
    assert said[1].parts.usage is not None
    assert said[1].parts.usage.input_tokens == 7


@pytest.mark.requirement("HUB-19")
async def test_the_agent_is_told_what_to_read_and_what_was_said(world: World) -> None:
    first = await world.ask.ask(OWNER, "One?")
    await world.ended(first)
    second = await world.ask.ask(OWNER, "Two?", thread_id=first.thread_id)
    await world.ended(second)
    request = world.agent.requests[-1]
    assert request.question == "Two?"
    assert request.history == (Turn(question="One?", answer="It works."),)
    (checkout,) = request.checkouts
    assert checkout.name == "repo"
    assert checkout.commit == "c" * 40
    assert checkout.path == str(world.checkouts.root / "token" / "tree")
    assert request.gateway_token
    assert request.gateway_token != world.agent.requests[0].gateway_token


@pytest.mark.requirement("HUB-9")
async def test_the_same_key_asks_once(world: World) -> None:
    first = await world.ask.ask(OWNER, "One?", idempotency_key="k")
    again = await world.ask.ask(OWNER, "One?", idempotency_key="k")
    assert again.id == first.id
    with pytest.raises(Conflict):
        await world.ask.ask(OWNER, "Another?", idempotency_key="k")
    # A key belongs to one person.
    other = await world.ask.ask(STRANGER, "One?", idempotency_key="k")
    assert other.id != first.id
    await world.ended(first)
    await world.ended(other, STRANGER)
    assert (await world.ask.ask(OWNER, "One?", idempotency_key="k")).id == first.id
    assert len(world.agent.requests) == 2


async def test_a_refused_question_leaves_nothing_behind(world: World) -> None:
    with pytest.raises(BadInput):
        await world.ask.ask(OWNER, "Well?", resources=["no such"], idempotency_key="k")
    for table in (threads, messages, runs):
        query = select(func.count()).select_from(table)
        assert await world.db.read(lambda c, q=query: c.execute(q).scalar_one()) == 0
    # The key is free as well.
    run = await world.ask.ask(OWNER, "Well?", idempotency_key="k")
    await world.ended(run)


@pytest.mark.requirement("HUB-15")
@pytest.mark.parametrize(
    ("message", "resources", "word"),
    [
        ("   ", [], "empty"),
        ("x" * 100_001, [], "100000"),
        ("half \ud800", [], "half a character"),
        ("Well?", ["pypi:a"] * 21, "20"),
        ("Well?", ["/etc"], "neither"),
    ],
)
async def test_limits_are_named(
    world: World, message: str, resources: list[str], word: str
) -> None:
    with pytest.raises(BadInput) as refusal:
        await world.ask.ask(OWNER, message, resources=resources)
    assert word in refusal.value.detail


async def test_one_off_sources_stand_beside_resources(world: World) -> None:
    wanted = ["repo", "pypi:httpx@0.28.1", "https://host.example/other/repo"]
    run = await world.ask.ask(OWNER, "Well?", resources=wanted)
    assert [(s.name, s.location, s.ref) for s in run.sources] == [
        ("repo", "https://host.example/owner/repo", None),
        ("httpx", "httpx", "0.28.1"),
        ("repo-2", "https://host.example/other/repo", None),
    ]
    await world.ended(run)


@pytest.mark.requirement("HUB-3")
async def test_others_see_nothing(world: World) -> None:
    run = await world.ask.ask(OWNER, "Mine?")
    await world.ended(run)
    with pytest.raises(NotFound):
        await world.journal.run(STRANGER, run.id)
    with pytest.raises(NotFound):
        await world.journal.read(STRANGER, run.id)
    with pytest.raises(NotFound):
        await world.ask.cancel(STRANGER, run.id)
    with pytest.raises(NotFound):
        await world.ask.retry(STRANGER, run.id)
    with pytest.raises(NotFound):
        await world.ask.ask(STRANGER, "Theirs?", thread_id=run.thread_id)
    with pytest.raises(NotFound):
        await world.ask.ask(OWNER, "Nothing?", thread_id=ThreadId("th_none"))


async def test_a_credential_that_may_only_read_cannot_ask(world: World) -> None:
    reader = Principal(OWNER.user_id, OWNER.name, OWNER.role, frozenset({Scope.READ}))
    with pytest.raises(NotAllowed):
        await world.ask.ask(reader, "May I?")


async def test_a_thread_answers_one_question_at_a_time(world: World) -> None:
    gate = Gate()
    world.agent.script = [gate, *say("Yes.")]
    run = await world.ask.ask(OWNER, "One?")
    with pytest.raises(Conflict):
        await world.ask.ask(OWNER, "Two?", thread_id=run.thread_id)
    gate.opened.set()
    await world.ended(run)
    await world.ended(await world.ask.ask(OWNER, "Two?", thread_id=run.thread_id))
