"""The events of a run, in the spelling of the npm btca server's `/question/stream`.

`session`, `status` and `citations` are additions of this project. Events are numbered from 1
without gaps by whoever keeps them (`NumberedEvent`); the number is not part of the event.
"""

from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec

from firsthand.protocol.message import Message


class Event(Message, frozen=True, kw_only=True, tag_field="type"):
    """One thing that happened in a run; `type` on the wire names the subclass."""


class SessionStarted(Event, frozen=True, kw_only=True, tag="session"):
    """The first event: which run, thread and answer message this stream belongs to."""

    run_id: str
    thread_id: str
    message_id: str


class StatusChanged(Event, frozen=True, kw_only=True, tag="status"):
    """The instance or its sources are being made ready; `step` is in words for people."""

    status: str
    step: str | None = None


class ModelName(Message, frozen=True, kw_only=True):
    """Which model answers."""

    provider: str
    model: str


class AnsweredResource(Message, frozen=True, kw_only=True):
    """A source as this answer saw it: name, wanted ref and exact commit."""

    name: str
    ref: str
    commit: str
    committed_at: datetime | None = None
    fetched_at: datetime | None = None


class Meta(Event, frozen=True, kw_only=True, tag="meta"):
    """Sent once before the first delta."""

    model: ModelName
    resources: list[AnsweredResource]


class ReasoningDelta(Event, frozen=True, kw_only=True, tag="reasoning.delta"):
    """More of the model's reasoning."""

    delta: str


class TextDelta(Event, frozen=True, kw_only=True, tag="text.delta"):
    """More of the answer."""

    delta: str


class ToolStatus(StrEnum):
    """How far a tool call has come."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    ERROR = "error"


class ToolState(Message, frozen=True, kw_only=True, omit_defaults=True):
    """A tool call's state; `output` is text, whether the call succeeded or failed."""

    # `status` has no default, so that it is always on the wire.
    status: ToolStatus
    input: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])
    output: str | None = None


class ToolUpdated(Event, frozen=True, kw_only=True, tag="tool.updated"):
    """A tool call was announced, started, or ended."""

    call_id: str = msgspec.field(name="callID")
    tool: str
    state: ToolState


class Verdict(StrEnum):
    """What the check of a citation found."""

    VERIFIED = "verified"
    UNREAD = "unread"
    MISSING = "missing"


class Citation(Message, frozen=True, kw_only=True):
    """Lines of a file at a commit that the answer points to; lines count from 1, both inclusive."""

    resource: str
    commit: str
    path: str
    start_line: int
    end_line: int
    url: str | None
    verdict: Verdict


class CitationsChecked(Event, frozen=True, kw_only=True, tag="citations"):
    """All citations of the answer with their verdicts, in the order of their first mention."""

    citations: list[Citation]


class Usage(Message, frozen=True, kw_only=True):
    """Tokens of a run; `estimated` where a provider gave no counts."""

    input_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    total_tokens: int = 0
    estimated: bool = False


class ToolCall(Message, frozen=True, kw_only=True):
    """A finished tool call as `done` repeats it."""

    call_id: str = msgspec.field(name="callID")
    tool: str
    state: ToolState


class Done(Event, frozen=True, kw_only=True, tag="done"):
    """The answer is complete. `metrics` holds numbers such as `durationMs` and `steps`."""

    text: str
    reasoning: str
    tools: list[ToolCall]
    usage: Usage
    metrics: dict[str, float] = msgspec.field(default_factory=dict[str, float])


class RunFailed(Event, frozen=True, kw_only=True, omit_defaults=True, tag="error"):
    """The run ended without a full answer; what was said so far stays valid."""

    # Named as the npm server names it; `tag` is a stable word for programs.
    error_tag: str = msgspec.field(name="tag")
    message: str
    hint: str | None = None


RunEvent = (
    SessionStarted
    | StatusChanged
    | Meta
    | ReasoningDelta
    | TextDelta
    | ToolUpdated
    | CitationsChecked
    | Done
    | RunFailed
)


class NumberedEvent(Message, frozen=True, kw_only=True):
    """An event with its place in the run's journal, counted from 1."""

    number: int
    event: RunEvent


_decoder: msgspec.json.Decoder[RunEvent] = msgspec.json.Decoder(RunEvent)
_encoder = msgspec.json.Encoder()


def encode_event(event: RunEvent) -> bytes:
    """Return the event as one line of JSON, without a line break."""
    return _encoder.encode(event)


def decode_event(data: bytes | str) -> RunEvent:
    """Read an event back; raises `msgspec.ValidationError` for anything else."""
    return _decoder.decode(data)


def event_type(event: RunEvent) -> str:
    """Return the word that stands in `type` and in the `event:` line of the stream."""
    return str(event.__struct_config__.tag)


def ends_run(event: RunEvent) -> bool:
    """Tell whether no further event can follow."""
    return isinstance(event, Done | RunFailed)
