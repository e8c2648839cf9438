"""The bounds of one run: how much is used, when to wind up, and when it is over."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from firsthand.agent.errors import AgentError
from firsthand.protocol.events import Usage
from firsthand.protocol.questions import RunLimits

# From this share of a limit onward no more tools are run, so that there is room for an answer.
_WIND_UP: Final = 0.8


class LimitReached(AgentError):
    """The run has used up one of its limits."""

    tag = "LimitReached"


@dataclass(slots=True)
class Budget:
    """What a run has used of its limits. `now` gives seconds of a clock that never goes back."""

    limits: RunLimits
    now: Callable[[], float]
    started: float = 0.0
    steps: int = 0
    tool_calls: int = 0
    answer_chars: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    estimated: bool = False

    def __post_init__(self) -> None:
        self.started = self.now()

    @property
    def seconds(self) -> float:
        """Seconds since the run began."""
        return self.now() - self.started

    @property
    def seconds_left(self) -> float:
        """Seconds until the run must have ended."""
        return max(0.0, self.limits.max_seconds - self.seconds)

    @property
    def tokens(self) -> int:
        """All tokens so far."""
        return self.input_tokens + self.output_tokens

    @property
    def usage(self) -> Usage:
        """The tokens as `done` tells them."""
        return Usage(
            input_tokens=self.input_tokens,
            output_tokens=self.output_tokens,
            reasoning_tokens=self.reasoning_tokens,
            total_tokens=self.tokens,
            estimated=self.estimated,
        )

    def add_usage(self, usage: Usage) -> None:
        """Add what one turn used. Raises `LimitReached` beyond the bound on tokens."""
        self.input_tokens += usage.input_tokens
        self.output_tokens += usage.output_tokens
        self.reasoning_tokens += usage.reasoning_tokens
        self.estimated = self.estimated or usage.estimated

    def check_tokens(self) -> None:
        """Raise `LimitReached` when no further turn can be paid for."""
        if self.tokens >= self.limits.max_total_tokens:
            raise LimitReached(
                f"The answer used {self.tokens:,} tokens and had to stop; "
                f"{self.limits.max_total_tokens:,} are allowed for one question.",
                hint="Ask something narrower, or raise the limit on tokens.",
            )

    def add_text(self, chars: int) -> None:
        """Count characters of the answer. Raises `LimitReached` beyond the bound."""
        self.answer_chars += chars
        if self.answer_chars > self.limits.max_answer_chars:
            raise LimitReached(
                f"The answer grew longer than {self.limits.max_answer_chars:,} characters "
                "and was stopped.",
                hint="Ask for a shorter answer, or for one part of it at a time.",
            )

    def out_of_time(self) -> LimitReached:
        """Return the error of a run that took too long."""
        return LimitReached(
            f"The answer took longer than {self.limits.max_seconds:g} seconds and was stopped.",
            hint="Ask something narrower, or raise the limit on time.",
        )

    def must_wind_up(self) -> str | None:
        """Return why the next turn has to give the answer, or `None` while tools may be used."""
        limits = self.limits
        if self.steps >= limits.max_steps - 1:
            return f"step {self.steps + 1} of {limits.max_steps}"
        if self.tool_calls >= limits.max_tool_calls:
            return f"{self.tool_calls} tool calls of {limits.max_tool_calls}"
        if self.tokens >= limits.max_total_tokens * _WIND_UP:
            return f"{self.tokens:,} tokens of {limits.max_total_tokens:,}"
        if self.seconds >= limits.max_seconds * _WIND_UP:
            return f"{self.seconds:.0f} seconds of {limits.max_seconds:g}"
        return None
