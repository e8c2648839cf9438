"""Reads what the git program prints: refs, progress, complaints. Runs nothing.

Everything here may have been written by a hostile remote.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from firsthand.sources.errors import (
    AuthenticationRequired,
    FetchFailed,
    FetchTimedOut,
    SourceError,
    SourceNotFound,
)
from firsthand.sources.jail import printable
from firsthand.sources.progress import Progress, Report

_PROGRESS = re.compile(
    r"(?:remote: )?(Counting objects|Compressing objects|Receiving objects|Resolving deltas"
    r"|Updating files): +\d+% \((\d+)/(\d+)\)(?:, ([\d.]+ (?:bytes|[KMG]iB)))?"
)
_AUTHENTICATION = re.compile(
    r"could not read (Username|Password)|Authentication failed|returned error: 40[13]"
    r"|terminal prompts disabled|HTTP Basic: Access denied"
)
_NOT_THERE = re.compile(
    r"repository '.*' not found|returned error: (404|410)|does not appear to be a git repository"
    r"|not valid: is this a git repository|remote error: .*not found"
)
_SLOW = re.compile(r"Operation too slow|timed out|Timeout was reached", re.IGNORECASE)


@dataclass(slots=True)
class RemoteRefs:
    """What a remote has: its default branch, and each branch and tag with its commit."""

    default: str | None = None
    branches: dict[str, str] = field(default_factory=dict[str, str])
    tags: dict[str, str] = field(default_factory=dict[str, str])
    head: str | None = None

    @property
    def names(self) -> list[str]:
        """All branches, then all tags."""
        return [*self.branches, *self.tags]


def read_refs(listing: bytes) -> RemoteRefs:
    """Read the output of `git ls-remote --symref`. Annotated tags are given as their commit.

    Names are for people and for records: what is no printable UTF-8 in them is replaced.
    """
    refs = RemoteRefs()
    for line in printable(listing.decode("utf-8", "replace")).split("\n"):
        value, _, name = line.partition("\t")
        if name == "HEAD" and value.startswith("ref: refs/heads/"):
            refs.default = value.removeprefix("ref: refs/heads/")
        elif name == "HEAD":
            refs.head = value
        elif name.startswith("refs/heads/"):
            refs.branches[name.removeprefix("refs/heads/")] = value
        elif name.startswith("refs/tags/"):
            # The peeled value follows the tag's own and overwrites it.
            refs.tags[name.removeprefix("refs/tags/").removesuffix("^{}")] = value
    return refs


def progress_listener(report: Report) -> Callable[[bytes], None]:
    """Return a reader of git's `--progress` output that reports each moment it understands."""
    rest = b""

    def listen(chunk: bytes) -> None:
        nonlocal rest
        *lines, rest = re.split(rb"[\r\n]", rest[-4096:] + chunk)
        for line in lines:
            if match := _PROGRESS.match(line.decode("utf-8", "replace")):
                step, done, total, detail = match.groups()
                report(Progress(step, int(done), int(total), detail))

    return listen


def explain(complaint: str, place: str) -> SourceError:
    """Turn the complaint of a git program that failed into an error for people."""
    if _AUTHENTICATION.search(complaint):
        return AuthenticationRequired(
            f"{place} asks for a password.",
            "It is private, or it does not exist. Only public repositories can be read.",
        )
    if _NOT_THERE.search(complaint):
        return SourceNotFound(
            f"There is no git repository at {place}.", "Check the spelling of the address."
        )
    if _SLOW.search(complaint):
        return FetchTimedOut(f"{place} stopped answering.", "Try again later.")
    return FetchFailed(f"Fetching {place} failed: {_gist(complaint)}", "Try again later.")


def _gist(complaint: str) -> str:
    lines = [line for line in printable(complaint).splitlines() if not _PROGRESS.match(line)]
    said = [line for line in lines if line.startswith(("fatal:", "error:", "remote:"))]
    return " ".join(said[:4] or lines[-2:])[:500] or "git gave no reason"
