"""The port to a language model: one turn of a conversation in, a stream of parts out.

Above it: the loop, which runs tools and decides what comes next. Below it: one dialect. An
adapter translates messages and streams, counts what the provider counts, and raises `ModelError`
for everything that a provider does wrong; it runs no tool and keeps no state between turns.
"""

from collections.abc import AsyncIterator, Sequence
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
    """What a tool answered, as text."""

    call_id: str
    name: str
    text: str
    failed: bool = False


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
    """The model could not be reached, refused, or sent what makes no sense."""


class Model(Protocol):
    """A model in one dialect."""

    def answer(self, turn: ModelTurn) -> AsyncIterator[ModelPart]:
        """Stream one turn, ending with exactly one `TurnEnded`. Raises `ModelError`."""
        ...
