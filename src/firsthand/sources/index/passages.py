"""Cuts a file into passages of lines, along its definitions where it has some."""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

from firsthand.sources.index.symbols import Symbol

SHORTEST = 20
LONGEST = 60
MAX_LINE = 2_000
"""Characters of one line that count; what is longer is data."""


@dataclass(frozen=True)
class Passage:
    """Lines of one file, counted from 1, both ends included."""

    start_line: int
    end_line: int
    text: str
    symbol: str | None
    kind: str
    names: tuple[str, ...]


def cut(text: str, symbols: list[Symbol]) -> list[Passage]:
    """Cut a text into passages that do not overlap and, together, cover every line.

    The symbols are in order of their first lines, outer before inner.
    """
    lines = text.split("\n")
    if lines and not lines[-1]:
        lines.pop()
    scopes = _Scopes(symbols)
    passages: list[Passage] = []
    for begin, end in _ranges(scopes.starts, len(lines)):
        words = "\n".join(line[:MAX_LINE] for line in lines[begin:end])
        if words.strip():
            passages.append(scopes.describe(begin + 1, end, words))
    return passages


class _Scopes:
    """The symbols of a file, ready to be asked what lies in some lines and what lies around."""

    def __init__(self, symbols: list[Symbol]) -> None:
        self.starts = [symbol.start_line for symbol in symbols]
        self._symbols = symbols
        self._parents: list[int] = []
        open_scopes: list[int] = []
        for place, symbol in enumerate(symbols):
            while open_scopes and symbols[open_scopes[-1]].end_line < symbol.end_line:
                open_scopes.pop()
            self._parents.append(open_scopes[-1] if open_scopes else -1)
            open_scopes.append(place)

    def describe(self, first: int, last: int, text: str) -> Passage:
        """Make the passage of some lines, named after what it defines or what it is part of."""
        begin, end = bisect_right(self.starts, first - 1), bisect_right(self.starts, last)
        within = self._symbols[begin:end]
        around = self._around(bisect_right(self.starts, first) - 1, last)
        main = within[0] if within and (around is None or within[0].end_line <= last) else around
        names = tuple(symbol.name for symbol in within)
        return Passage(
            start_line=first,
            end_line=last,
            text=text,
            symbol=main.qualified_name if main else None,
            kind=main.kind if main else "text",
            names=(*names, around.qualified_name) if around else names,
        )

    def _around(self, place: int, last: int) -> Symbol | None:
        """Return the innermost symbol that begins at or before a place and holds a line."""
        while place >= 0:
            if self._symbols[place].end_line >= last:
                return self._symbols[place]
            place = self._parents[place]
        return None


def _ranges(starts: list[int], count: int) -> Iterator[tuple[int, int]]:
    """Cut `count` lines at the starts of definitions; neither very short nor very long ranges."""
    begin = 0
    while begin < count:
        end = min(begin + LONGEST, count)
        if end < count:
            place = bisect_right(starts, end + 1) - 1
            best = starts[place] - 1 if place >= 0 else 0
            end = best if best >= begin + SHORTEST else end
        yield begin, end
        begin = end
