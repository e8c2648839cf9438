"""The hub ends in the middle of every step of every operation; the next one leaves a true state.

The end is an interruption of all that is under way, with nothing written after it, as SIGKILL
would leave it; `test_killed.py` sends the real signal.
"""

import asyncio

import pytest

from firsthand.hub.instances.instance import InstanceState
from firsthand.hub.sandboxes.provider import SandboxState
from firsthand.protocol.events import TextDelta
from tests.hub_world import OWNER, Ground, World, text_of
from tests.scripted_agent import META, Gate, ScriptItem, done

S = InstanceState
pytestmark = pytest.mark.timeout(120)


async def interrupted(world: World, call: str) -> None:
    """Wait until the operation has come to this call of the provider."""
    async with asyncio.timeout(20):
        await world.provider.gates[call].reached.wait()


async def is_true(world: World) -> None:
    """What the row says is what the provider has."""
    instance = await world.instance()
    assert instance.sandbox_id is not None
    real = await world.provider.list_sandboxes()
    mine = real.get(instance.sandbox_id, SandboxState.MISSING)
    expected = SandboxState.RUNNING if instance.state is S.RUNNING else SandboxState.STOPPED
    assert mine is expected
    assert (instance.sandbox_id in world.gateway.served) == (instance.state is S.RUNNING)
    assert instance.step is None


@pytest.mark.requirement("HUB-4")
@pytest.mark.parametrize("call", ["create", "start", "endpoint"])
async def test_provision(ground: Ground, call: str) -> None:
    async with ground.hub(resume=False) as world:
        world.provider.gates[call] = Gate()
        begun = await world.instances.provision(OWNER)
        await interrupted(world, call)
    async with ground.hub() as world:
        instance = await world.until_state(S.RUNNING)
        assert instance.generation == begun.generation + 1
        assert instance.sandbox_id == begun.sandbox_id
        await is_true(world)
    # One sandbox for each of the three people, none left over.
    assert len(ground.backing.sandboxes) == 3


@pytest.mark.requirement("HUB-4")
@pytest.mark.parametrize("call", ["create", "start", "endpoint"])
async def test_wake(ground: Ground, call: str) -> None:
    async with ground.hub(resume=False) as world:
        before = await world.stopped()
        world.provider.gates[call] = Gate()
        await world.instances.wake(OWNER)
        await interrupted(world, call)
    async with ground.hub() as world:
        instance = await world.until_state(S.RUNNING)
        assert instance.generation == before.generation + 2
        await is_true(world)


@pytest.mark.requirement("HUB-4")
@pytest.mark.parametrize("call", ["stop", "storage_bytes"])
async def test_stop(ground: Ground, call: str) -> None:
    async with ground.hub(resume=False) as world:
        before = await world.running()
        world.provider.gates[call] = Gate()
        await world.instances.stop(OWNER)
        await interrupted(world, call)
    async with ground.hub() as world:
        instance = await world.until_state(S.STOPPED)
        assert instance.generation == before.generation + 2
        await is_true(world)


@pytest.mark.requirement("HUB-4")
@pytest.mark.parametrize("call", ["create", "endpoint"])
async def test_reset(ground: Ground, call: str) -> None:
    async with ground.hub(resume=False) as world:
        before = await world.stopped()
        world.provider.gates[call] = Gate()
        await world.instances.reset(OWNER)
        await interrupted(world, call)
    async with ground.hub() as world:
        instance = await world.until_state(S.RUNNING)
        assert instance.sandbox_id != before.sandbox_id
        await world.reconciler.round()
        assert before.sandbox_id not in await world.provider.list_sandboxes()
        await is_true(world)


async def test_the_undo_of_a_failed_provision(ground: Ground) -> None:
    async with ground.hub(resume=False) as world:
        world.provider.failing["endpoint"] = 99
        world.provider.gates["destroy"] = Gate()
        await world.instances.provision(OWNER)
        await interrupted(world, "destroy")
    # What made it fail is gone with the next hub, so that provisioning now succeeds.
    async with ground.hub() as world:
        await world.until_state(S.RUNNING)
        await is_true(world)


@pytest.mark.parametrize("call", ["create", "start", "endpoint"])
async def test_a_question_waits_over_the_crash_of_its_wake(ground: Ground, call: str) -> None:
    async with ground.hub(resume=False) as world:
        await world.stopped()
        world.provider.gates[call] = Gate()
        run = await world.ask.ask(OWNER, "Well?")
        await interrupted(world, call)
    async with ground.hub() as world:
        assert (await world.ended(run)).error_tag is None
    assert len(ground.agent.requests) == 1


async def test_a_question_waits_over_a_crash_while_fetching(ground: Ground) -> None:
    location = "https://host.example/owner/repo"
    async with ground.hub(resume=False) as world:
        gate = world.checkouts.gates[location] = Gate()
        run = await world.ask.ask(OWNER, "Well?")
        async with asyncio.timeout(20):
            await gate.reached.wait()
    async with ground.hub() as world:
        events = await world.events(run)
        assert [event.number for event in events] == list(range(1, len(events) + 1))
        assert (await world.journal.run(OWNER, run.id)).error_tag is None


async def test_two_restarts_in_one_answer(ground: Ground) -> None:
    gates = [Gate() for _ in range(3)]
    parts = ["one ", "two ", "three "]
    script: list[ScriptItem] = [META]
    for gate, part in zip(gates, parts, strict=True):
        script += [TextDelta(delta=part), gate]
    ground.agent.script = [*script, done("".join(parts))]
    run = None
    for number, gate in enumerate(gates):
        async with ground.hub() as world:
            run = run or await world.ask.ask(OWNER, "Well?")
            await world.until_text(run.id, "".join(parts[: number + 1]))
        gate.opened.set()
    assert run is not None
    async with ground.hub() as world:
        events = await world.events(run)
        assert [event.number for event in events] == list(range(1, len(events) + 1))
        assert text_of(events) == "one two three "
    assert len(ground.agent.requests) == 1
