"""Answers searches from an index: the best passages for a question, the definitions of a name."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from firsthand.sources.index.analysis import terms_of
from firsthand.sources.index.layout import FileRow, IndexFolder
from firsthand.sources.index.opening import Found, find, open_index
from firsthand.sources.index.symbols import Symbol

if TYPE_CHECKING:
    from tantivy import Index, Query, Searcher

__all__ = ["Hit", "SearchIndex", "Symbol"]

CANDIDATES = 300
MAX_TERMS = 64


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
        self.tree = tree

    @cached_property
    def _rows(self) -> list[FileRow]:
        self._folder.read_format()
        return self._folder.read_files()

    @cached_property
    def _passages(self) -> "tuple[Index, Searcher]":
        return open_index(self._folder.passages)

    @cached_property
    def _files(self) -> "tuple[Index, Searcher]":
        return open_index(self._folder.files)

    @cached_property
    def _symbols(self) -> "tuple[Index, Searcher]":
        self._folder.read_format()
        return open_index(self._folder.symbols)

    def search(
        self, query: str, *, limit: int = 10, path_prefixes: Sequence[str] = ()
    ) -> list[Hit]:
        """Return the best passages for a question or some words, best first.

        Prefixes are folders or files of the tree; a hit lies under one of them. Raises
        `IndexUnusable`.
        """
        rows = self._rows
        terms = list(dict.fromkeys(terms_of(query)))[:MAX_TERMS]
        if not terms or not rows or limit < 1:
            return []
        index, searcher = self._passages
        wanted = self._match(index, terms, {"text": 1.0, "names": 1.0}, path_prefixes)
        file_scores = self._score_files(terms, path_prefixes)
        scored = [
            (found.score + file_scores.get(found.file, 0.0), found)
            for found in find(searcher, wanted, max(CANDIDATES, limit))
        ]
        scored.sort(key=lambda entry: -entry[0])
        return [self._hit(found, score) for score, found in scored[:limit]]

    def _hit(self, found: Found, score: float) -> Hit:
        stored = self._passages[1].doc(found.address).to_dict()
        return Hit(
            path=self._rows[found.file].path,
            start_line=stored["start"][0],
            end_line=stored["end"][0],
            score=score,
            symbol=stored["symbol"][0] or None,
            kind=stored["kind"][0],
        )

    def _score_files(self, terms: list[str], prefixes: Sequence[str]) -> dict[int, float]:
        index, searcher = self._files
        fields = {"text": 0.5, "path": 1.0, "names": 0.5, "documentation": 0.5}
        found = find(searcher, self._match(index, terms, fields, prefixes), CANDIDATES)
        return {entry.file: entry.score for entry in found}

    def _match(
        self, index: "Index", terms: list[str], fields: dict[str, float], prefixes: Sequence[str]
    ) -> "Query":
        from tantivy import Occur, Query

        schema = index.schema
        any_term = Query.boolean_query(
            [
                (
                    Occur.Should,
                    Query.boost_query(Query.term_query(schema, field, term), boost),
                )
                for term in terms
                for field, boost in fields.items()
            ]
        )
        folders = [prefix.strip("/") for prefix in prefixes]
        if not folders or "" in folders or "." in folders:
            return any_term
        under = Query.term_set_query(schema, "folder", folders)
        return Query.boolean_query(
            [(Occur.Must, any_term), (Occur.Must, Query.const_score_query(under, 0.0))]
        )

    def find_symbols(self, name: str, limit: int = 20) -> list[Symbol]:
        """Return definitions of a name, plain or qualified (`Session.send`), best first.

        Where no definition has exactly that name, those whose words match come back.
        """
        from tantivy import Query

        asked = name.strip().replace("::", ".").replace("#", ".").strip(".()")
        if not asked or limit < 1:
            return []
        index, searcher = self._symbols
        exact = Query.term_query(index.schema, "qualified", asked.lower())
        found = self._read_symbols(searcher, exact, max(limit, 200))
        if not found:
            terms = terms_of(asked)
            if not terms:
                return []
            found = self._read_symbols(
                searcher, self._match(index, terms, {"words": 1.0}, ()), limit
            )
            return [symbol for _, symbol in found][:limit]
        found.sort(key=lambda entry: _symbol_order(entry, asked))
        return [symbol for _, symbol in found][:limit]

    @staticmethod
    def _read_symbols(searcher: "Searcher", query: "Query", limit: int) -> list[tuple[str, Symbol]]:
        read: list[tuple[str, Symbol]] = []
        for _, address in searcher.search(query, limit=limit, count=False).hits:
            stored = searcher.doc(address).to_dict()
            symbol = msgspec.json.decode(stored["content"][0], type=Symbol)
            read.append((stored["nature"][0], symbol))
        return read


_NATURES = ("code", "data", "document", "test", "generated", "vendored")
_KINDS = ("class", "struct", "interface", "trait", "function", "method", "type", "enum")


def _symbol_order(entry: tuple[str, Symbol], asked: str) -> tuple[bool, int, int, int, str, int]:
    nature, symbol = entry
    return (
        not symbol.qualified_name.endswith(asked),
        _NATURES.index(nature),
        _KINDS.index(symbol.kind) if symbol.kind in _KINDS else len(_KINDS),
        symbol.qualified_name.count("."),
        symbol.path,
        symbol.start_line,
    )
