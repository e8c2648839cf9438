"""The shape of a tool: what the model is told of it, and what running it gives back."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from firsthand.agent.models.port import ToolDescription
from firsthand.agent.tools.checkouts import Checkouts
from firsthand.agent.tools.reading import ReadLog
from firsthand.protocol.questions import CheckoutRef

if TYPE_CHECKING:
    from firsthand.sources.index.search import SearchIndex


class Indexes(Protocol):
    """Gives the search index of a checkout."""

    def get(self, ref: CheckoutRef) -> "SearchIndex | None":
        """Return the index, or `None` where the checkout has none."""
        ...


@dataclass(frozen=True, slots=True)
class ToolLimits:
    """Bounds on one tool call."""

    seconds: float = 20.0
    output_chars: int = 40_000


@dataclass(frozen=True, slots=True)
class ToolContext:
    """What a tool may use."""

    checkouts: Checkouts
    indexes: Indexes
    log: ReadLog = field(default_factory=ReadLog)
    limits: ToolLimits = field(default_factory=ToolLimits)


@dataclass(frozen=True, slots=True)
class ToolOutput:
    """What a tool found: text for the model, and the same as data for adapters without one."""

    text: str
    data: dict[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool. `run` raises `ToolError` for what the model can mend.

    It takes the arguments as they came, already known to be a JSON object.
    """

    description: ToolDescription
    run: Callable[[ToolContext, dict[str, Any]], Awaitable[ToolOutput]]


def describe(
    name: str, description: str, properties: dict[str, Any], required: tuple[str, ...] = ()
) -> ToolDescription:
    """Describe a tool whose parameters are these properties."""
    parameters = {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }
    return ToolDescription(name, description, parameters)
