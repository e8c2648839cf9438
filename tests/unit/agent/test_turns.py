"""When a turn is asked for again, how, and when that ends."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field

import anyio
import pytest

from firsthand.agent.models.port import (
    AssistantMessage,
    GatewayLost,
    ModelError,
    ModelPart,
    ModelTurn,
    ReasoningPart,
    TextPart,
    TurnEnded,
    UserMessage,
)
from firsthand.agent.runs.prompt import GO_ON
from firsthand.agent.runs.turns import Patience, ask

pytestmark = pytest.mark.requirement("AGT-11")
TURN = ModelTurn("system", [UserMessage("How?")], [], 100)
LOST = GatewayLost("gone")
Attempt = Sequence[ModelPart | ModelError]


@dataclass
class Troubled:
    """A model whose attempts each say something, and may then fail."""

    attempts: list[Attempt]
    turns: list[ModelTurn] = field(default_factory=list[ModelTurn])

    async def answer(self, turn: ModelTurn) -> AsyncGenerator[ModelPart, None]:
        self.turns.append(turn)
        for part in self.attempts.pop(0):
            if isinstance(part, ModelError):
                raise part
            yield part


@dataclass
class Clock:
    """Time that passes only by being slept through."""

    seconds: float = 0.0
    pauses: list[float] = field(default_factory=list[float])

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.seconds += seconds

    def patience(self) -> Patience:
        return Patience(sleep=self.sleep, now=lambda: self.seconds)


def end(text: str) -> TurnEnded:
    return TurnEnded(AssistantMessage(text))


async def hear(model: Troubled, clock: Clock) -> list[ModelPart]:
    with anyio.fail_after(10):
        return [part async for part in ask(model, TURN, clock.patience())]


async def test_a_loss_before_any_text_repeats_the_turn() -> None:
    model = Troubled([[LOST], [ReasoningPart("Hm."), LOST], [TextPart("Yes."), end("Yes.")]])
    parts = await hear(model, Clock())
    assert parts[-1] == end("Yes.")
    assert model.turns == [TURN] * 3


async def test_a_loss_after_text_goes_on_from_there() -> None:
    model = Troubled([[TextPart("It is "), LOST], [TextPart("so."), end("so.")]])
    parts = await hear(model, Clock())
    assert parts == [TextPart("It is "), TextPart("so."), end("It is so.")]
    assert model.turns[1].messages == [UserMessage("How?"), AssistantMessage("It is")]
    assert model.turns[1].notice == GO_ON


async def test_pauses_grow_and_a_gateway_that_stays_away_is_given_up() -> None:
    clock = Clock()
    with pytest.raises(GatewayLost, match="did not come back"):
        await hear(Troubled([[LOST]] * 100), clock)
    assert clock.pauses == sorted(clock.pauses)
    assert clock.pauses[-1] == 5.0
    assert 120 < clock.seconds < 130


async def test_a_busy_provider_is_asked_again_when_it_said() -> None:
    clock = Clock()
    model = Troubled([[ModelError("busy", retry_after=7)], [end("Yes.")]])
    assert await hear(model, clock) == [end("Yes.")]
    assert clock.pauses == [7]


@pytest.mark.parametrize(
    ("attempts", "count"),
    [
        ([[ModelError("wrong key")]], 1),
        ([[ModelError("in an hour", retry_after=3_600)]], 1),
        ([[TextPart("It"), ModelError("ill", retry_after=0)]], 1),
        ([[ModelError("ill", retry_after=0)]] * 5, 5),
    ],
)
async def test_other_failures_end_the_turn(attempts: list[Attempt], count: int) -> None:
    model = Troubled(list(attempts))
    with pytest.raises(ModelError):
        await hear(model, Clock())
    assert len(model.turns) == count
