"""Operations on an instance: what they reach and show, and what they leave when they fail."""

import asyncio

import pytest

from firsthand.hub.errors import Conflict, Unavailable
from firsthand.hub.instances import store
from firsthand.hub.instances.instance import InstanceState, Operation
from firsthand.hub.sandboxes.provider import SandboxState
from tests.hub_world import EVERYBODY, OWNER, STRANGER, World
from tests.scripted_agent import Gate

S = InstanceState


async def test_provision_brings_a_running_instance(world: World) -> None:
    begun = await world.instances.provision(OWNER)
    assert begun.state is S.PROVISIONING
    assert begun.step == "Making the sandbox"
    instance = await world.until_state(S.RUNNING)
    assert instance.generation == 2
    assert instance.step is None
    assert [step.name for step in instance.steps] == [
        "Making the sandbox",
        "Starting the agent",
        "Waiting for the agent",
    ]
    assert all(step.ended_at and step.ended_at >= step.started_at for step in instance.steps)
    assert [(p.name, p.installed) for p in instance.packages] == [("firsthand", "1.2.3")]
    assert instance.provisioned_at is not None
    assert instance.sandbox_id in world.gateway.served


async def test_stop_and_wake(world: World) -> None:
    await world.running()
    begun = await world.instances.stop(OWNER)
    assert begun.state in (S.STOPPING, S.STOPPED)
    stopped = await world.until_state(S.STOPPED)
    assert stopped.sandbox_id is not None
    assert stopped.storage_used_bytes > 0
    assert await world.provider.state(stopped.sandbox_id) is SandboxState.STOPPED
    assert world.gateway.served == {}

    assert (await world.instances.wake(OWNER)).state is S.STARTING
    running = await world.until_state(S.RUNNING)
    assert running.sandbox_id == stopped.sandbox_id
    assert running.sandbox_id in world.gateway.served


async def test_the_gateway_is_served_before_the_agent_starts(world: World) -> None:
    gate = world.provider.gates["start"] = Gate()
    await world.instances.provision(OWNER)
    async with asyncio.timeout(20):
        await gate.reached.wait()
    assert (await world.instance()).sandbox_id in world.gateway.served
    gate.opened.set()
    await world.until_state(S.RUNNING)


async def test_any_number_of_callers_share_one_wake(world: World) -> None:
    before = await world.stopped()
    starts = world.provider.count("start")
    endpoints = await asyncio.gather(
        *(world.instances.ensure_running(before.id) for _ in range(10))
    )
    assert len(set(endpoints)) == 1
    assert world.provider.count("start") == starts + 1
    assert (await world.instance()).generation == before.generation + 2


@pytest.mark.requirement("HUB-5")
async def test_ten_questions_on_a_stopped_instance_wake_it_once(world: World) -> None:
    before = await world.stopped()
    starts = world.provider.count("start")
    runs = await asyncio.gather(*(world.ask.ask(OWNER, f"Question {n}?") for n in range(10)))
    await asyncio.gather(*(world.ended(run) for run in runs))
    assert world.provider.count("start") == starts + 1
    assert (await world.instance()).generation == before.generation + 2
    assert len(world.agent.requests) == 10


async def test_instances_do_not_wait_for_each_other(world: World) -> None:
    gate = Gate()
    world.provider.gates["create"] = gate
    waiting = asyncio.create_task(world.running(OWNER))
    async with asyncio.timeout(20):
        await gate.reached.wait()
    del world.provider.gates["create"]
    assert (await world.running(STRANGER)).state is S.RUNNING
    assert not waiting.done()
    gate.opened.set()
    assert (await waiting).state is S.RUNNING


@pytest.mark.parametrize("call", ["create", "start", "endpoint"])
async def test_a_step_that_fails_once_is_tried_again(world: World, call: str) -> None:
    world.provider.failing[call] = 1
    assert (await world.running()).state is S.RUNNING
    assert world.provider.count(call) >= 2


@pytest.mark.parametrize(
    ("call", "step"),
    [
        ("create", "Making the sandbox"),
        ("start", "Starting the agent"),
        ("endpoint", "Waiting for the agent"),
    ],
)
async def test_a_failed_provision_says_why_and_leaves_nothing(
    world: World, call: str, step: str
) -> None:
    world.provider.failing[call] = 99
    await world.instances.provision(OWNER)
    failed = await world.until_state(S.ERROR)
    assert failed.error_message is not None
    assert step in failed.error_message
    assert f"{call} was told to fail" in failed.error_message
    assert "reset" in failed.error_message
    assert failed.sandbox_id is None
    assert await world.provider.list_sandboxes() == {}
    assert world.gateway.served == {}

    world.provider.failing.clear()
    await world.instances.provision(OWNER)
    mended = await world.until_state(S.RUNNING)
    assert mended.error_message is None


async def test_a_failed_wake_leaves_nothing_running_and_can_be_repeated(world: World) -> None:
    before = await world.stopped()
    world.provider.failing["endpoint"] = 99
    with pytest.raises(Unavailable) as failure:
        await world.instances.ensure_running(before.id)
    failed = await world.instance()
    assert failed.state is S.ERROR
    assert failure.value.detail == failed.error_message
    assert failed.sandbox_id == before.sandbox_id
    assert before.sandbox_id is not None
    assert await world.provider.state(before.sandbox_id) is SandboxState.STOPPED
    world.provider.failing.clear()
    assert (await world.running()).state is S.RUNNING


async def test_an_agent_that_ends_at_once_is_noticed(world: World) -> None:
    world.agent.stillborn = True
    await world.instances.provision(OWNER)
    failed = await world.until_state(S.ERROR)
    assert failed.error_message is not None
    assert "ended before it answered" in failed.error_message
    assert "agent was told to die" in failed.error_message


async def test_a_failed_stop_can_be_repeated(world: World) -> None:
    await world.running()
    world.provider.failing["stop"] = 99
    await world.instances.stop(OWNER)
    failed = await world.until_state(S.ERROR)
    assert "Stopping the agent" in (failed.error_message or "")
    world.provider.failing.clear()
    await world.instances.stop(OWNER)
    await world.until_state(S.STOPPED)


async def test_reset_replaces_the_sandbox(world: World) -> None:
    before = await world.stopped()
    await world.instances.reset(OWNER)
    after = await world.until_state(S.RUNNING)
    assert after.sandbox_id != before.sandbox_id
    await world.reconciler.round()
    real = await world.provider.list_sandboxes()
    assert before.sandbox_id not in real
    assert after.sandbox_id in real


@pytest.mark.requirement("HUB-4")
async def test_what_is_not_allowed_now_is_a_conflict_that_says_so(world: World) -> None:
    with pytest.raises(Conflict) as early:
        await world.instances.wake(OWNER)
    assert "not set up yet" in early.value.detail
    with pytest.raises(Conflict):
        await world.instances.stop(OWNER)
    await world.running()
    with pytest.raises(Conflict) as running:
        await world.instances.reset(OWNER)
    assert running.value.hint == "Stop it first."
    with pytest.raises(Conflict):
        await world.instances.provision(OWNER)
    # Asking for what is already so is no conflict.
    assert (await world.instances.wake(OWNER)).state is S.RUNNING
    await world.instances.stop(OWNER)
    await world.until_state(S.STOPPED)
    assert (await world.instances.stop(OWNER)).state is S.STOPPED


async def test_a_sandbox_that_died_is_woken_for_the_next_question(world: World) -> None:
    before = await world.running()
    assert before.sandbox_id is not None
    await world.provider.stop(before.sandbox_id)
    run = await world.ask.ask(OWNER, "Well?")
    assert (await world.ended(run)).error_tag is None
    after = await world.instance()
    assert after.state is S.RUNNING
    assert after.generation == before.generation + 4


async def test_a_wake_during_a_stop_waits_for_it(world: World) -> None:
    before = await world.running()
    gate = world.provider.gates["stop"] = Gate()
    await world.instances.stop(OWNER)
    async with asyncio.timeout(20):
        await gate.reached.wait()
    waking = asyncio.create_task(world.instances.ensure_running(before.id))
    gate.opened.set()
    await waking
    assert (await world.instance()).state is S.RUNNING
    assert (await world.instance()).generation == before.generation + 4


@pytest.mark.requirement("HUB-4")
async def test_only_one_of_two_movers_wins(world: World) -> None:
    before = await world.stopped()
    won = await asyncio.gather(
        *(world.lifecycle.begin(operation, before) for operation in (Operation.WAKE,) * 5)
    )
    assert sorted(won) == [False] * 4 + [True]
    await world.until_state(S.RUNNING)


async def test_a_late_body_of_an_old_generation_does_nothing(world: World) -> None:
    before = await world.stopped()
    calls = list(world.provider.calls)
    await world.workflows.start("wake", "late", before.id, before.generation - 2)
    await world.running()
    await world.stopped()
    assert world.provider.count("start") == calls.count("start") + 1


async def test_everybody_has_their_own(world: World) -> None:
    instances = [await world.running(principal) for principal in EVERYBODY]
    assert len({instance.sandbox_id for instance in instances}) == 3
    everything = await world.db.read(store.list_all)
    assert {instance.state for instance in everything} == {S.RUNNING}
