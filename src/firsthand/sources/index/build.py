"""Builds the search index of a tree: parses its files and writes three tantivy indexes."""

import os
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from firsthand.sources.index.analysis import TOKENIZER
from firsthand.sources.index.entries import FileEntry, PassageEntry, SymbolEntry
from firsthand.sources.index.layout import FileRow, IndexFolder, IndexStats
from firsthand.sources.index.parsing import parse_all
from firsthand.sources.index.scan import MAX_BYTES, list_files

if TYPE_CHECKING:
    from tantivy import Document, IndexWriter, SchemaBuilder

MAX_FILES = 200_000
MAX_TOTAL_BYTES = 1_000_000_000
"""Of a larger tree the files that come first are indexed."""

_WRITER_BYTES = 60_000_000


def build_index(tree: Path, index: Path, *, workers: int | None = None) -> IndexStats:
    """Index all text of `tree` into the folder `index`, which must be empty or not exist.

    The folder is complete once its `format.json` is there; a caller publishes it by renaming.
    Uses as many processes as there are processors, or `workers`.
    """
    began = time.monotonic()
    folder = IndexFolder(index)
    index.mkdir(parents=True, exist_ok=True)
    files = list(list_files(tree))
    writing = _Writing(folder)
    for file in parse_all(tree, _bounded(files), workers or len(os.sched_getaffinity(0))):
        writing.add(file)
    writing.finish()
    stats = IndexStats(
        files=len(writing.rows),
        passages=writing.counts["passages"],
        symbols=writing.counts["symbols"],
        skipped=len(files) - len(writing.rows),
        seconds=round(time.monotonic() - began, 3),
    )
    folder.write_files(writing.rows)
    folder.write_format(stats)
    return stats


def _bounded(files: list[tuple[str, int]]) -> list[tuple[str, int]]:
    total = 0
    for count, (_, size) in enumerate(files[:MAX_FILES]):
        total += min(size, MAX_BYTES)
        if total > MAX_TOTAL_BYTES:
            return files[:count]
    return files[:MAX_FILES]


class _Writing:
    """The three indexes while they are written."""

    def __init__(self, folder: IndexFolder) -> None:
        self.rows: list[FileRow] = []
        self.counts: Counter[str] = Counter()
        self._passages = _writer(folder.passages, texts=("text",), stored=("kind", "symbol"))
        self._files = _writer(folder.files, texts=("path", "names", "documentation", "text"))
        self._symbols = _writer(
            folder.symbols, texts=("words",), exact=("name", "qualified"), stored=("content",)
        )

    def add(self, file: FileEntry) -> None:
        number = len(self.rows)
        self.rows.append(FileRow(path=file.path, lines=file.lines, nature=file.nature))
        folders = folders_of(file.path)
        self._files.add_document(_file_document(file, _part(number, 1, file.lines, folders)))
        for passage in file.passages:
            document = _part(number, passage.start, passage.end, folders)
            self._passages.add_document(_passage_document(passage, document))
        for symbol in file.symbols:
            document = _part(number, symbol.start, symbol.end, folders)
            self._symbols.add_document(_symbol_document(symbol, document))
        self.counts["passages"] += len(file.passages)
        self.counts["symbols"] += len(file.symbols)

    def finish(self) -> None:
        for writer in (self._passages, self._files, self._symbols):
            writer.commit()
            writer.wait_merging_threads()


def folders_of(path: str) -> list[str]:
    """Return a path and all folders above it: a/b.py gives a/b.py, a."""
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(len(parts), 0, -1)]


def _part(number: int, start: int, end: int, folders: list[str]) -> "Document":
    from tantivy import Document

    document = Document()
    document.add_unsigned("file", number)
    document.add_unsigned("start", start)
    document.add_unsigned("end", end)
    for folder in folders:
        document.add_text("folder", folder)
    return document


def _file_document(file: FileEntry, document: "Document") -> "Document":
    document.add_text("path", file.path_terms)
    document.add_text("names", file.names)
    document.add_text("documentation", file.documentation)
    for passage in file.passages:
        document.add_text("text", passage.text)
    return document


def _passage_document(passage: PassageEntry, document: "Document") -> "Document":
    document.add_text("text", passage.context)
    document.add_text("text", passage.text)
    document.add_bytes("kind", passage.kind.encode())
    document.add_bytes("symbol", passage.symbol.encode())
    return document


def _symbol_document(symbol: SymbolEntry, document: "Document") -> "Document":
    document.add_text("name", symbol.name)
    for name in symbol.qualified:
        document.add_text("qualified", name)
    document.add_text("words", symbol.words)
    document.add_bytes("content", symbol.content)
    return document


def _writer(
    path: Path,
    *,
    texts: Iterable[str],
    exact: Iterable[str] = (),
    stored: Iterable[str] = (),
) -> "IndexWriter":
    """Begin an index whose documents have a file, lines and folders, and these fields."""
    from tantivy import Index

    builder = _schema_of_parts()
    for field in texts:
        builder.add_text_field(field, tokenizer_name=TOKENIZER, index_option="freq")
    for field in exact:
        builder.add_text_field(field, tokenizer_name="raw", index_option="basic")
    for field in stored:
        builder.add_bytes_field(field, stored=True, indexed=False)
    path.mkdir()
    return Index(builder.build(), path=str(path), reuse=False).writer(
        heap_size=_WRITER_BYTES, num_threads=1
    )


def _schema_of_parts() -> "SchemaBuilder":
    from tantivy import SchemaBuilder

    builder = SchemaBuilder()
    builder.add_unsigned_field("file", indexed=True, fast=True)
    builder.add_unsigned_field("start", fast=True)
    builder.add_unsigned_field("end", fast=True)
    builder.add_text_field("folder", tokenizer_name="raw", index_option="basic")
    return builder
