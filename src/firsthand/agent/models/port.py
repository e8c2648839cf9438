"""The port to a language model: one turn of a conversation in, a stream of parts out.

Above it: the loop, which runs tools and decides what comes next. Below it: one dialect. An
adapter translates messages and streams, counts what the provider counts, and raises `ModelError`
for everything that a provider does wrong; it runs no tool and keeps no state between turns.
"""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from firsthand.agent.errors import AgentError
from firsthand.protocol.events import Usage


@dataclass(frozen=True, slots=True)
class ToolRequest:
    """The model wants a tool called. `arguments` is the JSON text as it came, unchecked."""

    call_id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class UserMessage:
    """What a person, or the loop in their place, says."""

    text: str


@dataclass(frozen=True, slots=True)
class AssistantMessage:
    """What the model said in an earlier turn.

    `opaque` holds what a dialect must get back unchanged, such as signed reasoning blocks.
    """

    text: str
    tool_requests: tuple[ToolRequest, ...] = ()
    opaque: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool answered: text, and the same as data for adapters that have no model."""

    call_id: str
    name: str
    text: str
    failed: bool = False
    data: dict[str, Any] = field(default_factory=dict[str, Any])


ModelMessage = UserMessage | AssistantMessage | ToolResult


@dataclass(frozen=True, slots=True)
class ToolDescription:
    """A tool as the model sees it; `parameters` is a JSON schema object."""

    name: str
    description: str
    parameters: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ModelTurn:
    """One request to the model."""

    system: str
    messages: Sequence[ModelMessage]
    tools: Sequence[ToolDescription]
    max_output_tokens: int
    # The tools stay described, since earlier turns may hold calls, but no more may be called.
    tools_allowed: bool = True
    # What the loop has to say at the end of the conversation; it is no turn of the thread.
    notice: str | None = None


@dataclass(frozen=True, slots=True)
class TextPart:
    """More text."""

    text: str


@dataclass(frozen=True, slots=True)
class ReasoningPart:
    """More reasoning."""

    text: str


@dataclass(frozen=True, slots=True)
class TurnEnded:
    """The last part of a turn: the whole message, the tokens, and why it ended.

    `cut_short` says that the output limit ended it.
    """

    message: AssistantMessage
    usage: Usage = field(default_factory=Usage)
    cut_short: bool = False


ModelPart = TextPart | ReasoningPart | TurnEnded


class ModelError(AgentError):
    """The model could not be reached, refused, or sent what makes no sense.

    Asking again may help where `retry_after` is a number of seconds (0 for "soon").
    """

    tag = "ModelFailed"

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        tag: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, hint=hint, tag=tag)
        self.retry_after = retry_after


class GatewayLost(ModelError):
    """The connection broke off without a proper end: whoever passes the model on went away."""

    tag = "GatewayLost"


class Model(Protocol):
    """A model in one dialect."""

    def answer(self, turn: ModelTurn) -> AsyncGenerator[ModelPart, None]:
        """Stream one turn, ending with exactly one `TurnEnded`. Raises `ModelError`."""
        ...
