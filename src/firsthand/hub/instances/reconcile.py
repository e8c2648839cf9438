"""Compares what the database says of instances with what the provider really has, and repairs.

A round takes no input: it looks at everything, so that it does not matter what was missed. A hint
only makes the next round come sooner. Rounds are safe beside users, workflows and each other,
because every repair is a conditional move.
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

import structlog

from firsthand.hub.errors import Unavailable
from firsthand.hub.ids import SandboxId
from firsthand.hub.instances import store
from firsthand.hub.instances.instance import Instance, InstanceState, Operation
from firsthand.hub.instances.lifecycle import OPERATION_LIMIT, Lifecycle
from firsthand.hub.instances.surroundings import Surroundings
from firsthand.hub.sandboxes.provider import SandboxState
from firsthand.hub.workflows import StepFailed, StepLimit

_log = structlog.get_logger("firsthand.reconcile")

_AT_ONCE = 16
_ADOPT = StepLimit(timedelta(seconds=5))
# It may be in the middle of answers, which nobody wants to lose to a busy moment.
_HANGS = StepLimit(timedelta(seconds=15))


@dataclass(frozen=True, slots=True)
class ReconcileSettings:
    """How often to look, and after what time without activity an instance stops."""

    period: timedelta = timedelta(seconds=15)
    idle_after: timedelta = timedelta(minutes=2)


class Reconciler:
    """Keeps rows and sandboxes in agreement. `start` it once workflows are launched."""

    def __init__(
        self,
        surroundings: Surroundings,
        lifecycle: Lifecycle,
        settings: ReconcileSettings | None = None,
    ) -> None:
        self._around = surroundings
        self._lifecycle = lifecycle
        self._settings = settings or ReconcileSettings()
        self._hint = asyncio.Event()
        # One that does not answer must not hold the others up.
        self._at_once = asyncio.Semaphore(_AT_ONCE)
        self._adopted: set[SandboxId] = set()
        self._began_at = surroundings.clock()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Do the first round, which adopts what an earlier hub left, then go on by the clock."""
        await self._recorded_round()
        self._task = asyncio.create_task(self._go_on())

    async def close(self) -> None:
        """Stop looking."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    def hint(self) -> None:
        """Something may have changed: look soon."""
        self._hint.set()

    async def _go_on(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._settings.period.total_seconds()):
                    await self._hint.wait()
            self._hint.clear()
            await self._recorded_round()

    async def _recorded_round(self) -> None:
        try:
            await self.round()
        except Exception:  # noqa: BLE001 - the outermost loop; recorded, and the next round comes
            _log.exception("a round failed")

    async def round(self) -> None:
        """Look at everything once and repair it."""
        provider = self._around.provider
        # Sandboxes first: whatever is listed was known to its instance before it was made.
        real = await provider.list_sandboxes()
        instances = await self._around.db.read(store.list_all)
        async with asyncio.TaskGroup() as group:
            for instance in instances:
                group.create_task(self._try_to_repair(instance, real))
        await self._stop_idle()
        await self._remove_orphans(real, {instance.sandbox_id for instance in instances})

    async def _try_to_repair(
        self, instance: Instance, real: Mapping[SandboxId, SandboxState]
    ) -> None:
        async with self._at_once:
            try:
                await self._repair(instance, real)
            except (Unavailable, StepFailed) as error:
                _log.warning("could not repair", instance=instance.id, reason=str(error))

    async def _repair(self, instance: Instance, real: Mapping[SandboxId, SandboxState]) -> None:
        if instance.is_passing:
            await self._carry_on(instance)
            return
        if instance.state is InstanceState.UNPROVISIONED:
            # Their user has just come; nobody need ask for it.
            await self._lifecycle.begin(Operation.PROVISION, instance)
            return
        sandbox_id = instance.sandbox_id
        if sandbox_id is None:
            return
        truth = real.get(sandbox_id, SandboxState.MISSING)
        if instance.state is InstanceState.RUNNING:
            await self._adopt_or_note(instance, sandbox_id, truth)
        elif truth is SandboxState.RUNNING:
            await self._quieten(instance, sandbox_id)

    async def _carry_on(self, instance: Instance) -> None:
        """See that a passing state is being carried to its end, and not for ever."""
        # A state that no hub was there to carry on is as old as this hub.
        age = self._around.clock() - max(instance.state_changed_at, self._began_at)
        if instance.state is InstanceState.UPDATING:
            await self._lifecycle.give_up(instance, "it was interrupted.")
        elif age > OPERATION_LIMIT:
            await self._lifecycle.give_up(instance, "it took too long.")
        elif not await self._lifecycle.resume(instance):
            await self._lifecycle.give_up(instance, "it was interrupted.")

    async def _adopt_or_note(
        self, instance: Instance, sandbox_id: SandboxId, truth: SandboxState
    ) -> None:
        if truth is not SandboxState.RUNNING:
            self._adopted.discard(sandbox_id)
            # The list may be older than a wake that has just ended.
            if await self._around.provider.state(sandbox_id) is not SandboxState.RUNNING:
                await self._lifecycle.note_dead(instance)
            return
        # Asked in every round: it tells the agent that its hub is there, and finds one that hangs.
        limit = _HANGS if sandbox_id in self._adopted else _ADOPT
        async with self._lifecycle.alone(instance.id):
            try:
                await self._lifecycle.check(sandbox_id, limit)
            except StepFailed as failure:
                _log.warning("a sandbox does not answer", sandbox=sandbox_id, reason=str(failure))
                self._adopted.discard(sandbox_id)
                answers = False
            else:
                self._adopted.add(sandbox_id)
                answers = True
        if not answers:
            await self._lifecycle.begin(Operation.STOP, instance)

    async def _quieten(self, instance: Instance, sandbox_id: SandboxId) -> None:
        """Stop a sandbox that runs although its instance is at rest."""
        async with self._lifecycle.alone(instance.id):
            now = await self._around.db.read(lambda c: store.get(c, instance.id))
            if now.generation == instance.generation:
                await self._around.provider.stop(sandbox_id)

    async def _stop_idle(self) -> None:
        before = self._around.clock() - self._settings.idle_after
        for instance in await self._around.db.read(lambda c: store.list_idle(c, before)):
            # A question may have come since.
            still = partial(store.is_idle, instance_id=instance.id, active_before=before)
            await self._lifecycle.begin(Operation.STOP, instance, only_if=still)

    async def _remove_orphans(
        self, real: Mapping[SandboxId, SandboxState], owned: set[SandboxId | None]
    ) -> None:
        for sandbox_id in real.keys() - owned:
            _log.warning("removing a sandbox without an owner", sandbox=sandbox_id)
            try:
                await self._around.provider.destroy(sandbox_id)
                await self._around.gateway.unserve(sandbox_id)
            except Unavailable as error:
                _log.warning("could not remove", sandbox=sandbox_id, reason=error.detail)
