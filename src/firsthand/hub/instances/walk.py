"""The steps of one operation as people see them: marked when begun, timed when ended."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from firsthand.hub.errors import Unavailable
from firsthand.hub.feeds.topics import instance_topic
from firsthand.hub.instances import store
from firsthand.hub.instances.instance import Instance, Step
from firsthand.hub.instances.surroundings import Surroundings
from firsthand.hub.workflows import StepLimit, run_step

T = TypeVar("T")


class Superseded(Exception):
    """Someone moved the instance meanwhile; the operation ends without a word."""


class Walk:
    """One operation on its way, as far as its steps go."""

    def __init__(self, around: Surroundings, instance: Instance) -> None:
        self._around = around
        self.instance = instance
        self._steps = list(instance.steps)

    @property
    def step(self) -> str:
        """The step under way or last ended."""
        return self._steps[-1].name if self._steps else ""

    async def take(self, name: str, work: Callable[[], Awaitable[T]], limit: StepLimit) -> T:
        """Do one step. Raises `StepFailed`, or `Superseded` if the instance was moved."""
        if self.step == name:
            # Marked by the move that began the operation, or before a crash.
            return await run_step(name, work, limit, retry_on=(Unavailable,))
        self._steps = [*self.ended(), Step(name=name, started_at=self._around.clock())]
        # The world need not wait for the mark.
        mark = asyncio.create_task(self._mark())
        try:
            return await run_step(name, work, limit, retry_on=(Unavailable,))
        finally:
            if not await mark:
                raise Superseded

    async def _mark(self) -> bool:
        instance, steps = self.instance, self._steps
        won = await self._around.db.write(
            lambda c: store.mark_step(c, instance.id, instance.generation, steps)
        )
        self._around.feeds.publish([instance_topic(instance.id)])
        return won

    def ended(self) -> list[Step]:
        """Return the steps with the last one ended."""
        now = self._around.clock()
        return [
            step
            if step.ended_at
            else Step(name=step.name, started_at=step.started_at, ended_at=now)
            for step in self._steps
        ]
