"""A resource: a named source, the rules for what people write, and how its fetching stands."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from firsthand.hub.errors import BadInput
from firsthand.hub.ids import ProjectId, ResourceId
from firsthand.protocol.limits import NOTES_CHARS, RESOURCE_NAME_CHARS, SEARCH_PATH_CHARS
from firsthand.sources.errors import InvalidSource
from firsthand.sources.source import Source, check_ref, parse_source

# The contract bounds each search path; this bounds their number.
SEARCH_PATHS = 32
_NAME = re.compile(r"[A-Za-z0-9@._/-]+", re.ASCII)


class FetchState(StrEnum):
    """How the last fetch of a resource went."""

    NEW = "new"
    FETCHING = "fetching"
    READY = "ready"
    FAILED = "failed"


# A fetch that a killed hub left behind begins again, hence fetching to fetching.
MOVES: dict[FetchState, frozenset[FetchState]] = {
    FetchState.NEW: frozenset({FetchState.FETCHING}),
    FetchState.FETCHING: frozenset({FetchState.FETCHING, FetchState.READY, FetchState.FAILED}),
    FetchState.READY: frozenset({FetchState.FETCHING}),
    FetchState.FAILED: frozenset({FetchState.FETCHING}),
}


@dataclass(frozen=True, slots=True)
class ResourceSpec:
    """What a person decides about a resource. Checked; made by `make_spec`."""

    name: str
    source: Source
    search_paths: tuple[str, ...] = ()
    notes: str = ""


@dataclass(frozen=True, slots=True)
class Fetched:
    """What the last fetch that worked brought."""

    checkout_id: str
    ref: str
    commit: str
    committed_at: datetime | None
    fetched_at: datetime
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Resource:
    """A spec in a project. `fetched` stays what it was when a later fetch fails."""

    id: ResourceId
    project_id: ProjectId
    spec: ResourceSpec
    state: FetchState
    message: str | None
    fetched: Fetched | None
    created_at: datetime

    @property
    def name(self) -> str:
        """The name by which questions and citations call it."""
        return self.spec.name

    @property
    def is_broken(self) -> bool:
        """Whether there is nothing to read of it: its fetch failed, and none had worked before."""
        return self.state is FetchState.FAILED and self.fetched is None


def make_spec(
    text: str,
    *,
    name: str | None = None,
    ref: str | None = None,
    search_paths: Sequence[str] = (),
    notes: str = "",
    allow_local: bool = False,
) -> ResourceSpec:
    """Return a checked spec of what a person wrote. Raises `BadInput` naming the limit.

    `ref` says the same as `@REF` at the end of `text`. Without a `name`, the source suggests one.
    """
    try:
        source = parse_source(text, allow_local=allow_local)
        if ref is not None and ref.strip():
            source = _with_ref(source, check_ref(ref.strip()))
    except InvalidSource as error:
        raise BadInput(error.message, hint=error.hint) from error
    return ResourceSpec(
        name=check_resource_name(name.strip() if name and name.strip() else source.suggested_name),
        source=source,
        search_paths=check_search_paths(search_paths),
        notes=check_notes(notes),
    )


def check_resource_name(name: str) -> str:
    """Return the name unchanged, or raise `BadInput`."""
    if not 1 <= len(name) <= RESOURCE_NAME_CHARS:
        raise BadInput(f"The name of a resource has 1 to {RESOURCE_NAME_CHARS} characters.")
    if not _NAME.fullmatch(name):
        raise BadInput("The name of a resource has letters, digits and @ . _ - / only.")
    # It becomes the first part of the path in a citation.
    if ".." in name or "//" in name or name[0] in "/-" or name[-1] == "/" or name == ".":
        raise BadInput(
            "The name of a resource must not hold .. or //, start with / or -, or end with /."
        )
    return name


def check_search_paths(paths: Iterable[str]) -> tuple[str, ...]:
    """Return the paths tidied and each once, or raise `BadInput`."""
    checked = tuple(dict.fromkeys(_check_search_path(path) for path in paths))
    if len(checked) > SEARCH_PATHS:
        raise BadInput(f"A resource has at most {SEARCH_PATHS} search paths.")
    return checked


def check_notes(notes: str) -> str:
    """Return the notes without space around, or raise `BadInput`."""
    tidied = notes.strip()
    if len(tidied) > NOTES_CHARS:
        raise BadInput(f"Notes have at most {NOTES_CHARS} characters.")
    if any(not char.isprintable() and char not in "\n\t\r" for char in tidied):
        raise BadInput("Notes must not hold control characters.")
    return tidied


def stored_bytes(resources: Iterable[Resource]) -> int:
    """Return the disk that the checkouts of these resources take, each checkout counted once."""
    sizes = {one.fetched.checkout_id: one.fetched.size_bytes for one in resources if one.fetched}
    return sum(sizes.values())


def free_name(wanted: str, taken: Iterable[str]) -> str:
    """Return `wanted`, or the first of `wanted-2`, `wanted-3`, … that is not taken."""
    names = set(taken)
    name, number = wanted, 2
    while name in names:
        ending = f"-{number}"
        name = wanted[: RESOURCE_NAME_CHARS - len(ending)] + ending
        number += 1
    return name


def _with_ref(source: Source, ref: str) -> Source:
    if source.ref is not None and source.ref != ref:
        raise BadInput(
            f"Two refs are named: {source.ref} in the source, and {ref}.", hint="Name one of them."
        )
    return replace(source, ref=ref)


def _check_search_path(path: str) -> str:
    tidied = path.strip()
    if len(tidied) > SEARCH_PATH_CHARS:
        raise BadInput(f"A search path has at most {SEARCH_PATH_CHARS} characters.")
    if not tidied or not tidied.isprintable() or "\\" in tidied:
        raise BadInput("A search path has printable characters, with / between folders.")
    parts = [part for part in tidied.split("/") if part not in {"", "."}]
    if tidied.startswith("/") or ".." in parts or not parts:
        raise BadInput("A search path is relative to the top of the source, without .. in it.")
    return "/".join(parts)
