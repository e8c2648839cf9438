"""Checks the citations of an answer against the checkouts and against what was really read."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from firsthand.agent.errors import ToolError
from firsthand.agent.tools.checkouts import Checkouts, Place
from firsthand.agent.tools.read_file import read_lines
from firsthand.agent.tools.reading import ReadLog
from firsthand.protocol.citation_syntax import CitationMark, find_citations
from firsthand.protocol.events import Citation, Verdict
from firsthand.protocol.questions import CheckoutRef

MAX_CITATIONS: Final = 200


@dataclass(frozen=True, slots=True)
class _File:
    """A cited file: its path with links resolved, and how many lines it has as far as is cited."""

    real: str
    lines: int


def check_citations(text: str, checkouts: Checkouts, log: ReadLog) -> list[Citation]:
    """Return the citations of the text, each once, in the order of their first mention."""
    marks: dict[tuple[str, str, int, int], CitationMark] = {}
    for mark in find_citations(text, checkouts.names):
        if len(marks) == MAX_CITATIONS:
            break
        marks.setdefault((mark.resource, mark.path, mark.start_line, mark.end_line), mark)
    located = [(mark, *_locate(mark, checkouts)) for mark in marks.values()]
    files = _look_at(located)
    return [_check(mark, ref, path, files.get((ref, path)), log) for mark, ref, path in located]


def _locate(mark: CitationMark, checkouts: Checkouts) -> tuple[CheckoutRef | None, str]:
    ref = checkouts.get(mark.resource)
    if ref is None and len(checkouts.names) == 1:
        # The only checkout's name was left out: the mark's first part belongs to the path.
        return checkouts.get(checkouts.names[0]), f"{mark.resource}/{mark.path}"
    return ref, mark.path


def _look_at(
    located: Sequence[tuple[CitationMark, CheckoutRef | None, str]],
) -> dict[tuple[CheckoutRef | None, str], _File]:
    """Read each file once, however often it is cited: it may be large."""
    last: dict[tuple[CheckoutRef, str], int] = {}
    for mark, ref, path in located:
        if ref is not None:
            last[ref, path] = max(mark.end_line, last.get((ref, path), 0))
    files: dict[tuple[CheckoutRef | None, str], _File] = {}
    for (ref, path), end in last.items():
        with suppress(ToolError, OSError):
            found = read_lines(Place(ref, path), end, end)
            files[ref, path] = _File(found.real, end if found.lines else found.total or 0)
    return files


def _check(
    mark: CitationMark, ref: CheckoutRef | None, path: str, file: _File | None, log: ReadLog
) -> Citation:
    if ref is None:
        return _citation(mark, mark.resource, path, None, Verdict.MISSING)
    if file is None or mark.end_line > file.lines:
        verdict = Verdict.MISSING
    elif log.covers(ref.name, file.real, mark.start_line, mark.end_line):
        verdict = Verdict.VERIFIED
    else:
        verdict = Verdict.UNREAD
    return _citation(mark, ref.name, path, ref, verdict)


def _citation(
    mark: CitationMark, resource: str, path: str, ref: CheckoutRef | None, verdict: Verdict
) -> Citation:
    known = ref is not None and verdict is not Verdict.MISSING
    return Citation(
        resource=resource,
        commit=ref.commit if ref else "",
        path=path,
        start_line=mark.start_line,
        end_line=mark.end_line,
        url=_link(ref, path, mark) if ref is not None and known else None,
        verdict=verdict,
    )


def _link(ref: CheckoutRef, path: str, mark: CitationMark) -> str | None:
    if ref.link_template is None:
        return None
    parts: Mapping[str, str] = {
        "{path}": quote(path),
        "{start}": str(mark.start_line),
        "{end}": str(mark.end_line),
    }
    link = ref.link_template
    for name, value in parts.items():
        link = link.replace(name, value)
    return link
