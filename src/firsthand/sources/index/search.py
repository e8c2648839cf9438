"""Answers searches from an index: the best passages for a question, the definitions of a name."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from firsthand.sources.index.analysis import terms_of
from firsthand.sources.index.layout import FileRow, IndexFolder
from firsthand.sources.index.opening import Found, OpenIndex
from firsthand.sources.index.question import WeightedTerm, weigh
from firsthand.sources.index.ranking import (
    FILE_FIELDS,
    LEADING_PASSAGES,
    FileScore,
    follow_links,
    nature_factors,
    rank_files,
)
from firsthand.sources.index.scan import read_text
from firsthand.sources.index.symbols import Symbol

if TYPE_CHECKING:
    from tantivy import Query

__all__ = ["Hit", "SearchIndex", "Symbol"]

CANDIDATES = 500
"""How many passages, definitions and files are looked at for one question."""

MAX_DEFINITIONS = 3
"""A name that is defined in more places than this leads nowhere in particular."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{3,}")


@dataclass(frozen=True)
class Hit:
    """A passage that answers a search; lines count from 1 and include both ends."""

    path: str
    start_line: int
    end_line: int
    score: float
    symbol: str | None
    kind: str


class SearchIndex:
    """A search index, opened at the first use; the folder may be on a read-only mount."""

    def __init__(self, index: Path, tree: Path) -> None:
        self._folder = IndexFolder(index)
        self._tree = tree

    @cached_property
    def _rows(self) -> list[FileRow]:
        self._folder.read_format()
        return self._folder.read_files()

    @cached_property
    def _passages(self) -> OpenIndex:
        return OpenIndex(self._folder.passages)

    @cached_property
    def _files(self) -> OpenIndex:
        return OpenIndex(self._folder.files)

    @cached_property
    def _symbols(self) -> OpenIndex:
        self._folder.read_format()
        return OpenIndex(self._folder.symbols)

    def search(
        self, query: str, *, limit: int = 10, path_prefixes: Sequence[str] = ()
    ) -> list[Hit]:
        """Return the best passages for a question or some words, best first.

        Prefixes are folders or files of the tree; a hit lies under one of them. A file's best
        passage has the file's score, its further ones less. Raises `IndexUnusable`.
        """
        if limit < 1 or not self._rows:
            return []
        terms = weigh(query)
        if not terms:
            return []
        search = _Search(terms, _folders(path_prefixes))
        ranked = self._rank(search)[:limit]
        self._fill_in_passages(search, ranked)
        hits = [hit for file in ranked for hit in self._hits_of(file)]
        hits.sort(key=lambda hit: (-hit.score, hit.path, hit.start_line))
        return hits[:limit]

    def _rank(self, search: "_Search") -> list[FileScore]:
        passages = search.ask(self._passages, {"text": 1.0})
        factors = nature_factors(search.terms)
        return rank_files(
            files=search.ask(self._files, FILE_FIELDS),
            passages=passages,
            symbols=search.ask(self._symbols, {"words": 1.0}),
            links=follow_links(
                (passage, self._files_used_by(passage, search.folders))
                for passage in passages[:LEADING_PASSAGES]
            ),
            factor_of=lambda number: factors.get(self._rows[number].nature, 1.0),
        )

    def _files_used_by(self, passage: Found, folders: list[str]) -> Iterator[int]:
        """Yield the files that define, nearly alone, a name that the passage uses."""
        from tantivy import Query

        for name in set(_NAME.findall(self._text_of(passage))):
            if 0 < self._symbols.searcher.doc_freq("name", name) <= MAX_DEFINITIONS:
                exact = Query.term_query(self._symbols.schema, "name", name)
                if folders:
                    exact = self._symbols.confine(exact, "folder", folders)
                for found in self._symbols.find(exact, MAX_DEFINITIONS):
                    yield found.file

    def _text_of(self, passage: Found) -> str:
        file = read_text(self._tree, self._rows[passage.file].path)
        if file is None:
            return ""
        return "\n".join(file.text.split("\n")[passage.start - 1 : passage.end])

    def _fill_in_passages(self, search: "_Search", files: list[FileScore]) -> None:
        """Find a passage for each file that was found by its name or its definitions only."""
        bare = {file.number: file for file in files if not file.passages}
        if not bare:
            return
        found = self._passages.find(
            self._passages.confine(
                self._passages.any_of(search.terms, {"text": 1.0}), "file", list(bare)
            ),
            CANDIDATES,
        )
        for passage in found:
            bare[passage.file].passages.append(passage)

    def _hits_of(self, file: FileScore) -> Iterator[Hit]:
        matched = [(passage, _best_symbol(file, passage)) for passage in file.passages]
        worth = [passage.score + (symbol.score if symbol else 0.0) for passage, symbol in matched]
        for (passage, symbol), score in zip(matched, worth, strict=True):
            name, kind = self._name_of(passage, symbol)
            yield Hit(
                path=self._rows[file.number].path,
                start_line=passage.start,
                end_line=passage.end,
                score=file.score * score / max(worth),
                symbol=name,
                kind=kind,
            )

    def _name_of(self, passage: Found, symbol: Found | None) -> tuple[str | None, str]:
        if symbol is not None:
            definition = self._read_symbol(symbol)
            return definition.qualified_name, definition.kind
        return (
            self._passages.stored(passage, "symbol").decode() or None,
            self._passages.stored(passage, "kind").decode(),
        )

    def find_symbols(self, name: str, limit: int = 20) -> list[Symbol]:
        """Return definitions of a name, plain or qualified (`Session.send`), best first.

        Where no definition has exactly that name, those whose words match come back.
        """
        from tantivy import Query

        asked = name.strip().replace("::", ".").replace("#", ".").strip(".()")
        if not asked or limit < 1:
            return []
        symbols = self._symbols
        exact = self._read_symbols(
            Query.term_query(symbols.schema, "qualified", asked.lower()), max(limit, 200)
        )
        if exact:
            natures = {row.path: row.nature for row in self._rows}
            exact.sort(key=lambda symbol: _symbol_order(symbol, asked, natures[symbol.path]))
            return exact[:limit]
        terms = [WeightedTerm(term, 1.0) for term in dict.fromkeys(terms_of(asked))]
        return self._read_symbols(symbols.any_of(terms, {"words": 1.0}), limit) if terms else []

    def _read_symbols(self, query: "Query", limit: int) -> list[Symbol]:
        return [self._read_symbol(found) for found in self._symbols.find(query, limit)]

    def _read_symbol(self, found: Found) -> Symbol:
        return msgspec.json.decode(self._symbols.stored(found, "content"), type=Symbol)


@dataclass(frozen=True)
class _Search:
    terms: list[WeightedTerm]
    folders: list[str]

    def ask(self, index: OpenIndex, fields: dict[str, float]) -> list[Found]:
        query = index.any_of(self.terms, fields)
        if self.folders:
            query = index.confine(query, "folder", self.folders)
        return index.find(query, CANDIDATES)


def _best_symbol(file: FileScore, passage: Found) -> Found | None:
    within = [found for found in file.symbols if passage.start <= found.start <= passage.end]
    return max(within, key=lambda found: found.score, default=None)


def _folders(prefixes: Sequence[str]) -> list[str]:
    folders = [prefix.removeprefix("./").strip("/") for prefix in prefixes]
    return [] if any(folder in {"", "."} for folder in folders) else folders


_NATURES = ("code", "data", "document", "test", "generated", "vendored")
_KINDS = ("class", "struct", "interface", "trait", "function", "method", "type", "enum")


def _symbol_order(symbol: Symbol, asked: str, nature: str) -> tuple[bool, int, int, int, str, int]:
    return (
        not symbol.qualified_name.endswith(asked),
        _NATURES.index(nature),
        _KINDS.index(symbol.kind) if symbol.kind in _KINDS else len(_KINDS),
        symbol.qualified_name.count("."),
        symbol.path,
        symbol.start_line,
    )
