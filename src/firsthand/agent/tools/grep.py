"""The tool `grep`: a regular expression over the files of the checkouts, by ripgrep."""

import asyncio
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from firsthand.agent.errors import ToolError
from firsthand.agent.tools import arguments, ripgrep
from firsthand.agent.tools.bounded import BoundedText, clip
from firsthand.agent.tools.checkouts import Place
from firsthand.agent.tools.tool import Tool, ToolContext, ToolOutput, describe

_LINE_CHARS: Final = 300
_MAX_BYTES: Final = 4 * 1024 * 1024
_DEFAULT_LIMIT: Final = 100
_MAX_LIMIT: Final = 500
_MAX_FILE: Final = "8M"
_MATCHING: Final = re.compile(rb"^\d+:", re.MULTILINE)

_PROPERTIES: Final = {
    "pattern": {"type": "string", "description": "regular expression (Rust syntax)"},
    "path": {"type": "string", "description": "name, or name/path to search in (default: all)"},
    "glob": {"type": "string", "description": "only files that match, such as *.py or src/**"},
    "ignore_case": {"type": "boolean", "description": "default false"},
    "literal": {"type": "boolean", "description": "take the pattern as plain text"},
    "context": {"type": "integer", "description": "lines around each match (0-10, default 0)"},
    "limit": {"type": "integer", "description": f"matching lines (default {_DEFAULT_LIMIT})"},
}


@dataclass(frozen=True, slots=True)
class Line:
    """A line that ripgrep printed; `match` is false for a line of context."""

    number: int
    text: str
    match: bool


@dataclass(frozen=True, slots=True)
class FileLines:
    """All that ripgrep printed of one file, read only as far as it is shown."""

    path: str
    block: bytes

    @property
    def matches(self) -> int:
        """How many of the lines match."""
        return len(_MATCHING.findall(self.block))

    def lines(self) -> Iterator[Line]:
        """The lines in their order."""
        for raw in self.block.split(b"\n"):
            digits = len(raw) - len(raw.lstrip(b"0123456789"))
            if digits:
                text = raw[digits + 1 :].decode("utf-8", "replace").rstrip("\r")
                yield Line(int(raw[:digits]), text, raw[digits : digits + 1] == b":")


async def _run(context: ToolContext, given: dict[str, Any]) -> ToolOutput:
    arguments.refuse_unknown(given, _PROPERTIES)
    options = _options(given)
    limit = arguments.number(given, "limit", _DEFAULT_LIMIT, low=1, high=_MAX_LIMIT)
    places = context.checkouts.places(arguments.optional_text(given, "path"))
    results = await asyncio.gather(
        *(_search(place, options, context.limits.seconds) for place in places)
    )
    return _show(context, places, results, limit)


def _options(given: dict[str, Any]) -> list[str]:
    pattern = arguments.text(given, "pattern")
    around = arguments.number(given, "context", 0, low=0, high=10)
    options = [
        "--line-number",
        "--heading",
        "--with-filename",
        "--null",
        f"--max-columns={_LINE_CHARS * 4}",
        "--max-columns-preview",
        f"--max-filesize={_MAX_FILE}",
        f"--context={around}",
        "--no-context-separator",
    ]
    glob = arguments.optional_text(given, "glob")
    if glob is not None:
        options.append(f"--glob={glob.removeprefix('./')}")
    if arguments.flag(given, "ignore_case"):
        options.append("--ignore-case")
    if arguments.flag(given, "literal"):
        options.append("--fixed-strings")
    return [*options, f"--regexp={pattern}"]


async def _search(
    place: Place, options: list[str], seconds: float
) -> tuple[list[FileLines], str | None]:
    with place.find() as found:
        target = found.real
    found = await ripgrep.run(
        [*options, "--", f"./{target}"],
        Path(place.checkout.path),
        seconds=seconds,
        max_bytes=_MAX_BYTES,
    )
    # ripgrep's threads finish in any order; sorted, the same question has the same answer.
    return sorted(_parse(found.output), key=lambda file: file.path), found.cut


def _parse(output: bytes) -> list[FileLines]:
    """Split into files: each is its name, a NUL, its lines, and an empty line."""
    files: list[FileLines] = []
    name = b""
    for part in output.split(b"\n\n"):
        path, nul, block = part.partition(b"\0")
        # A name may hold an empty line itself; a printed line is never empty.
        name += path if nul else part + b"\n\n"
        if nul:
            files.append(FileLines(name.decode("utf-8", "replace").removeprefix("./"), block))
            name = b""
    return files


def _show(
    context: ToolContext,
    places: list[Place],
    results: list[tuple[list[FileLines], str | None]],
    limit: int,
) -> ToolOutput:
    total = sum(file.matches for files, _ in results for file in files)
    cuts = {cut for _, cut in results if cut}
    if not total:
        return ToolOutput("No match." + "".join(f" [{cut}]" for cut in cuts), {"matches": []})
    out = BoundedText(context.limits.output_chars)
    matches: list[dict[str, Any]] = []
    for name, path, line in _in_order(places, results):
        mark = ":" if line.match else "-"
        said = clip(line.text.strip(), _LINE_CHARS)
        shown_line = f"{name}/{path}{mark}{line.number}{mark} {said}"
        if len(matches) >= limit or not out.add(shown_line):
            break
        context.log.add(name, path, line.number, line.number)
        if line.match:
            matches.append({"resource": name, "path": path, "line": line.number, "text": line.text})
    shown = len(matches)
    note = (
        f"{shown} of {total} matching lines shown; narrow the pattern, the path or the glob"
        if shown < total
        else None
    )
    return ToolOutput(
        out.text(note, *sorted(cuts), f"files over {_MAX_FILE} and binary files are left out"),
        {"matches": matches, "total": total},
    )


def _in_order(
    places: list[Place], results: list[tuple[list[FileLines], str | None]]
) -> Iterator[tuple[str, str, Line]]:
    """Yield checkout, path and line; a line found twice, as search paths may overlap, once."""
    seen: set[tuple[str, str, int]] = set()
    for place, (files, _) in zip(places, results, strict=True):
        name = place.checkout.name
        for file in files:
            for line in file.lines():
                if (key := (name, file.path, line.number)) not in seen:
                    seen.add(key)
                    yield name, file.path, line


def quoted(words: list[str]) -> str:
    """Return a pattern that matches any of the words as plain text. Raises `ToolError`."""
    if not words:
        raise ToolError("There is no word to look for.")
    special = set("\\.+*?()|[]{}^$#&-~")
    return "|".join(
        "".join(f"\\{char}" if char in special else char for char in word) for word in words
    )


GREP: Final = Tool(
    describe(
        "grep",
        "Search file contents with a regular expression. Shows matching lines with numbers.",
        _PROPERTIES,
        ("pattern",),
    ),
    _run,
)
