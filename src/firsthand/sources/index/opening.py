"""Opens a tantivy index that may lie on a read-only mount.

Tantivy takes a lock file in the folder that it opens. So it is shown a passing folder of links to
the real files instead, which can go as soon as the files are mapped.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from firsthand.sources.index.analysis import register
from firsthand.sources.index.layout import IndexUnusable

if TYPE_CHECKING:
    from tantivy import DocAddress, Index, Query, Searcher


@dataclass(frozen=True)
class Found:
    """A document that a query found; `file` is the number of its file."""

    address: "DocAddress"
    score: float
    file: int


def find(searcher: "Searcher", query: "Query", limit: int) -> list[Found]:
    """Return the best documents for a query, best first; needs the fast field `file`."""
    hits: list[tuple[float, DocAddress]] = searcher.search(query, limit=limit, count=False).hits
    files = searcher.fast_field_values("file", [address for _, address in hits])
    return [
        Found(address, score, cast("int", file))
        for (score, address), file in zip(hits, files, strict=True)
    ]


def open_index(folder: Path) -> "tuple[Index, Searcher]":
    """Open a folder for searching; nothing is written to it. Raises `IndexUnusable`."""
    from tantivy import Index

    try:
        with tempfile.TemporaryDirectory(prefix="firsthand-index-") as farm:
            for file in folder.iterdir():
                if not file.name.endswith(".lock"):
                    (Path(farm) / file.name).symlink_to(file.absolute())
            index = Index.open(farm)
            index.config_reader("manual", 1)
            register(index)
            return index, index.searcher()
    except (OSError, ValueError) as problem:
        raise IndexUnusable(f"the index in {folder} cannot be opened: {problem}") from problem
