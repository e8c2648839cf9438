"""Durable operations on an instance: provision, wake, stop, reset.

An operation begins with the conditional move into its passing state; who wins it starts the
workflow, named by operation, instance and generation, so that it runs once however often it is
asked for. A body may be run again from its start after a crash: every step of it may be repeated,
and the last move succeeds only while the instance still is in the generation it began with.
`update` belongs to the table of moves but not here yet.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from types import MappingProxyType
from typing import Any, TypeVar
from weakref import WeakValueDictionary

import structlog

from firsthand.hub.db.engine import Connection
from firsthand.hub.errors import Unavailable
from firsthand.hub.feeds.topics import instance_topic, user_topic
from firsthand.hub.ids import InstanceId, SandboxId, new_sandbox_id
from firsthand.hub.instances import store
from firsthand.hub.instances.agent_client import AgentClient, AgentGone, Health
from firsthand.hub.instances.instance import (
    PASSES_THROUGH,
    Instance,
    InstanceState,
    Operation,
    Package,
    Step,
    may_begin,
)
from firsthand.hub.instances.surroundings import Surroundings
from firsthand.hub.instances.walk import Superseded, Walk
from firsthand.hub.sandboxes.provider import (
    SandboxFailed,
    SandboxSpec,
    SandboxState,
)
from firsthand.hub.workflows import StepFailed, StepLimit, run_step

T = TypeVar("T")

_log = structlog.get_logger("firsthand.instances")

# The workflow that carries a passing state to its end.
_CARRIED_BY = MappingProxyType(
    {
        InstanceState.PROVISIONING: Operation.PROVISION,
        InstanceState.STARTING: Operation.WAKE,
        InstanceState.STOPPING: Operation.STOP,
    }
)

_MAKE = StepLimit(timedelta(seconds=60), tries=2)
_START = StepLimit(timedelta(seconds=20), tries=2)
_ANSWER = StepLimit(timedelta(seconds=30), tries=2)
_STOP = StepLimit(timedelta(seconds=30), tries=2)
_MEASURE = StepLimit(timedelta(seconds=30))
_UNDO = StepLimit(timedelta(seconds=30), tries=2)

# All steps and tries of the longest operation together, with room; the reconciler ends what
# takes longer.
OPERATION_LIMIT = timedelta(minutes=6)

_FIRST_STEP = MappingProxyType(
    {
        Operation.PROVISION: "Making the sandbox",
        Operation.RESET: "Making the sandbox",
        Operation.WAKE: "Starting the agent",
        Operation.STOP: "Stopping the agent",
    }
)
_ANSWERING = "Waiting for the agent"

_FAILED = MappingProxyType(
    {
        Operation.PROVISION: "Setting up the instance failed",
        Operation.WAKE: "Waking the instance failed",
        Operation.STOP: "Stopping the instance failed",
    }
)
_WAY_OUT = "Try again; if it fails again, reset the instance."

# The first probes come at once; a fresh agent answers within some ten milliseconds.
_PROBE_PAUSE = 0.002
_PROBE_PAUSE_MAX = 0.05
_PROBES_PER_LOOK = 16


class Lifecycle:
    """Begins operations and carries them out."""

    def __init__(self, surroundings: Surroundings) -> None:
        self._around = surroundings
        self._locks: WeakValueDictionary[InstanceId, asyncio.Lock] = WeakValueDictionary()
        self._beginning: set[asyncio.Task[bool]] = set()
        workflows = surroundings.workflows
        workflows.register(Operation.PROVISION, self._provision)
        workflows.register(Operation.WAKE, self._wake)
        workflows.register(Operation.STOP, self._stop)

    def alone(self, instance_id: InstanceId) -> asyncio.Lock:
        """Return the lock under which the provider may be called for this instance."""
        return self._locks.setdefault(instance_id, asyncio.Lock())

    async def begin(
        self,
        operation: Operation,
        instance: Instance,
        *,
        only_if: Callable[[Connection], bool] | None = None,
    ) -> bool:
        """Move the instance into the operation's passing state and start its workflow.

        `only_if` is asked in the transaction that moves it. Returns whether this caller won;
        then the operation goes on, whatever becomes of the caller.
        """
        task = asyncio.create_task(self._begin(operation, instance, only_if))
        # A caller that is cancelled must not leave a move without its workflow.
        self._beginning.add(task)
        task.add_done_callback(self._begun)
        return await asyncio.shield(task)

    def _begun(self, task: asyncio.Task[bool]) -> None:
        self._beginning.discard(task)
        # Looked at, since its caller may be gone. What it could not do the reconciler will.
        if not task.cancelled() and task.exception() is not None:
            _log.warning("operation could not begin", reason=str(task.exception()))

    async def _begin(
        self,
        operation: Operation,
        instance: Instance,
        only_if: Callable[[Connection], bool] | None,
    ) -> bool:
        if not may_begin(operation, instance):
            return False
        now = self._around.clock()
        step = Step(name=_FIRST_STEP[operation], started_at=now)
        also: dict[str, Any] = {
            "step": step.name,
            "steps": store.encode_steps([step]),
            "error_message": None,
        }
        if operation in (Operation.PROVISION, Operation.RESET):
            # Known before it is made, so that no crash leaves a sandbox that nobody knows. What
            # was there before has no owner from now on, and the reconciler removes it.
            also["sandbox_id"] = new_sandbox_id()
        to = PASSES_THROUGH[operation]
        if not await self._move(instance, to, also, only_if):
            return False
        await self._start(to, instance.id, instance.generation + 1)
        return True

    async def resume(self, instance: Instance) -> bool:
        """Start the workflow of a passing state if a crash kept it from starting.

        Returns whether anything still carries this state to its end.
        """
        await self._start(instance.state, instance.id, instance.generation)
        return await self._around.workflows.is_unfinished(
            _workflow_id(instance.state, instance.id, instance.generation)
        )

    async def _start(self, state: InstanceState, instance_id: InstanceId, generation: int) -> None:
        workflow_id = _workflow_id(state, instance_id, generation)
        await self._around.workflows.start(_CARRIED_BY[state], workflow_id, instance_id, generation)

    async def give_up(self, instance: Instance, reason: str) -> bool:
        """End a passing state that nothing carries any more."""
        operation = _CARRIED_BY.get(instance.state, Operation.WAKE)
        message = f"{_FAILED[operation]}: {reason} {_WAY_OUT}"
        return await self._move(
            instance,
            InstanceState.ERROR,
            {**_ended(Walk(self._around, instance)), "error_message": message},
        )

    async def note_dead(self, instance: Instance) -> bool:
        """The sandbox of a running instance is not running: say so."""

        def both(connection: Connection) -> bool:
            now = self._around.clock()
            won = store.move(
                connection,
                instance.id,
                expected=InstanceState.RUNNING,
                generation=instance.generation,
                to=InstanceState.STOPPING,
                now=now,
            )
            return won and store.move(
                connection,
                instance.id,
                expected=InstanceState.STOPPING,
                generation=instance.generation + 1,
                to=InstanceState.STOPPED,
                now=now,
                also={"step": None, "steps": "[]"},
            )

        won = await self._around.db.write(both)
        self._publish(instance)
        return won

    async def check(self, sandbox_id: SandboxId, limit: StepLimit) -> Health:
        """Serve the gateway again and ask the agent how it is. Raises `StepFailed`."""

        async def adopt() -> Health:
            await self._serve_gateway(sandbox_id)
            return await self._probe(sandbox_id)

        return await run_step(_ANSWERING, adopt, limit, retry_on=(Unavailable,))

    # The bodies of the workflows. Each may be run again from its start.

    async def _provision(self, instance_id: InstanceId, generation: int) -> None:
        await self._operate(Operation.PROVISION, instance_id, generation, self._set_up)

    async def _wake(self, instance_id: InstanceId, generation: int) -> None:
        await self._operate(Operation.WAKE, instance_id, generation, self._wake_up)

    async def _stop(self, instance_id: InstanceId, generation: int) -> None:
        await self._operate(Operation.STOP, instance_id, generation, self._shut_down)

    async def _operate(
        self,
        operation: Operation,
        instance_id: InstanceId,
        generation: int,
        carry_out: "Callable[[Walk, SandboxId], Awaitable[None]]",
    ) -> None:
        async with self.alone(instance_id):
            instance = await self._around.db.read(lambda c: store.get(c, instance_id))
            if instance.generation != generation or _CARRIED_BY.get(instance.state) != operation:
                return
            walk = Walk(self._around, instance)
            sandbox_id = instance.sandbox_id
            try:
                if sandbox_id is None:
                    raise StepFailed(_FIRST_STEP[operation], "the instance has no sandbox.")
                await carry_out(walk, sandbox_id)
            except Superseded:
                return
            except StepFailed as failure:
                await self._fail(operation, walk, failure)
            except Exception as error:  # noqa: BLE001 - recorded
                # The outermost loop of an operation: no defect may leave it in a passing state.
                _log.exception("operation failed", operation=operation, instance=instance_id)
                await self._fail(operation, walk, StepFailed(walk.step, repr(error)))

    async def _set_up(self, walk: "Walk", sandbox_id: SandboxId) -> None:
        provider = self._around.provider
        spec = self._spec(walk.instance, sandbox_id)
        await walk.take(_FIRST_STEP[Operation.PROVISION], lambda: provider.create(spec), _MAKE)
        await self._start_agent(walk, sandbox_id)
        await self._finish_running(walk, sandbox_id, {"provisioned_at": self._around.clock()})

    async def _wake_up(self, walk: "Walk", sandbox_id: SandboxId) -> None:
        await self._start_agent(walk, sandbox_id)
        await self._finish_running(walk, sandbox_id, {})

    async def _start_agent(self, walk: "Walk", sandbox_id: SandboxId) -> None:
        provider = self._around.provider

        async def start() -> None:
            # Makes it again if the provider lost it: it holds nothing that cannot be made anew.
            await provider.create(self._spec(walk.instance, sandbox_id))
            await self._serve_gateway(sandbox_id)
            await provider.start(sandbox_id)

        await walk.take(_FIRST_STEP[Operation.WAKE], start, _START)

    async def _finish_running(
        self, walk: "Walk", sandbox_id: SandboxId, also: dict[str, Any]
    ) -> None:
        provider = self._around.provider

        async def answer() -> Health:
            if await provider.state(sandbox_id) is not SandboxState.RUNNING:
                await provider.start(sandbox_id)
            return await self._probe(sandbox_id)

        health = await walk.take(_ANSWERING, answer, _ANSWER)
        package = Package(name="firsthand", installed=health.version)
        also = {
            **also,
            "packages": store.encode_packages([package]),
            "last_active_at": self._around.clock(),
        }
        await self._finish(walk, InstanceState.RUNNING, also)

    async def _shut_down(self, walk: "Walk", sandbox_id: SandboxId) -> None:
        provider = self._around.provider

        async def stop() -> None:
            await provider.stop(sandbox_id)
            await self._around.gateway.unserve(sandbox_id)

        await walk.take(_FIRST_STEP[Operation.STOP], stop, _STOP)
        measure = walk.take(
            "Measuring storage", lambda: provider.storage_bytes(sandbox_id), _MEASURE
        )
        await self._finish(walk, InstanceState.STOPPED, {"storage_used_bytes": await measure})

    def _spec(self, instance: Instance, sandbox_id: SandboxId) -> SandboxSpec:
        settings = self._around.sandbox
        return SandboxSpec(
            sandbox_id=sandbox_id,
            runtime=instance.runtime,
            limits=settings.limits,
            idle_limit=settings.agent_idle_limit,
        )

    async def _serve_gateway(self, sandbox_id: SandboxId) -> None:
        socket = await self._around.provider.gateway_socket(sandbox_id)
        if socket is not None:
            await self._around.gateway.serve(sandbox_id, socket)

    async def _probe(self, sandbox_id: SandboxId) -> Health:
        """Ask until the agent answers. Raises `SandboxFailed` once its process is gone."""
        provider = self._around.provider
        pause, probes = _PROBE_PAUSE, 0
        async with AgentClient(await provider.endpoint(sandbox_id)) as agent:
            while True:
                try:
                    return await agent.health()
                except AgentGone:
                    probes += 1
                if probes % _PROBES_PER_LOOK == 0:
                    await self._look(sandbox_id)
                await asyncio.sleep(pause)
                pause = min(pause * 1.5, _PROBE_PAUSE_MAX)

    async def _look(self, sandbox_id: SandboxId) -> None:
        if await self._around.provider.state(sandbox_id) is not SandboxState.RUNNING:
            raise SandboxFailed("the agent ended before it answered.")

    async def _finish(self, walk: "Walk", to: InstanceState, also: dict[str, Any]) -> None:
        also = {**_ended(walk), **also}
        await self._move(walk.instance, to, also)

    async def _fail(self, operation: Operation, walk: "Walk", failure: StepFailed) -> None:
        """Undo what the operation left, and say which step failed, why, and what to do."""
        sandbox_id = walk.instance.sandbox_id
        also = _ended(walk)
        reason = failure.reason if failure.reason.endswith(".") else failure.reason + "."
        if sandbox_id is not None:
            reason += await self._last_words(sandbox_id)
            left = await self._undo(operation, sandbox_id)
            if operation is Operation.PROVISION and not left:
                also["sandbox_id"] = None
        also["error_message"] = (
            f"{_FAILED[operation]} at the step “{failure.step}”: {reason} {_WAY_OUT}"
        )
        _log.warning("operation failed", operation=operation, instance=walk.instance.id)
        await self._move(walk.instance, InstanceState.ERROR, also)

    async def _undo(self, operation: Operation, sandbox_id: SandboxId) -> bool:
        """Remove what a failed operation left; return whether something could not be removed."""
        provider = self._around.provider

        async def undo() -> None:
            if operation is Operation.PROVISION:
                await provider.destroy(sandbox_id)
            else:
                await provider.stop(sandbox_id)
            await self._around.gateway.unserve(sandbox_id)

        try:
            await run_step("Cleaning up", undo, _UNDO, retry_on=(Unavailable,))
        except StepFailed:
            # It stays known by its id, and the next operation or the reconciler meets it again.
            _log.warning("sandbox could not be cleaned up", sandbox=sandbox_id, exc_info=True)
            return True
        return False

    async def _last_words(self, sandbox_id: SandboxId) -> str:
        async def read() -> str:
            return await self._around.provider.read_log(sandbox_id, max_bytes=2048)

        try:
            log = await run_step("Reading the log", read, _MEASURE, retry_on=(Unavailable,))
        except StepFailed:
            return ""
        lines = [line.strip() for line in log.splitlines() if line.strip()]
        return f" Its last words: {lines[-1][:300]}." if lines else ""

    async def _move(
        self,
        instance: Instance,
        to: InstanceState,
        also: dict[str, Any],
        only_if: Callable[[Connection], bool] | None = None,
    ) -> bool:
        def move(connection: Connection) -> bool:
            if only_if is not None and not only_if(connection):
                return False
            return store.move(
                connection,
                instance.id,
                expected=instance.state,
                generation=instance.generation,
                to=to,
                now=self._around.clock(),
                also=also,
            )

        won = await self._around.db.write(move)
        self._publish(instance)
        return won

    def _publish(self, instance: Instance) -> None:
        self._around.feeds.publish([instance_topic(instance.id), user_topic(instance.user_id)])


def _ended(walk: Walk) -> dict[str, Any]:
    return {"step": None, "steps": store.encode_steps(walk.ended())}


def _workflow_id(state: InstanceState, instance_id: InstanceId, generation: int) -> str:
    return f"{_CARRIED_BY[state]}:{instance_id}:{generation}"
