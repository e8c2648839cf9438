"""A thread: a conversation of one user within one project."""

from dataclasses import dataclass
from datetime import datetime

from firsthand.hub.ids import ProjectId, ThreadId, UserId

_TITLE_CHARS = 80


@dataclass(frozen=True, slots=True)
class Thread:
    """A conversation; its messages are kept beside it."""

    id: ThreadId
    user_id: UserId
    project_id: ProjectId
    title: str
    created_at: datetime
    updated_at: datetime


def title_from(question: str) -> str:
    """Make a title of a question: its first words, on one line, cut between two words."""
    line = " ".join(question.split())
    if len(line) <= _TITLE_CHARS:
        return line
    cut = line[: _TITLE_CHARS - 1]
    head, space, _ = cut.rpartition(" ")
    return (head if space and len(head) > _TITLE_CHARS // 2 else cut) + "…"
