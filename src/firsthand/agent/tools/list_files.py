"""The tool `list_files`: what lies in a folder, to some depth."""

import asyncio
import os
from collections.abc import Iterator
from typing import Any, Final

from firsthand.agent.errors import ToolError
from firsthand.agent.tools import arguments
from firsthand.agent.tools.bounded import BoundedText
from firsthand.agent.tools.checkouts import Place
from firsthand.agent.tools.tool import Tool, ToolContext, ToolOutput, describe

_MAX_ENTRIES: Final = 500
_MAX_DEPTH: Final = 4

_PROPERTIES: Final = {
    "path": {"type": "string", "description": "name, or name/folder (default: every checkout)"},
    "depth": {"type": "integer", "description": f"levels of folders (1-{_MAX_DEPTH}, default 1)"},
}


async def _run(context: ToolContext, given: dict[str, Any]) -> ToolOutput:
    arguments.refuse_unknown(given, _PROPERTIES)
    depth = arguments.number(given, "depth", 1, low=1, high=_MAX_DEPTH)
    places = context.checkouts.places(arguments.optional_text(given, "path"))
    return await asyncio.to_thread(_list, context, places, depth)


def _list(context: ToolContext, places: list[Place], depth: int) -> ToolOutput:
    out = BoundedText(context.limits.output_chars)
    entries: list[str] = []
    left = 0
    for place in places:
        for line in _entries(place, depth):
            if len(entries) < _MAX_ENTRIES and out.add(line):
                entries.append(line)
            else:
                left += 1
    if not entries:
        return ToolOutput("The folder is empty.", {"entries": []})
    note = f"{left} more entries; list a folder below, or use glob" if left else None
    return ToolOutput(out.text(note), {"entries": entries})


def _entries(place: Place, depth: int) -> Iterator[str]:
    with place.find() as found:
        if not found.is_folder:
            raise ToolError(f"{place.shown} is a file; use read_file.")
        fd = found.open()
        real = found.real
    shown = f"{place.checkout.name}/{real}" if real else place.checkout.name
    try:
        yield f"{shown}/"
        yield from _below(fd, shown, depth)
    finally:
        os.close(fd)


def _below(fd: int, shown: str, depth: int) -> Iterator[str]:
    with os.scandir(fd) as scan:
        found = sorted(scan, key=lambda entry: entry.name)
    for entry in found:
        name = f"{shown}/{_printable(entry.name)}"
        if entry.is_symlink():
            target = _printable(os.readlink(entry.name, dir_fd=fd))
            yield f"{name} -> {target}"
        elif entry.is_dir(follow_symlinks=False):
            yield f"{name}/"
            if depth > 1:
                yield from _inside(fd, entry.name, name, depth - 1)
        else:
            yield f"{name}  {entry.stat(follow_symlinks=False).st_size:,} bytes"


def _inside(parent: int, entry: str, shown: str, depth: int) -> Iterator[str]:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(entry, flags, dir_fd=parent)
    try:
        yield from _below(fd, shown, depth)
    finally:
        os.close(fd)


def _printable(name: str) -> str:
    return "".join(c if c.isprintable() else "\ufffd" for c in name)


LIST_FILES: Final = Tool(
    describe("list_files", "List the files and folders of a folder.", _PROPERTIES), _run
)
