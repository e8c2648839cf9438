"""The reconciler: rows and sandboxes brought into agreement, whatever went wrong."""

import asyncio
from datetime import timedelta

from firsthand.hub.ids import new_sandbox_id
from firsthand.hub.instances import store
from firsthand.hub.instances.instance import InstanceState, Operation
from firsthand.hub.instances.lifecycle import OPERATION_LIMIT
from firsthand.hub.instances.reconcile import ReconcileSettings
from firsthand.hub.sandboxes.provider import SandboxSpec, SandboxState
from firsthand.protocol.questions import RunState
from tests.hub_world import EVERYBODY, OWNER, Ground, World
from tests.scripted_agent import Gate, say

S = InstanceState
TWO_MINUTES = ReconcileSettings(idle_after=timedelta(minutes=2))


async def test_a_new_instance_is_provisioned_by_itself(ground: Ground) -> None:
    async with ground.hub() as world:
        for principal in EVERYBODY:
            await world.until_state(S.RUNNING, principal=principal)


async def test_running_sandboxes_are_adopted_by_the_next_hub(ground: Ground) -> None:
    async with ground.hub() as world:
        before = await world.until_state(S.RUNNING)
    async with ground.hub() as world:
        after = await world.instance()
        assert after == before
        assert before.sandbox_id in world.gateway.served
        assert world.provider.count("start") == 0


async def test_a_sandbox_that_died_without_a_hub_is_noted_as_stopped(ground: Ground) -> None:
    async with ground.hub() as world:
        for principal in EVERYBODY:
            await world.until_state(S.RUNNING, principal=principal)
    await ground.clear()
    async with ground.hub() as world:
        assert (await world.instance()).state is S.STOPPED


async def test_a_sandbox_that_does_not_answer_is_stopped(ground: Ground) -> None:
    async with ground.hub() as world:
        for principal in EVERYBODY:
            await world.until_state(S.RUNNING, principal=principal)
    ground.agent.healthy = False
    async with ground.hub() as world:
        stopped = await world.until_state(S.STOPPED)
        assert stopped.sandbox_id is not None
        assert await world.provider.state(stopped.sandbox_id) is SandboxState.STOPPED


async def test_an_agent_that_no_longer_answers_is_stopped(world: World) -> None:
    await world.running()
    await world.reconciler.round()
    world.agent.healthy = False
    await world.reconciler.round()
    await world.until_state(S.STOPPED)


async def test_an_idle_instance_stops_but_not_a_busy_one(ground: Ground) -> None:
    gate = Gate()
    ground.agent.script = [gate, *say("Done.")]
    async with ground.hub(settings=TWO_MINUTES, resume=False) as world:
        await world.running()
        await world.reconciler.round()
        assert (await world.instance()).state is S.RUNNING

        run = await world.ask.ask(OWNER, "Well?")
        async with asyncio.timeout(20):
            await gate.reached.wait()
        world.clock.advance(timedelta(minutes=3))
        await world.reconciler.round()
        assert (await world.instance()).state is S.RUNNING

        gate.opened.set()
        await world.ended(run)
        # The end of an answer counts as activity.
        await world.reconciler.round()
        assert (await world.instance()).state is S.RUNNING
        world.clock.advance(timedelta(minutes=3))
        await world.reconciler.round()
        await world.until_state(S.STOPPED)


async def test_sandboxes_without_an_owner_are_removed(world: World) -> None:
    instance = await world.running()
    orphan = new_sandbox_id()
    await world.provider.create(SandboxSpec(orphan))
    await world.reconciler.round()
    real = await world.provider.list_sandboxes()
    assert orphan not in real
    assert instance.sandbox_id in real


async def test_a_sandbox_that_runs_although_it_should_not_is_stopped(world: World) -> None:
    instance = await world.stopped()
    assert instance.sandbox_id is not None
    await world.provider.start(instance.sandbox_id)
    await world.reconciler.round()
    assert await world.provider.state(instance.sandbox_id) is SandboxState.STOPPED


async def test_a_move_whose_workflow_never_started_is_carried_on(world: World) -> None:
    before = await world.stopped()
    await _strand(world, S.STARTING)
    await world.reconciler.round()
    after = await world.until_state(S.RUNNING)
    assert after.generation == before.generation + 2


async def test_a_passing_state_whose_workflow_is_gone_ends_in_an_error(world: World) -> None:
    before = await world.stopped()
    generation = before.generation + 1
    # A workflow of that name ended long ago and left the state as it was.
    await world.workflows.start("wake", f"wake:{before.id}:{generation}", before.id, -1)
    await _strand(world, S.STARTING)
    async with asyncio.timeout(20):
        while (failed := await world.instance()).state is S.STARTING:
            await world.reconciler.round()
    assert failed.state is S.ERROR
    assert "interrupted" in (failed.error_message or "")


async def test_no_passing_state_lasts_longer_than_its_limit(world: World) -> None:
    await world.stopped()
    gate = world.provider.gates["start"] = Gate()
    await world.instances.wake(OWNER)
    async with asyncio.timeout(20):
        await gate.reached.wait()
    world.clock.advance(OPERATION_LIMIT)
    await world.reconciler.round()
    failed = await world.instance()
    assert failed.state is S.ERROR
    assert "too long" in (failed.error_message or "")
    # The operation that was given up cannot win any more.
    gate.opened.set()
    del world.provider.gates["start"]
    assert (await world.running()).state is S.RUNNING


async def test_the_time_without_a_hub_does_not_count(ground: Ground) -> None:
    ground.agent.healthy = False
    async with ground.hub(resume=False) as world:
        run = await world.ask.ask(OWNER, "Well?")
        await world.until_state(S.PROVISIONING)
    ground.clock.advance(OPERATION_LIMIT)
    async with ground.hub() as world:
        assert (await world.instance()).state is S.PROVISIONING
        ground.agent.healthy = True
        assert (await world.ended(run)).state is RunState.SUCCEEDED


async def test_a_question_that_comes_at_the_last_moment_keeps_the_instance(world: World) -> None:
    gate = Gate()
    world.agent.script = [gate, *say("Done.")]
    instance = await world.running()
    before = world.clock() + timedelta(hours=1)
    assert await world.db.read(lambda c: store.list_idle(c, before)) == [instance]
    run = await world.ask.ask(OWNER, "Well?")
    assert not await world.lifecycle.begin(
        Operation.STOP, instance, only_if=lambda c: store.is_idle(c, instance.id, before)
    )
    gate.opened.set()
    assert (await world.ended(run)).state is RunState.SUCCEEDED


async def test_an_interrupted_update_ends_in_an_error(world: World) -> None:
    await world.stopped()
    await _strand(world, S.UPDATING)
    await world.reconciler.round()
    assert (await world.instance()).state is S.ERROR


async def test_a_round_that_fails_is_followed_by_the_next(ground: Ground) -> None:
    settings = ReconcileSettings(period=timedelta(hours=1), idle_after=timedelta(days=1))
    async with ground.hub(settings=settings) as world:
        for principal in EVERYBODY:
            await world.until_state(S.RUNNING, principal=principal)
        instance = await world.instance()
        assert instance.sandbox_id is not None
        await world.provider.stop(instance.sandbox_id)
        world.reconciler.hint()
        await world.until_state(S.STOPPED)


async def _strand(world: World, state: InstanceState) -> None:
    """Move the instance as an operation would, and die before its workflow starts."""
    instance = await world.instance()
    assert await world.db.write(
        lambda c: store.move(
            c,
            instance.id,
            expected=instance.state,
            generation=instance.generation,
            to=state,
            now=world.clock(),
        )
    )
