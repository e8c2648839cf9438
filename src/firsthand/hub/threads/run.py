"""A run, one attempt to answer a question: its states, its moves, and what it may read."""

from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType

from firsthand.hub.ids import MessageId, RunId, ThreadId, UserId
from firsthand.protocol.message import Message
from firsthand.protocol.questions import ModelChoice, RunState

_S = RunState

MOVES = MappingProxyType(
    {
        _S.QUEUED: frozenset({_S.STARTING, _S.FAILED, _S.CANCELLED}),
        # Back to starting is no move of its own: a run begun again stays in `starting`.
        _S.STARTING: frozenset({_S.RUNNING, _S.FAILED, _S.CANCELLED}),
        # `starting` again when the agent was lost before it had said anything.
        _S.RUNNING: frozenset({_S.STARTING, _S.SUCCEEDED, _S.FAILED, _S.CANCELLED}),
        _S.SUCCEEDED: frozenset[RunState](),
        _S.FAILED: frozenset[RunState](),
        _S.CANCELLED: frozenset[RunState](),
    }
)

UNFINISHED = frozenset(state for state, moves in MOVES.items() if moves)


class AskedSource(Message, frozen=True, kw_only=True):
    """A source that a question reads, fixed when it was asked."""

    name: str
    kind: str
    location: str
    ref: str | None = None
    search_paths: tuple[str, ...] = ()
    notes: str = ""


@dataclass(frozen=True, slots=True)
class Run:
    """One attempt to answer, as the database holds it.

    `last_number` counts the journal; `agent_number` is the last event taken from the agent.
    """

    id: RunId
    thread_id: ThreadId
    user_id: UserId
    question_id: MessageId
    answer_id: MessageId
    state: RunState
    sources: tuple[AskedSource, ...]
    model: ModelChoice
    last_number: int
    agent_number: int
    cancel_requested_at: datetime | None
    gateway_token_hash: str | None
    error_tag: str | None
    error_message: str | None
    error_hint: str | None
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None

    @property
    def is_finished(self) -> bool:
        """Whether nothing can be added to it any more."""
        return self.state not in UNFINISHED
