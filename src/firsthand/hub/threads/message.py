"""A message of a thread: a question, or an answer once it is complete."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from firsthand.hub.ids import MessageId, RunId, ThreadId
from firsthand.protocol.answer import AnswerParts


class Speaker(StrEnum):
    """Who said a message."""

    USER = "user"
    ASSISTANT = "assistant"


@dataclass(frozen=True, slots=True)
class Message:
    """A question or an answer; immutable once `completed_at` is set."""

    id: MessageId
    thread_id: ThreadId
    position: int
    speaker: Speaker
    text: str
    parts: AnswerParts | None
    run_id: RunId | None
    created_at: datetime
    completed_at: datetime | None
