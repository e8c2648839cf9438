"""Asks the model for one turn, and asks again where that may help.

Two things can go wrong on the way. The gateway may go away, as when the hub is restarted: it will
be back, so the turn is asked for again until it is, going on from where the text broke off. Or
the provider is busy or ill: then a few more attempts are made, if nothing has been said yet.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace

from firsthand.agent.models.port import (
    AssistantMessage,
    GatewayLost,
    Model,
    ModelError,
    ModelPart,
    ModelTurn,
    TextPart,
    TurnEnded,
    UserMessage,
)
from firsthand.agent.runs.prompt import GO_ON


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to go on trying; all in seconds."""

    first_pause: float = 0.2
    longest_pause: float = 5.0
    gateway_gone: float = 120.0
    attempts: int = 5
    longest_retry_after: float = 60.0
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    now: Callable[[], float] | None = None

    def clock(self) -> float:
        """Return seconds of a clock that never goes back."""
        return self.now() if self.now else asyncio.get_running_loop().time()


class _Attempts:
    """Decides whether to ask again, and waits before it."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._lost_at: float | None = None
        self._pause = patience.first_pause
        self._failures = 0

    def heard(self) -> None:
        """The model is speaking: whatever was wrong is over."""
        self._lost_at = None
        self._pause = self._patience.first_pause

    async def after_loss(self, error: GatewayLost) -> None:
        """Wait for the gateway to come back. Raises `GatewayLost` when it stays away."""
        now = self._patience.clock()
        if self._lost_at is None:
            self._lost_at = now
        elif now - self._lost_at > self._patience.gateway_gone:
            raise GatewayLost(
                "The connection to the model gateway was lost and did not come back.",
                hint="Ask again once Firsthand is running.",
            ) from error
        await self._wait()

    async def after_failure(self, error: ModelError, *, spoken: bool) -> None:
        """Wait for another attempt. Raises the error where none makes sense."""
        self._failures += 1
        asked = error.retry_after
        too_late = asked is not None and asked > self._patience.longest_retry_after
        if asked is None or spoken or too_late or self._failures >= self._patience.attempts:
            raise error
        await self._wait(at_least=asked)

    async def _wait(self, at_least: float = 0.0) -> None:
        await self._patience.sleep(max(self._pause, at_least))
        self._pause = min(self._pause * 2, self._patience.longest_pause)


async def ask(model: Model, turn: ModelTurn, patience: Patience) -> AsyncGenerator[ModelPart, None]:
    """Stream a turn as `Model.answer` does, with lost connections mended. Raises `ModelError`."""
    attempts = _Attempts(patience)
    said: list[str] = []
    spoken = False
    while True:
        before = "".join(said)
        try:
            async with aclosing(model.answer(_continued(turn, before))) as parts:
                async for part in parts:
                    attempts.heard()
                    spoken = True
                    if isinstance(part, TextPart):
                        said.append(part.text)
                    yield _joined(before, part) if isinstance(part, TurnEnded) else part
            return
        except GatewayLost as error:
            await attempts.after_loss(error)
        except ModelError as error:
            await attempts.after_failure(error, spoken=spoken)


def _continued(turn: ModelTurn, before: str) -> ModelTurn:
    """Return the turn, or its continuation after the text that has been said."""
    if not before:
        return turn
    messages = [*turn.messages]
    if turn.notice:
        messages.append(UserMessage(turn.notice))
    # Providers refuse an assistant message that ends in white space.
    messages.append(AssistantMessage(before.rstrip() or "…"))
    return replace(turn, messages=messages, notice=GO_ON)


def _joined(before: str, ended: TurnEnded) -> TurnEnded:
    """Put the text from before the loss into the message."""
    if not before:
        return ended
    message = ended.message
    whole = AssistantMessage(before + message.text, message.tool_requests, message.opaque)
    return replace(ended, message=whole)
