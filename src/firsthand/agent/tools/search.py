"""The tool `search`: the best passages and definitions for a question, from the search index.

Where a checkout has no usable index, the question's words are looked up with ripgrep instead, and
the answer says so.
"""

import asyncio
import re
from collections import Counter, OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from firsthand.agent.errors import ToolError
from firsthand.agent.tools import arguments, ripgrep
from firsthand.agent.tools.bounded import BoundedText, clip
from firsthand.agent.tools.checkouts import Place
from firsthand.agent.tools.grep import quoted
from firsthand.agent.tools.read_file import read_lines
from firsthand.agent.tools.tool import Tool, ToolContext, ToolOutput, describe
from firsthand.protocol.questions import CheckoutRef

if TYPE_CHECKING:
    from firsthand.sources.index.search import SearchIndex, Symbol

_DEFAULT_LIMIT: Final = 8
_MAX_LIMIT: Final = 30
_SNIPPET_LINES: Final = 12
_MAX_QUERY: Final = 4_000
_OPEN_INDEXES: Final = 8
# A checkout is judged by so many of its passages.
_JUDGED_BY: Final = 10
_STEM_CHARS: Final = 5
# What looks like a name in code: snake_case, CamelCase, dotted, called, or in backticks.
_NAME: Final = re.compile(
    r"`([^`\n]{2,80})`|\b([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+)\b|\b([A-Za-z]+_\w+|_\w+)\b"
    r"|\b([A-Za-z]\w*)\(\)|\b([A-Z][a-z0-9]+(?:[A-Z]\w*)+|[a-z]+[A-Z]\w*)\b"
)
_WORD: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{2,}")
_FILES_WITH: Final = (
    "--files-with-matches",
    "--null",
    "--ignore-case",
    "--max-filesize=2M",
)
_COMMON_WORDS: Final = (
    "about and any are can code does did for from get gets had has have how into its made make "
    "not one our out the that their them then there these they this use used uses using was were "
    "what when where which who why will with work works you your function class method file "
    "files implement implemented defined"
)
_COMMON: Final = frozenset(_COMMON_WORDS.split())

_PROPERTIES: Final = {
    "query": {"type": "string", "description": "a question, or words, or names from the code"},
    "path": {"type": "string", "description": "name, or name/folder to search in (default: all)"},
    "limit": {"type": "integer", "description": f"passages (default {_DEFAULT_LIMIT})"},
}


class SearchIndexes:
    """The indexes that are open; those used least recently are let go."""

    def __init__(self) -> None:
        self._open: OrderedDict[str, SearchIndex] = OrderedDict()

    def get(self, ref: CheckoutRef) -> "SearchIndex | None":
        """Return the index of a checkout, or `None` where it has none."""
        if ref.index_path is None:
            return None
        index = self._open.pop(ref.index_path, None)
        if index is None:
            from firsthand.sources.index.search import SearchIndex

            index = SearchIndex(Path(ref.index_path), Path(ref.path))
        self._open[ref.index_path] = index
        while len(self._open) > _OPEN_INDEXES:
            self._open.popitem(last=False)
        return index


@dataclass(frozen=True, slots=True)
class Passage:
    """A passage that was found, in whichever way."""

    ref: CheckoutRef
    path: str
    start: int
    end: int
    score: float
    symbol: str | None
    kind: str

    @property
    def shown(self) -> str:
        """The passage's place and what it is."""
        what = f" ({self.kind} {self.symbol})" if self.symbol else ""
        return f"{self.ref.name}/{self.path}:{self.start}-{self.end}{what}"


@dataclass(frozen=True, slots=True)
class _Results:
    passages: list[Passage]
    symbols: "list[tuple[CheckoutRef, Symbol]]"
    note: str | None = None


async def _run(context: ToolContext, given: dict[str, Any]) -> ToolOutput:
    arguments.refuse_unknown(given, _PROPERTIES)
    query = arguments.text(given, "query", max_chars=_MAX_QUERY)
    limit = arguments.number(given, "limit", _DEFAULT_LIMIT, low=1, high=_MAX_LIMIT)
    path = arguments.optional_text(given, "path")
    scopes: dict[str, list[Place]] = {}
    for place in context.checkouts.places(path):
        scopes.setdefault(place.checkout.name, []).append(place)
    results = await asyncio.gather(
        *(_search_one(context, places, query, limit) for places in scopes.values())
    )
    return await asyncio.to_thread(_show, context, query, results, limit)


async def _search_one(
    context: ToolContext, places: list[Place], query: str, limit: int
) -> _Results:
    ref = places[0].checkout
    for place in places:
        place.find().__exit__()
    prefixes = [place.path for place in places if place.path]
    index = context.indexes.get(ref)
    if index is not None:
        from firsthand.sources.index.layout import IndexUnusable

        try:
            return await asyncio.to_thread(_from_index, index, ref, query, limit, prefixes)
        except IndexUnusable as problem:
            note = f"the search index of {ref.name} cannot be used ({problem})"
    else:
        note = f"{ref.name} has no search index"
    found = await _by_words(context, places, query, limit)
    return _Results(found, [], f"{note}; its files were searched for the words instead")


def _from_index(
    index: "SearchIndex", ref: CheckoutRef, query: str, limit: int, prefixes: list[str]
) -> _Results:
    hits = index.search(query, limit=limit, path_prefixes=prefixes)
    passages = [
        Passage(ref, hit.path, hit.start_line, hit.end_line, hit.score, hit.symbol, hit.kind)
        for hit in hits
    ]
    symbols: dict[tuple[str, int], tuple[CheckoutRef, Symbol]] = {}
    for name in names_in(query)[:6]:
        for symbol in index.find_symbols(name, limit=4):
            under = not prefixes or any(_lies_under(symbol.path, p) for p in prefixes)
            # Where no definition has the name, near ones come; here only the name itself counts.
            same = symbol.name.lower() == name.rpartition(".")[2].lower()
            if under and same:
                symbols.setdefault((symbol.path, symbol.start_line), (ref, symbol))
    return _Results(passages, list(symbols.values())[:8])


def _lies_under(path: str, prefix: str) -> bool:
    return path == prefix or path.startswith(prefix + "/")


def names_in(question: str) -> list[str]:
    """Return what looks like a name from code, in order, each once."""
    found: dict[str, None] = {}
    for match in _NAME.finditer(question):
        name = next(group for group in match.groups() if group)
        found.setdefault(name.strip().removesuffix("()"), None)
    return list(found)


def words_in(question: str) -> list[str]:
    """Return the words that tell something, in order, each once."""
    found: dict[str, None] = {}
    for word in _WORD.findall(question):
        if word.lower() not in _COMMON:
            found.setdefault(word, None)
    return list(found)


async def _by_words(
    context: ToolContext, places: list[Place], query: str, limit: int
) -> list[Passage]:
    words = words_in(query)[:8]
    if not words:
        return []
    ref = places[0].checkout
    seconds = context.limits.seconds
    targets = [f"./{place.path}" for place in places]
    files: Counter[str] = Counter()
    for word in words:
        result = await ripgrep.run(
            [*_FILES_WITH, f"--regexp={quoted([word])}", "--", *targets],
            Path(ref.path),
            seconds=seconds,
            max_bytes=4 * 1024 * 1024,
        )
        matching = [raw.decode("utf-8", "replace") for raw in result.output.split(b"\0") if raw]
        for path in matching:
            # A rare word tells more than one that is everywhere.
            files[path.removeprefix("./")] += 1 + round(1000 / (10 + len(matching)))
            if word.lower() in path.lower():
                files[path.removeprefix("./")] += 40
    best = sorted(files.items(), key=lambda entry: (-entry[1], len(entry[0]), entry[0]))[:limit]
    return await asyncio.to_thread(_passages_in, ref, best, words)


def _passages_in(ref: CheckoutRef, best: list[tuple[str, int]], words: list[str]) -> list[Passage]:
    wanted = re.compile("|".join(re.escape(word) for word in words), re.IGNORECASE)
    passages: list[Passage] = []
    for path, score in best:
        try:
            lines = read_lines(Place(ref, path), 1, 4_000).lines
        except ToolError:
            continue
        hits = [number for number, line in enumerate(lines, 1) if wanted.search(line)]
        if hits:
            # The window that holds the most different words.
            start = max(hits, key=lambda at: (_distinct(wanted, lines[at - 1 : at + 24]), -at))
            start = max(1, start - 2)
            passages.append(
                Passage(ref, path, start, min(len(lines), start + 27), score, None, "text")
            )
    return passages


def _distinct(wanted: re.Pattern[str], lines: list[str]) -> int:
    return len({found.lower() for line in lines for found in wanted.findall(line)})


def _show(context: ToolContext, query: str, results: list[_Results], limit: int) -> ToolOutput:
    out = BoundedText(context.limits.output_chars)
    symbols = [pair for result in results for pair in result.symbols]
    for ref, symbol in symbols:
        out.add(
            f"definition: {ref.name}/{symbol.path}:{symbol.start_line}-{symbol.end_line} "
            f"{clip(symbol.signature.strip(), 300)}"
        )
    ranked = _ranked(words_in(query), [result.passages for result in results])[:limit]
    shown: list[Passage] = []
    for passage in ranked:
        if not _show_passage(context, out, passage):
            break
        shown.append(passage)
    notes = [result.note for result in results]
    if not shown and not symbols:
        return ToolOutput(
            "Nothing was found." + "".join(f" [{note}]" for note in notes if note),
            {"passages": [], "definitions": []},
        )
    left = f"{len(ranked) - len(shown)} more passages" if len(shown) < len(ranked) else None
    data = {
        "passages": [_passage_data(passage) for passage in shown],
        "definitions": [_symbol_data(ref, symbol) for ref, symbol in symbols],
    }
    return ToolOutput(out.text(left, *notes), data)


def _ranked(words: list[str], lists: list[list[Passage]]) -> list[Passage]:
    """Put the passages of all checkouts into one order.

    Scores of different indexes cannot be compared, so the checkouts take turns. But one whose
    best passages hold at most half as many words of the question as another's has little to say
    on it, and comes after.
    """
    if len(lists) < 2:
        return [passage for passages in lists for passage in passages]
    # Without endings, so that "followed" is found in "follow".
    stems = {word.lower()[:_STEM_CHARS] for word in words}
    held = [_held(stems, passages[:_JUDGED_BY]) for passages in lists]
    enough = max(held) / 2
    pairs = list(zip(held, lists, strict=True))
    fit = [passages for count, passages in pairs if not stems or count > enough]
    rest = [passages for count, passages in pairs if stems and count <= enough]
    return [*_in_turns(fit), *_in_turns(rest)]


def _held(stems: set[str], passages: list[Passage]) -> int:
    """How many of the words stand in these passages or their paths."""
    text: list[str] = []
    for passage in passages:
        text.append(passage.path)
        try:
            found = read_lines(Place(passage.ref, passage.path), passage.start, passage.end)
        except ToolError:
            continue
        text.extend(found.lines)
    whole = "\n".join(text).lower()
    return sum(stem in whole for stem in stems)


def _in_turns(lists: list[list[Passage]]) -> Iterator[Passage]:
    for row in zip_longest(*lists):
        yield from (passage for passage in row if passage is not None)


def _show_passage(context: ToolContext, out: BoundedText, passage: Passage) -> bool:
    if not out.add(passage.shown):
        return False
    end = min(passage.end, passage.start + _SNIPPET_LINES - 1)
    try:
        found = read_lines(Place(passage.ref, passage.path), passage.start, end)
    except ToolError:
        return True
    for number, line in enumerate(found.lines, found.start):
        if not out.add(f"  {number}: {clip(line, 300)}"):
            break
        context.log.add(passage.ref.name, passage.path, number, number)
    if passage.end > end:
        out.add(f"  … to line {passage.end}")
    return True


def _passage_data(passage: Passage) -> dict[str, Any]:
    return {
        "resource": passage.ref.name,
        "path": passage.path,
        "start": passage.start,
        "end": passage.end,
        "score": passage.score,
        "symbol": passage.symbol,
        "kind": passage.kind,
    }


def _symbol_data(ref: CheckoutRef, symbol: "Symbol") -> dict[str, Any]:
    return {
        "resource": ref.name,
        "path": symbol.path,
        "start": symbol.start_line,
        "end": symbol.end_line,
        "name": symbol.qualified_name,
        "kind": symbol.kind,
        "signature": symbol.signature,
        "docstring": symbol.docstring,
    }


SEARCH: Final = Tool(
    describe(
        "search",
        "Find the passages and definitions that fit a question best. Start here.",
        _PROPERTIES,
        ("query",),
    ),
    _run,
)
