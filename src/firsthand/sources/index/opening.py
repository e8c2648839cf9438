"""Opens a tantivy index that may lie on a read-only mount, and asks it.

Tantivy takes a lock file in the folder that it opens. So it is shown a passing folder of links to
the real files instead, which can go as soon as the files are mapped.
"""

import shutil
import tempfile
import weakref
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

from firsthand.sources.index.layout import IndexUnusable
from firsthand.sources.index.question import WeightedTerm

if TYPE_CHECKING:
    from tantivy import DocAddress, Index, Query, Schema, Searcher


class Found(NamedTuple):
    """A document that a query found: its score, its file's number, its first and last line."""

    address: "DocAddress"
    score: float
    file: int
    start: int
    end: int


class OpenIndex:
    """One of the tantivy indexes of an index folder, opened for searching."""

    def __init__(self, folder: Path) -> None:
        """Open a folder; nothing is written to it. Raises `IndexUnusable`."""
        farm = Path(tempfile.mkdtemp(prefix="firsthand-index-"))
        try:
            self._index, self.searcher = _open(folder, farm)
        finally:
            _remove(farm)
        if farm.exists():  # tantivy's watcher was just taking its lock: try again at the end
            weakref.finalize(self, _remove, farm)

    @property
    def schema(self) -> "Schema":
        """The fields."""
        return self._index.schema

    def find(self, query: "Query", limit: int) -> list[Found]:
        """Return the best documents for a query, best first."""
        hits: list[tuple[float, DocAddress]] = self.searcher.search(
            query, limit=limit, count=False
        ).hits
        addresses = [address for _, address in hits]
        files = self.searcher.fast_field_values("file", addresses)
        starts = self.searcher.fast_field_values("start", addresses)
        ends = self.searcher.fast_field_values("end", addresses)
        return [
            Found(address, score, cast("int", file), cast("int", start), cast("int", end))
            for (score, address), file, start, end in zip(hits, files, starts, ends, strict=True)
        ]

    def stored(self, found: Found, field: str) -> bytes:
        """Return a stored field of a document."""
        return bytes(self.searcher.doc(found.address).to_dict()[field][0])

    def any_of(self, terms: Iterable[WeightedTerm], fields: Mapping[str, float]) -> "Query":
        """Match documents with any of the terms in any of the fields, each at its weight."""
        from tantivy import Occur, Query

        return Query.boolean_query(
            [
                (
                    Occur.Should,
                    Query.boost_query(
                        Query.term_query(self.schema, field, term.term), boost * term.weight
                    ),
                )
                for term in terms
                for field, boost in fields.items()
            ]
        )

    def confine(self, query: "Query", field: str, values: Sequence[str | int]) -> "Query":
        """Keep of a query's documents those with one of the values; scores do not change."""
        from tantivy import Occur, Query

        within = Query.term_set_query(self.schema, field, list(values))
        return Query.boolean_query(
            [(Occur.Must, query), (Occur.Must, Query.const_score_query(within, 0.0))]
        )


def _open(folder: Path, farm: Path) -> "tuple[Index, Searcher]":
    from tantivy import Index

    try:
        for file in folder.iterdir():
            if not file.name.endswith(".lock"):
                (farm / file.name).symlink_to(file.absolute())
        index = Index.open(str(farm))
        index.config_reader("manual", 1)
        return index, index.searcher()
    except (OSError, ValueError) as problem:
        raise IndexUnusable(f"the index in {folder} cannot be opened: {problem}") from problem


def _remove(farm: Path) -> None:
    shutil.rmtree(farm, ignore_errors=True)
