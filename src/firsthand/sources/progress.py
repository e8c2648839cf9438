"""How far a fetch has come, in words and numbers for people."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """One moment of a fetch. `done` of `total` count what `step` names; either may be unknown."""

    step: str
    done: int | None = None
    total: int | None = None
    detail: str | None = None


Report = Callable[[Progress], None]


def ignore(_: Progress) -> None:
    """Tell nobody."""
