"""How an answer grows from the events of its run.

`AnswerFold` is the one place that says what an answer is at a given moment: stored answers, views
of an answer under way and what a program prints are all made of it.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from firsthand.protocol.events import (
    AnsweredResource,
    Citation,
    CitationsChecked,
    Done,
    Meta,
    ModelName,
    ReasoningDelta,
    RunEvent,
    RunFailed,
    StatusChanged,
    TextDelta,
    ToolCall,
    ToolUpdated,
    Usage,
)
from firsthand.protocol.message import Message


class AnswerParts(Message, frozen=True, kw_only=True):
    """What an answer holds beside its text. Stored as JSON, so fields are only ever added."""

    reasoning: str = ""
    tools: tuple[ToolCall, ...] = ()
    citations: tuple[Citation, ...] = ()
    model: ModelName | None = None
    resources: tuple[AnsweredResource, ...] = ()
    usage: Usage | None = None
    metrics: dict[str, float] = msgspec.field(default_factory=dict[str, float])
    # How the preparation stands; of interest only while the answer is under way.
    step: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer as far as it has come."""

    text: str
    parts: AnswerParts
    failure: RunFailed | None = None


class AnswerFold:
    """Grows an answer event by event."""

    def __init__(self) -> None:
        self._text: list[str] = []
        self._reasoning: list[str] = []
        # In order of first mention, each in its last state.
        self._tools: dict[str, ToolCall] = {}
        self._citations: tuple[Citation, ...] = ()
        self._meta: Meta | None = None
        self._done: Done | None = None
        self._step: str | None = None
        self._failure: RunFailed | None = None

    def add(self, event: RunEvent) -> None:
        """Take the next event."""
        match event:
            case TextDelta():
                self._text.append(event.delta)
            case ReasoningDelta():
                self._reasoning.append(event.delta)
            case ToolUpdated():
                self._tools[event.call_id] = ToolCall(
                    call_id=event.call_id, tool=event.tool, state=event.state
                )
            case CitationsChecked():
                self._citations = tuple(event.citations)
            case Meta():
                self._meta = event
            case StatusChanged():
                self._step = event.step if event.status == "starting" else None
            case Done():
                self._done = event
            case RunFailed():
                self._failure = event
            case _:
                pass

    def answer(self) -> Answer:
        """Return the answer so far. The text of `done`, where it came, is the whole truth."""
        done = self._done
        parts = AnswerParts(
            reasoning=done.reasoning if done else "".join(self._reasoning),
            tools=tuple(done.tools) if done and done.tools else tuple(self._tools.values()),
            citations=self._citations,
            model=self._meta.model if self._meta else None,
            resources=tuple(self._meta.resources) if self._meta else (),
            usage=done.usage if done else None,
            metrics=done.metrics if done else {},
            step=None if done or self._failure else self._step,
        )
        return Answer(done.text if done else "".join(self._text), parts, self._failure)


def fold(events: Iterable[RunEvent]) -> Answer:
    """Return the answer that these events, in order, amount to."""
    growing = AnswerFold()
    for event in events:
        growing.add(event)
    return growing.answer()
