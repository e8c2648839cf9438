"""How a citation is written in an answer: `[name/path/to/file.py:10-20]`, and how it is found.

One place for the agent, which checks citations, and for web and command line, which turn them
into links. Nothing here looks at files.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_BRACKET = re.compile(r"\[([^\[\]\n]{3,2000})\]")
# One item: a path, a colon, one line or a range of lines. The path's slash is looked for apart, so
# that no text makes the expression try many ways.
_ITEM = re.compile(
    r"\s*`?(?P<path>[^\s`:,;\[\]][^`:;\[\]\n]*):L?(?P<start>\d{1,8})"
    r"(?:\s*[-\u2010-\u2014]\s*L?(?P<end>\d{1,8}))?`?\s*"
)
_SEPARATOR = re.compile(r"[,;]")
_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class CitationMark:
    """A citation in a text: the characters from `start` to `end`, and what they point to.

    Lines count from 1 and both are inclusive. `resource` is the longest of the known names that
    fits, or else the first part of the path (the first two for a name that starts with "@").
    """

    start: int
    end: int
    resource: str
    path: str
    start_line: int
    end_line: int


def find_citations(text: str, resources: Sequence[str] = ()) -> list[CitationMark]:
    """Return the citations of a Markdown text in their order; fenced code is left out."""
    names = sorted(resources, key=len, reverse=True)
    marks: list[CitationMark] = []
    for start, end in _prose(text):
        for bracket in _BRACKET.finditer(text, start, end):
            marks.extend(_in_bracket(bracket, names))
    return marks


def write_citation(resource: str, path: str, start_line: int, end_line: int) -> str:
    """Write a citation the way `find_citations` reads it."""
    lines = f"{start_line}" if end_line <= start_line else f"{start_line}-{end_line}"
    return f"[{resource}/{path}:{lines}]"


def _prose(text: str) -> Iterator[tuple[int, int]]:
    """Yield the stretches of the text that lie outside fenced code."""
    start, fence = 0, ""
    for match in _FENCE.finditer(text):
        mark = match[1]
        if not fence:
            yield start, match.start()
            fence = mark
        elif mark[0] == fence[0] and len(mark) >= len(fence):
            fence = ""
            start = match.end()
    if not fence:
        yield start, len(text)


def _in_bracket(bracket: re.Match[str], names: Sequence[str]) -> Iterator[CitationMark]:
    whole = _ITEM.fullmatch(bracket[1])
    if whole is not None:
        yield from _mark(whole, bracket.start(), bracket.end(), names)
        return
    offset = bracket.start(1)
    for piece in _SEPARATOR.split(bracket[1]):
        item = _ITEM.fullmatch(piece)
        if item is not None:
            inner = len(piece) - len(piece.lstrip())
            begin = offset + inner
            yield from _mark(item, begin, begin + len(piece.strip()), names)
        offset += len(piece) + 1


def _mark(
    item: re.Match[str], start: int, end: int, names: Sequence[str]
) -> Iterator[CitationMark]:
    first = int(item["start"])
    last = int(item["end"] or first)
    if first < 1 or last < first or "/" not in item["path"][1:-1]:
        return
    resource, path = split_path(item["path"].strip(), names)
    if path:
        yield CitationMark(start, end, resource, path, first, last)


def split_path(path: str, names: Sequence[str] = ()) -> tuple[str, str]:
    """Split `name/path/in/it` into the name and the path; `names` are tried longest first."""
    for name in names:
        if path.startswith(name + "/"):
            return name, path[len(name) + 1 :]
    parts = path.split("/")
    length = 2 if path.startswith("@") else 1
    return "/".join(parts[:length]), "/".join(parts[length:])
