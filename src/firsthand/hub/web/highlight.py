"""Source text to lines of HTML with classes for colour; the colours are in the style sheet."""

import time
from functools import lru_cache

from markupsafe import Markup, escape
from pygments.lexer import Lexer
from pygments.lexers import (
    get_lexer_by_name,  # pyright: ignore[reportUnknownVariableType] # its options are untyped
    get_lexer_for_filename,  # pyright: ignore[reportUnknownVariableType]
)
from pygments.lexers.special import TextLexer
from pygments.token import STANDARD_TYPES, _TokenType  # pyright: ignore[reportPrivateUsage] # no public name for a token's type exists
from pygments.util import ClassNotFound

# Beyond this, colour is not worth the reader's wait.
_MAX_COLOURED_CHARS = 400_000
_MAX_LINE_CHARS = 4_000
# Some lexers take time in the square of the length for text that was made for it.
_MAX_SECONDS = 2.0


def lexer_for_language(language: str) -> Lexer:
    """Return the lexer for a fence's language word; plain text for an unknown one."""
    try:
        return get_lexer_by_name(language, stripnl=False, ensurenl=False)
    except ClassNotFound:
        return TextLexer(stripnl=False, ensurenl=False)


def lexer_for_path(path: str) -> Lexer:
    """Return the lexer for a file by its name alone."""
    try:
        return get_lexer_for_filename(path.rpartition("/")[2], stripnl=False, ensurenl=False)
    except ClassNotFound:
        return TextLexer(stripnl=False, ensurenl=False)


def highlight_lines(code: str, lexer: Lexer) -> list[Markup]:
    """Return one piece of HTML for each line of `code`; every piece is complete in itself.

    Without colour where that would take too long.
    """
    plain = [escape(line) for line in code.split("\n")]
    if len(code) > _MAX_COLOURED_CHARS or _has_long_line(code):
        return plain
    end = time.monotonic() + _MAX_SECONDS
    lines: list[list[str]] = [[]]
    for kind, value in lexer.get_tokens(code):
        if time.monotonic() > end:
            return plain
        css = _css_class(kind)
        for place, piece in enumerate(value.split("\n")):
            if place:
                lines.append([])
            if piece:
                text = str(escape(piece))
                lines[-1].append(f'<span class="{css}">{text}</span>' if css else text)
    return [Markup("".join(line)) for line in lines]  # noqa: S704 # every piece was escaped above


@lru_cache(maxsize=512)
def highlight_block(code: str, language: str) -> Markup:
    """Return a whole code block. Cached, because a streamed answer is rendered many times."""
    return Markup("\n").join(highlight_lines(code, lexer_for_language(language)))


def _has_long_line(code: str) -> bool:
    return any(len(line) > _MAX_LINE_CHARS for line in code.split("\n"))


@lru_cache(maxsize=256)
def _css_class(kind: _TokenType) -> str:
    name = STANDARD_TYPES.get(kind)
    while name is None and kind.parent is not None:
        kind = kind.parent
        name = STANDARD_TYPES.get(kind)
    return name or ""
