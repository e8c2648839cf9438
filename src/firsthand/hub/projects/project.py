"""A project: resources and threads that belong together."""

from dataclasses import dataclass
from datetime import datetime

from firsthand.hub.errors import BadInput
from firsthand.hub.ids import ProjectId, UserId

NAME_CHARS = 64
DEFAULT_NAME = "Default"


@dataclass(frozen=True, slots=True)
class Project:
    """Every user has at least one; the oldest is meant where none is named."""

    id: ProjectId
    owner_id: UserId
    name: str
    created_at: datetime


def check_project_name(name: str) -> str:
    """Return the name, tidied, or raise `BadInput`."""
    tidied = " ".join(name.split())
    if not 1 <= len(tidied) <= NAME_CHARS or not tidied.isprintable():
        raise BadInput(f"The name of a project has 1 to {NAME_CHARS} printable characters.")
    return tidied
