"""What the hub asks of an agent: a question, the checkouts to read, the model, the limits."""

from datetime import datetime
from enum import StrEnum

import msgspec

from firsthand.protocol.message import Message


class CheckoutRef(Message, frozen=True, kw_only=True):
    """A read-only tree of one commit as the agent sees it.

    `path` and `index_path` are absolute paths inside the sandbox. `commit` is the full commit
    of a git source, or `sha256:…` of the artefact for a package. `link_template` is a permanent
    link holding `{path}`, `{start}` and `{end}`, or `None` where the source has no public place.
    """

    name: str
    source: str
    path: str
    index_path: str | None = None
    ref: str
    commit: str
    committed_at: datetime | None = None
    fetched_at: datetime | None = None
    link_template: str | None = None
    search_paths: tuple[str, ...] = ()
    notes: str = ""


class Turn(Message, frozen=True, kw_only=True):
    """An earlier question of the thread and its answer."""

    question: str
    answer: str


class Dialect(StrEnum):
    """How the model is spoken to; `extractive` and `scripted` need no model."""

    EXTRACTIVE = "extractive"
    SCRIPTED = "scripted"
    OPENAI = "openai"
    ANTHROPIC = "anthropic"


class ModelChoice(Message, frozen=True, kw_only=True):
    """The model of a run. Keys are never part of it: the gateway knows them.

    `effort` asks for reasoning: "low", "medium" or "high"; `None` leaves it to the model.
    """

    dialect: Dialect
    provider: str
    model: str
    effort: str | None = None


class RunLimits(Message, frozen=True, kw_only=True):
    """Bounds on one run, each enforced by the agent."""

    max_steps: int = 24
    max_tool_calls: int = 96
    max_output_tokens: int = 8_192
    max_total_tokens: int = 600_000
    max_answer_chars: int = 120_000
    max_seconds: float = 600.0


class RunRequest(Message, frozen=True, kw_only=True):
    """Body of `POST /runs`. Sending the same `run_id` again starts nothing new."""

    run_id: str
    question: str
    checkouts: tuple[CheckoutRef, ...]
    model: ModelChoice
    history: tuple[Turn, ...] = ()
    gateway_token: str | None = None
    limits: RunLimits = msgspec.field(default_factory=RunLimits)


class RunState(StrEnum):
    """Life of a run, on the agent and in the hub."""

    QUEUED = "queued"
    STARTING = "starting"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class RunSnapshot(Message, frozen=True, kw_only=True):
    """Answer of `POST /runs` and `DELETE /runs/{id}`: the state and the last event number."""

    run_id: str
    state: RunState
    last_number: int


class AgentProblem(Message, frozen=True, kw_only=True):
    """Error body of the agent, in the form of the npm btca server."""

    error: str
    tag: str
    hint: str | None = None
