"""What the templates are given: plain facts, already worded, nothing to look up any more."""

from dataclasses import dataclass
from datetime import datetime

from markupsafe import Markup

from firsthand.protocol.events import Verdict


@dataclass(frozen=True, slots=True)
class StepView:
    """One step of an operation; `seconds` is how long it took, or has taken so far."""

    name: str
    state: str  # done, active, failed, waiting
    seconds: float | None = None
    started_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class PackageView:
    """A package of the runtime."""

    name: str
    installed: str | None
    latest: str | None = None


@dataclass(frozen=True, slots=True)
class InstanceView:
    """The instance card and the status line."""

    state: str
    word: str
    tone: str  # good, busy, idle, bad
    passing: bool
    step: str | None
    steps: tuple[StepView, ...]
    error: str | None
    runtime: str
    packages: tuple[PackageView, ...]
    update_available: bool
    storage_bytes: int
    last_active_at: datetime | None
    can_wake: bool
    can_stop: bool
    can_retry: bool
    can_provision: bool
    can_reset: bool


@dataclass(frozen=True, slots=True)
class ResourceView:
    """A source in the list. `fetch` is new, fetching, ready or failed."""

    id: str
    name: str
    source: str
    kind: str
    ref: str | None
    commit: str | None
    committed_at: datetime | None
    fetched_at: datetime | None
    size_bytes: int | None
    fetch: str
    message: str | None
    checkout_id: str | None
    home: str | None = None
    step: str | None = None
    done: int | None = None
    total: int | None = None


@dataclass(frozen=True, slots=True)
class ThreadItem:
    """A thread in the rail."""

    id: str
    title: str
    updated_at: datetime
    answering: bool = False


@dataclass(frozen=True, slots=True)
class ToolLine:
    """One tool call: what was done in a word, to what, and the beginning of what came back."""

    call_id: str
    icon: str
    verb: str
    subject: str
    state: str  # pending, running, completed, error
    output: str = ""
    cut: bool = False


@dataclass(frozen=True, slots=True)
class WorkView:
    """The line of work above an answer."""

    summary: str
    tools: tuple[ToolLine, ...]
    reasoning: str
    running: bool
    since: datetime | None
    seconds: float | None


@dataclass(frozen=True, slots=True)
class SourceNote:
    """A citation in the margin. `excerpt` is empty where the lines cannot be shown."""

    number: int
    anchor: str
    resource: str
    path: str
    start_line: int
    end_line: int
    commit: str | None
    verdict: Verdict | None
    read_url: str | None
    host_url: str | None
    excerpt: Markup


@dataclass(frozen=True, slots=True)
class ReadFrom:
    """Which commit of a source an answer was made from."""

    name: str
    ref: str
    commit: str
    committed_at: datetime | None
    fetched_at: datetime | None


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a run gave no full answer, and the next thing to do."""

    message: str
    hint: str | None
    cancelled: bool = False


@dataclass(frozen=True, slots=True)
class TurnView:
    """A question and its answer."""

    run_id: str
    question: str
    again: bool  # the turn before it was an attempt at the same question
    asked_at: datetime
    running: bool
    work: WorkView
    answer: Markup
    has_text: bool
    notes: tuple[SourceNote, ...]
    read_from: tuple[ReadFrom, ...]
    model: str | None
    failure: Failure | None
    can_retry: bool


@dataclass(frozen=True, slots=True)
class LineView:
    """A line of a file; `marked` where it belongs to the range asked for."""

    number: int
    html: Markup
    marked: bool


@dataclass(frozen=True, slots=True)
class FileView:
    """A file, or why it cannot be shown (`notice`)."""

    path: str
    source: str
    ref: str
    commit: str
    fetched_at: datetime | None
    size_bytes: int
    total_lines: int
    lines: tuple[LineView, ...]
    start_line: int | None
    end_line: int | None
    notice: str | None
    host_url: str | None
    earlier_url: str | None = None
    later_url: str | None = None
