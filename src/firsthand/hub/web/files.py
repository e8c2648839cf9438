"""Reads files of a checkout for people: bounded, never outside the tree, and saying why not."""

import os
import stat
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from markupsafe import Markup

from firsthand.hub.errors import NotFound
from firsthand.hub.web import words
from firsthand.hub.web.highlight import highlight_lines, lexer_for_path
from firsthand.hub.web.views import LineView

MAX_BYTES = 2_000_000
MAX_LINES = 2_000
MAX_ENTRIES = 1_000
_EXCERPT_LINES = 60
_CONTEXT_LINES = 2


@dataclass(frozen=True, slots=True)
class Entry:
    """A name in a folder."""

    name: str
    folder: bool


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder's entries, folders first; `left_off` more were not listed."""

    entries: tuple[Entry, ...]
    left_off: int


@dataclass(frozen=True, slots=True)
class TextFile:
    """A file's text by lines, or a `notice` of why there is none."""

    size_bytes: int
    lines: tuple[Markup, ...]
    notice: str | None = None


def look(tree: Path, path: str) -> Folder | TextFile:
    """Return what is at a path of the tree. Raises `NotFound` for nothing, or a way out of it."""
    place = _confined(tree, path)
    mode = place.stat().st_mode
    if stat.S_ISDIR(mode):
        return _list(place)
    if not stat.S_ISREG(mode):
        return TextFile(0, (), "This is neither a file nor a folder.")
    return _read(place, path)


def _confined(tree: Path, path: str) -> Path:
    top = tree.resolve()
    try:
        place = (top / path.strip("/")).resolve(strict=True)
    except (OSError, ValueError, RuntimeError) as error:
        raise NotFound("There is no such file at this commit.") from error
    if not place.is_relative_to(top):
        raise NotFound(
            "This is a link to a place outside the source.", hint="Such links are not followed."
        )
    return place


def _list(place: Path) -> Folder:
    with os.scandir(place) as scan:
        found = [
            Entry(_printable(entry.name), entry.is_dir(follow_symlinks=False)) for entry in scan
        ]
    found.sort(key=lambda entry: (not entry.folder, entry.name.lower(), entry.name))
    return Folder(tuple(found[:MAX_ENTRIES]), max(0, len(found) - MAX_ENTRIES))


def _read(place: Path, path: str) -> TextFile:
    size = place.stat().st_size
    if size > MAX_BYTES:
        limit = words.size(MAX_BYTES)
        return TextFile(size, (), f"This file has {words.size(size)}; up to {limit} are shown.")
    data = place.read_bytes()
    if b"\0" in data[:8192]:
        return TextFile(size, (), f"This is a binary file of {words.size(size)}.")
    if not data:
        return TextFile(size, (), "This file is empty.")
    text = data.decode("utf-8", "replace").replace("\r\n", "\n").removesuffix("\n")
    return TextFile(size, tuple(_highlighted(text, path)))


@lru_cache(maxsize=32)
def _highlighted(text: str, path: str) -> tuple[Markup, ...]:
    return tuple(highlight_lines(text, lexer_for_path(path)))


@lru_cache(maxsize=512)
def excerpt(tree: Path, path: str, start: int, end: int) -> Markup:
    """Return the lines with a little around them as HTML; nothing where they cannot be shown.

    Cached without end of time: a tree never changes.
    """
    try:
        found = look(tree, path)
    except NotFound:
        return Markup("")
    if isinstance(found, Folder) or not found.lines or start > len(found.lines):
        return Markup("")
    last = min(end, start + _EXCERPT_LINES - 1)
    shown = window(found.lines, start - _CONTEXT_LINES, last + _CONTEXT_LINES, (start, end))
    body = Markup("").join(
        Markup('<span class="line{}"><span class="no" data-n="{}"></span>{}\n</span>').format(
            " on" if line.marked else "", line.number, line.html
        )
        for line in shown
    )
    return Markup("<pre><code>{}</code></pre>").format(body)


def window(
    lines: tuple[Markup, ...], first: int, last: int, marked: tuple[int, int] | None
) -> tuple[LineView, ...]:
    """Return the lines from `first` to `last`, counted from 1, as far as they exist."""
    low, high = marked or (1, 0)
    return tuple(
        LineView(number, lines[number - 1], low <= number <= high)
        for number in range(max(1, first), min(last, len(lines)) + 1)
    )


def _printable(name: str) -> str:
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
