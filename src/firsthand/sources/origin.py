"""The port to a kind of source: what the store asks of git and of the package registries."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from firsthand.sources.progress import Report
from firsthand.sources.source import Source


@dataclass(frozen=True, slots=True)
class Resolution:
    """What a ref means now: a full commit or a version, and the name under which it was found.

    `fixed` says that the same ref will mean the same for ever.
    """

    revision: str
    name: str
    fixed: bool


@dataclass(frozen=True, slots=True)
class Unpacked:
    """What was written. `commit` is a full git commit, or `sha256:…` of a package's file."""

    commit: str
    committed_at: datetime | None
    size_bytes: int
    file_count: int
    notes: tuple[str, ...] = ()


class Origin(Protocol):
    """One kind of source. The store sees to it that calls for one source never overlap."""

    async def resolve(self, source: Source, report: Report) -> Resolution:
        """Ask the remote what the ref means now."""
        ...

    async def fetch(self, source: Source, revision: str, report: Report) -> None:
        """Bring the revision into the store, if it is not there."""
        ...

    async def unpack(self, source: Source, revision: str, tree: Path, report: Report) -> Unpacked:
        """Write the files into the folder `tree`, which does not exist yet; its parent does."""
        ...

    def forget(self, source: Source) -> None:
        """Remove what `fetch` has kept for this source."""
        ...
