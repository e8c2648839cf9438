"""Checks the citations of an answer against the checkouts and against what was really read."""

from collections.abc import Mapping
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


def check_citations(text: str, checkouts: Checkouts, log: ReadLog) -> list[Citation]:
    """Return the citations of the text, each once, in the order of their first mention."""
    checked: dict[tuple[str, str, int, int], Citation] = {}
    for mark in find_citations(text, checkouts.names):
        key = (mark.resource, mark.path, mark.start_line, mark.end_line)
        if key not in checked and len(checked) < MAX_CITATIONS:
            checked[key] = _check(mark, checkouts, log)
    return list(checked.values())


def _check(mark: CitationMark, checkouts: Checkouts, log: ReadLog) -> Citation:
    ref = checkouts.get(mark.resource)
    if ref is None and len(checkouts.names) == 1:
        # The only checkout's name was left out: the mark's first part belongs to the path.
        ref = checkouts.get(checkouts.names[0])
        path = f"{mark.resource}/{mark.path}"
    else:
        path = mark.path
    if ref is None:
        return _citation(mark, mark.resource, path, None, Verdict.MISSING)
    verdict = _verdict(mark, ref, path, log)
    return _citation(mark, ref.name, path, ref, verdict)


def _verdict(mark: CitationMark, ref: CheckoutRef, path: str, log: ReadLog) -> Verdict:
    try:
        found = read_lines(Place(ref, path), mark.end_line, mark.end_line)
    except (ToolError, OSError):
        return Verdict.MISSING
    if not found.lines:
        return Verdict.MISSING
    if log.covers(ref.name, found.real, mark.start_line, mark.end_line):
        return Verdict.VERIFIED
    return Verdict.UNREAD


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
