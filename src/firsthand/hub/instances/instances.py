"""What others do with instances: look, wake, stop, set up, reset, and have one running."""

import asyncio
from collections.abc import Callable
from datetime import timedelta

from firsthand.hub.errors import Conflict, Unavailable
from firsthand.hub.feeds.topics import instance_topic
from firsthand.hub.identity.principal import Principal, Scope
from firsthand.hub.ids import InstanceId
from firsthand.hub.instances import store
from firsthand.hub.instances.instance import (
    BEGINS_IN,
    PASSES_THROUGH,
    Instance,
    InstanceState,
    Operation,
    describe,
    may_begin,
)
from firsthand.hub.instances.lifecycle import Lifecycle
from firsthand.hub.instances.surroundings import Surroundings
from firsthand.hub.sandboxes.provider import AgentEndpoint, SandboxState

# A provision and a stop that were under way, and a wake of our own, with room.
_ENSURE_LIMIT = timedelta(minutes=5)
_MAX_TRIES = 3


class Instances:
    """The use cases of instances."""

    def __init__(self, surroundings: Surroundings, lifecycle: Lifecycle) -> None:
        self._around = surroundings
        self._lifecycle = lifecycle

    async def status(self, principal: Principal) -> Instance:
        """Return the principal's instance. Raises `NotFound`."""
        principal.require(Scope.READ)
        return await self._around.db.read(lambda c: store.get_own(c, principal))

    async def provision(self, principal: Principal) -> Instance:
        """Set the instance up for the first time. Raises `Conflict`."""
        return await self._do(Operation.PROVISION, principal)

    async def wake(self, principal: Principal) -> Instance:
        """Start the instance. Does nothing if it runs or is starting. Raises `Conflict`."""
        return await self._do(Operation.WAKE, principal, content_with=InstanceState.RUNNING)

    async def stop(self, principal: Principal) -> Instance:
        """Stop the instance. Does nothing if it is stopped or stopping. Raises `Conflict`."""
        return await self._do(Operation.STOP, principal, content_with=InstanceState.STOPPED)

    async def reset(self, principal: Principal) -> Instance:
        """Replace the sandbox by a new one. Raises `Conflict`."""
        return await self._do(Operation.RESET, principal)

    async def _do(
        self,
        operation: Operation,
        principal: Principal,
        *,
        content_with: InstanceState | None = None,
    ) -> Instance:
        principal.require(Scope.MANAGE)
        instance = await self.status(principal)
        if instance.state in (PASSES_THROUGH[operation], content_with):
            return instance
        if not may_begin(operation, instance):
            raise _refusal(operation, instance)
        await self._lifecycle.begin(operation, instance)
        # Whoever lost the race is shown what the winner began.
        return await self.status(principal)

    async def ensure_running(
        self, instance_id: InstanceId, *, on_step: Callable[[str], None] | None = None
    ) -> AgentEndpoint:
        """Return the agent of a running instance, waking or making it where needed.

        Any number of callers share one wake. `on_step` hears what is being done. Raises
        `Unavailable` with the instance's own message if it cannot be brought to run.
        """
        try:
            async with asyncio.timeout(_ENSURE_LIMIT.total_seconds()):
                return await self._ensure_running(instance_id, on_step or _nobody)
        except TimeoutError as error:
            raise Unavailable(
                "The instance did not come up in time.", hint="Try again, or reset the instance."
            ) from error

    async def _ensure_running(
        self, instance_id: InstanceId, on_step: Callable[[str], None]
    ) -> AgentEndpoint:
        tries = 0
        seen_passing = False
        async with self._around.feeds.subscribe([instance_topic(instance_id)]) as subscription:
            while True:
                instance = await self._around.db.read(lambda c: store.get(c, instance_id))
                if instance.step:
                    on_step(instance.step)
                if instance.is_passing:
                    # A failed stop is no reason not to try a wake.
                    seen_passing = instance.state is not InstanceState.STOPPING
                    await subscription.changed()
                    continue
                if instance.state is InstanceState.RUNNING:
                    endpoint = await self._endpoint_if_alive(instance)
                    if endpoint is not None:
                        return endpoint
                    continue
                failed = instance.state is InstanceState.ERROR and seen_passing
                if failed or tries == _MAX_TRIES:
                    raise Unavailable(
                        instance.error_message or "The instance does not come up.",
                        hint="Try again; if it fails again, reset the instance.",
                    )
                tries += 1
                await self._lifecycle.begin(_way_up(instance), instance)

    async def running_endpoint(self, instance_id: InstanceId) -> AgentEndpoint | None:
        """Return the agent if the instance runs; wakes nothing."""
        instance = await self._around.db.read(lambda c: store.get(c, instance_id))
        if instance.state is not InstanceState.RUNNING:
            return None
        return await self._endpoint_if_alive(instance)

    async def _endpoint_if_alive(self, instance: Instance) -> AgentEndpoint | None:
        provider, sandbox_id = self._around.provider, instance.sandbox_id
        if sandbox_id and await provider.state(sandbox_id) is SandboxState.RUNNING:
            return await provider.endpoint(sandbox_id)
        await self._lifecycle.note_dead(instance)
        return None


def _way_up(instance: Instance) -> Operation:
    return Operation.WAKE if may_begin(Operation.WAKE, instance) else Operation.PROVISION


def _refusal(operation: Operation, instance: Instance) -> Conflict:
    detail = f"The instance is {describe(instance.state)}; {operation} is not possible now."
    if instance.is_passing:
        return Conflict(detail, hint="Wait until it is done, then try again.")
    if instance.state is InstanceState.RUNNING and InstanceState.STOPPED in BEGINS_IN[operation]:
        return Conflict(detail, hint="Stop it first.")
    return Conflict(detail, hint="Provision it first.")


def _nobody(_step: str) -> None:
    """Hear nothing."""
