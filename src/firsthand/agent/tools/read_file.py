"""The tool `read_file`: lines of one file, numbered."""

import asyncio
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any, Final

from firsthand.agent.errors import ToolError
from firsthand.agent.tools import arguments
from firsthand.agent.tools.bounded import BoundedText, clip
from firsthand.agent.tools.checkouts import Place
from firsthand.agent.tools.tool import Tool, ToolContext, ToolOutput, describe

DEFAULT_LINES: Final = 300
MAX_LINES: Final = 1_000
_LINE_CHARS: Final = 1_000
_LINE_BYTES: Final = 64 * 1024
# Counting the lines of a larger file would take longer than the number is worth.
_COUNT_BYTES: Final = 16 * 1024 * 1024
# Beyond this many bytes no line is looked for.
_SEEK_BYTES: Final = 256 * 1024 * 1024

_PROPERTIES: Final = {
    "path": {"type": "string", "description": "name/path/to/file"},
    "start_line": {"type": "integer", "description": "first line, from 1 (default 1)"},
    "end_line": {
        "type": "integer",
        "description": f"last line, inclusive (default {DEFAULT_LINES} lines; "
        f"at most {MAX_LINES} in one call)",
    },
}


@dataclass(frozen=True, slots=True)
class _Scanned:
    lines: list[str]
    total: int | None
    lossy: bool


@dataclass(frozen=True, slots=True)
class Lines:
    """Lines of a file. `total` is `None` for a file too large to count.

    `real` is the file's path in its tree, with links resolved.
    """

    real: str
    start: int
    lines: list[str]
    total: int | None
    lossy: bool

    @property
    def end(self) -> int:
        """Number of the last line."""
        return self.start + len(self.lines) - 1


def read_lines(place: Place, start: int, end: int) -> Lines:
    """Read the lines from `start` to `end`, fewer where the file ends. Raises `ToolError`."""
    with place.find() as found:
        if found.is_folder:
            raise ToolError(f"{place.shown} is a folder; use list_files.")
        if not found.is_file:
            raise ToolError(f"{place.shown} is no ordinary file.")
        real, size, fd = found.real, found.size, found.open()
    with os.fdopen(fd, "rb") as file:
        head = file.read(8192)
        if head[:2] in {b"\xff\xfe", b"\xfe\xff"}:
            scanned = _utf16(file, head, size, start, end)
        elif b"\0" in head:
            raise ToolError(f"{place.shown} is a binary file of {size:,} bytes.")
        else:
            file.seek(0)
            scanned = _scan(file, size, start, end)
    return Lines(real, start, scanned.lines, scanned.total, scanned.lossy)


def _scan(file: IO[bytes], size: int, start: int, end: int) -> "_Scanned":
    raw: list[bytes] = []
    number = position = 0
    for line, length in _bounded_lines(file):
        number += 1
        position += length
        if start <= number <= end:
            raw.append(line)
        if (number >= end and size > _COUNT_BYTES) or position > _SEEK_BYTES:
            return _decoded(raw, start, None)
    return _decoded(raw, start, number)


def _bounded_lines(file: IO[bytes]) -> Iterator[tuple[bytes, int]]:
    """Yield the beginning of each line and the line's length; a line may be the whole file."""
    while line := file.readline(_LINE_BYTES):
        length = len(line)
        last = line
        while not last.endswith(b"\n") and (last := file.readline(_LINE_BYTES)):
            length += len(last)
            if length > _SEEK_BYTES:
                break
        yield line, length


def _decoded(raw: list[bytes], start: int, total: int | None) -> _Scanned:
    lossy = False
    lines: list[str] = []
    for number, line in enumerate(raw):
        body = line.rstrip(b"\r\n")
        if start + number == 1:
            body = body.removeprefix(b"\xef\xbb\xbf")
        try:
            lines.append(body.decode())
        except UnicodeDecodeError:
            lossy = True
            lines.append(body.decode("utf-8", "replace"))
    return _Scanned(lines, total, lossy)


def _utf16(file: IO[bytes], head: bytes, size: int, start: int, end: int) -> _Scanned:
    if size > _COUNT_BYTES:
        raise ToolError(f"The file is UTF-16 and too large to read ({size:,} bytes).")
    text = (head + file.read()).decode("utf-16", "replace")
    lines = text.splitlines()
    return _Scanned(lines[start - 1 : end], len(lines), lossy="\ufffd" in text)


async def _run(context: ToolContext, given: dict[str, Any]) -> ToolOutput:
    arguments.refuse_unknown(given, _PROPERTIES)
    place = context.checkouts.locate(arguments.text(given, "path"))
    start = arguments.number(given, "start_line", 1, low=1, high=10**8)
    default_end = start + DEFAULT_LINES - 1
    asked_end = arguments.number(given, "end_line", default_end, low=1, high=10**8)
    if asked_end < start:
        raise ToolError("`end_line` lies before `start_line`.")
    end = min(asked_end, start + MAX_LINES - 1)
    found = await asyncio.to_thread(read_lines, place, start, end)
    return _show(context, place, found, asked_end)


def _show(context: ToolContext, place: Place, found: Lines, asked_end: int) -> ToolOutput:
    if not found.lines:
        if found.total == 0:
            return ToolOutput(f"{place.shown} is empty.", {"lines": []})
        raise ToolError(f"{place.shown} has {found.total or 'fewer'} lines only.")
    out = BoundedText(context.limits.output_chars)
    out.add(f"{place.shown} lines {found.start}-{found.end} of {found.total or 'many'}")
    shown: list[str] = []
    for number, line in enumerate(found.lines, found.start):
        if not out.add(f"{number}: {clip(line, _LINE_CHARS)}"):
            break
        shown.append(line)
    end = found.start + len(shown) - 1
    context.log.add(place.checkout.name, found.real, found.start, end)
    more = found.total is None or found.total > end
    text = out.text(
        f"stopped at line {end}; read on with start_line {end + 1}"
        if end < asked_end and more
        else None,
        "bytes that are not UTF-8 are shown as \ufffd" if found.lossy else None,
    )
    data = {
        "resource": place.checkout.name,
        "path": found.real,
        "start": found.start,
        "lines": shown,
        "total": found.total,
    }
    return ToolOutput(text, data)


READ_FILE: Final = Tool(
    describe(
        "read_file",
        "Read lines of a file, numbered. Only lines that you have read may be cited.",
        _PROPERTIES,
        ("path",),
    ),
    _run,
)
