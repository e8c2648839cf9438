"""Cuts a file into passages of lines, along its definitions where it has some."""

from bisect import bisect_right
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
    """Cut a text into passages that do not overlap and, together, cover every line."""
    lines = text.split("\n")
    if lines and not lines[-1]:
        lines.pop()
    starts = sorted({0, *(s.start_line - 1 for s in symbols if s.start_line - 1 < len(lines))})
    passages: list[Passage] = []
    for begin, end in _ranges(starts, len(lines)):
        words = "\n".join(line[:MAX_LINE] for line in lines[begin:end])
        if not words.strip():
            continue
        within = [s for s in symbols if begin < s.start_line <= end]
        around = _around(symbols, begin + 1, end)
        main = within[0] if within and (around is None or _fits(within[0], end)) else around
        passages.append(
            Passage(
                start_line=begin + 1,
                end_line=end,
                text=words,
                symbol=main.qualified_name if main else None,
                kind=main.kind if main else "text",
                names=tuple(s.name for s in within) + ((around.qualified_name,) if around else ()),
            )
        )
    return passages


def _fits(symbol: Symbol, end: int) -> bool:
    return symbol.end_line <= end


def _around(symbols: list[Symbol], first: int, last: int) -> Symbol | None:
    holding = [s for s in symbols if s.start_line <= first and s.end_line >= last]
    return max(holding, key=lambda s: s.start_line, default=None)


def _ranges(starts: list[int], count: int) -> list[tuple[int, int]]:
    """Join short neighbours, split long ones; `starts` are line indexes, the first is 0."""
    ranges: list[tuple[int, int]] = []
    begin = 0
    while begin < count:
        farthest = min(begin + LONGEST, count)
        if farthest == count:
            end = count
        else:
            best = starts[bisect_right(starts, farthest) - 1]
            end = best if best >= begin + SHORTEST else farthest
        ranges.append((begin, end))
        begin = end
    return ranges
