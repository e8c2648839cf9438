"""How an answer appears while it comes: rendered for a person, plain for a pipe, not at all."""

import re
import sys
from collections.abc import Sequence
from typing import Protocol

from firsthand.cli.terminal import ProgressLine, is_terminal, plain
from firsthand.protocol.events import AnsweredResource, Citation, Verdict

VERDICTS = {
    Verdict.VERIFIED: ("✓", "read"),
    Verdict.UNREAD: ("·", "exists, was not read"),
    Verdict.MISSING: ("✗", "does not exist"),
}


class AnswerView(Protocol):
    """Where an answer goes as it comes."""

    def progress(self, step: str) -> None:
        """Say what is going on."""
        ...

    def text(self, delta: str) -> None:
        """More of the answer."""
        ...

    def end(self, citations: Sequence[Citation], resources: Sequence[AnsweredResource]) -> None:
        """The answer is over; show its sources."""
        ...


class Silent:
    """For `--json`: progress only."""

    def __init__(self) -> None:
        self._line = ProgressLine()

    def progress(self, step: str) -> None:
        """Say what is going on."""
        self._line.show(step)

    def text(self, delta: str) -> None:
        """Hold still: the text is part of the object at the end."""

    def end(self, citations: Sequence[Citation], resources: Sequence[AnsweredResource]) -> None:
        """Take the progress away."""
        del citations, resources
        self._line.clear()


class Piped:
    """Plain Markdown, as it comes."""

    def __init__(self) -> None:
        self._line = ProgressLine()
        self._ends_in_line = False

    def progress(self, step: str) -> None:
        """Say what is going on."""
        self._line.show(step)

    def text(self, delta: str) -> None:
        """Pass it on at once."""
        self._line.clear()
        self._ends_in_line = not delta.endswith("\n")
        sys.stdout.write(plain(delta))
        sys.stdout.flush()

    def end(self, citations: Sequence[Citation], resources: Sequence[AnsweredResource]) -> None:
        """End the answer's last line and list the sources."""
        self._line.clear()
        if self._ends_in_line:
            sys.stdout.write("\n")
        for line in source_lines(citations, resources):
            sys.stdout.write(plain(line) + "\n")
        sys.stdout.flush()


class Rendered:
    """Markdown set for a terminal, block by block, so that nothing is written over."""

    def __init__(self) -> None:
        from rich.console import Console

        self._line = ProgressLine()
        self._console = Console(highlight=False)
        self._rest = ""

    def progress(self, step: str) -> None:
        """Say what is going on."""
        self._line.show(step)

    def text(self, delta: str) -> None:
        """Show the blocks that this completes."""
        self._rest += plain(delta)
        end = end_of_blocks(self._rest)
        if end:
            self._show(self._rest[:end])
            self._rest = self._rest[end:]

    def end(self, citations: Sequence[Citation], resources: Sequence[AnsweredResource]) -> None:
        """Show the last block and the sources."""
        if self._rest.strip():
            self._show(self._rest)
        self._rest = ""
        self._line.clear()
        for line in source_lines(citations, resources):
            self._console.print(plain(line), markup=False, soft_wrap=True)

    def _show(self, block: str) -> None:
        from rich.markdown import Markdown

        self._line.clear()
        self._console.print(Markdown(block.strip("\n"), hyperlinks=False))
        self._console.print()


_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})")
# A line that may belong to the block before it although an empty line lies between.
_CONTINUES = re.compile(r"^(\s|[-*+>|]|\d+[.)])")


def end_of_blocks(text: str) -> int:
    """Return where the last block ends that nothing to come can change; 0 where none does."""
    end, place, fence, blank = 0, 0, "", False
    for line in text.splitlines(keepends=True):
        if not line.endswith("\n"):
            break
        if not fence and blank and line.strip() and not _CONTINUES.match(line):
            end = place
        if mark := _FENCE.match(line):
            if not fence:
                fence = mark[1]
            elif mark[1].startswith(fence) and not line.strip().strip(fence[0]):
                fence = ""
        blank = not line.strip()
        place += len(line)
    return end


def source_lines(citations: Sequence[Citation], resources: Sequence[AnsweredResource]) -> list[str]:
    """Return the list that stands below an answer: each place once, then what was read."""
    lines: list[str] = []
    if citations:
        lines += ["", "Sources"]
        seen: dict[str, Citation] = {}
        for citation in citations:
            seen.setdefault(_place(citation), citation)
        width = max(len(place) for place in seen)
        for place, citation in seen.items():
            mark, words = VERDICTS[citation.verdict]
            link = f"  {citation.url}" if citation.url else ""
            lines.append(f"  {mark} {place:<{width}}  {words}{link}")
    if resources:
        lines += ["", "Read at"]
        for resource in resources:
            commit = short_commit(resource.commit)
            lines.append(f"  {resource.name}  {resource.ref}  {commit}")
    return lines


def short_commit(commit: str) -> str:
    """Return the part of a commit or digest that people compare."""
    kind, colon, digest = commit.rpartition(":")
    return f"{kind}{colon}{digest[:12]}"


def _place(citation: Citation) -> str:
    lines = f"{citation.start_line}"
    if citation.end_line != citation.start_line:
        lines += f"-{citation.end_line}"
    return f"{citation.resource}/{citation.path}:{lines}"


def choose_view(*, as_json: bool) -> AnswerView:
    """Return the view for where standard output leads."""
    if as_json:
        return Silent()
    return Rendered() if is_terminal(sys.stdout) else Piped()
