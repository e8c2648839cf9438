"""One step of durable work, bounded in time and tries.

A step is not recorded by the engine: every step of this project may be repeated, and what it
reached is read from the database and from the world, so that a record could only be wrong.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

T = TypeVar("T")


class StepFailed(Exception):
    """A step did not succeed in its time and tries; `reason` is in words for people."""

    def __init__(self, step: str, reason: str) -> None:
        super().__init__(f"{step}: {reason}")
        self.step = step
        self.reason = reason


@dataclass(frozen=True, slots=True)
class StepLimit:
    """Bounds on one step. The pause doubles after every failed try."""

    time: timedelta
    tries: int = 1
    pause: timedelta = timedelta(milliseconds=100)


async def run_step(
    name: str,
    work: Callable[[], Awaitable[T]],
    limit: StepLimit,
    *,
    retry_on: tuple[type[Exception], ...] = (),
) -> T:
    """Do `work` within its limit. Raises `StepFailed` for a time-out and for spent tries.

    Only the errors of `retry_on` and time-outs are tried again or turned into `StepFailed`;
    anything else is no failure of the step but a defect, and passes through.
    """
    pause = limit.pause.total_seconds()
    for attempt in range(1, limit.tries + 1):
        deadline = asyncio.timeout(limit.time.total_seconds())
        try:
            async with deadline:
                return await work()
        except TimeoutError as error:
            # A time-out from within is a failure of the work, not of our deadline.
            seconds = f"{limit.time.total_seconds():g}"
            reason = f"not done after {seconds} s" if deadline.expired() else str(error)
            failure = StepFailed(name, reason or "timed out")
            cause: Exception = error
        except retry_on as error:
            failure, cause = StepFailed(name, str(error) or type(error).__name__), error
        if attempt == limit.tries:
            raise failure from cause
        await asyncio.sleep(pause)
        pause *= 2
    raise AssertionError("a step has at least one try")
