"""Builds the search index of a tree: parses its files and writes three tantivy indexes."""

import os
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from firsthand.sources.index.analysis import WORDS, prepare, register
from firsthand.sources.index.layout import FileRow, IndexFolder, IndexStats
from firsthand.sources.index.parsing import ParsedFile, parse_all
from firsthand.sources.index.passages import Passage
from firsthand.sources.index.scan import list_files
from firsthand.sources.index.symbols import Symbol

if TYPE_CHECKING:
    from tantivy import Document, IndexWriter, Schema

MAX_FILES = 200_000
_WRITER_BYTES = 60_000_000


def build_index(tree: Path, index: Path, *, workers: int | None = None) -> IndexStats:
    """Index all text of `tree` into the folder `index`, which must be empty or not exist.

    The folder is complete once its `format.json` is there; a caller publishes it by renaming.
    Uses as many processes as there are processors, or `workers`.
    """
    began = time.monotonic()
    folder = IndexFolder(index)
    index.mkdir(parents=True, exist_ok=True)
    files = list(list_files(tree))[:MAX_FILES]
    parsed = parse_all(tree, files, workers or len(os.sched_getaffinity(0)))
    written = _Writing(folder)
    for file in parsed:
        written.add(file)
    written.finish()
    stats = IndexStats(
        files=len(written.rows),
        passages=written.counts["passages"],
        symbols=written.counts["symbols"],
        skipped=len(files) - len(written.rows),
        seconds=round(time.monotonic() - began, 3),
    )
    folder.write_files(written.rows)
    folder.write_format(stats)
    return stats


class _Writing:
    """The three indexes while they are written."""

    def __init__(self, folder: IndexFolder) -> None:
        self.rows: list[FileRow] = []
        self.counts: Counter[str] = Counter()
        self._passages = _writer(folder.passages, passages_schema())
        self._files = _writer(folder.files, files_schema())
        self._symbols = _writer(folder.symbols, symbols_schema())

    def add(self, file: ParsedFile) -> None:
        number = len(self.rows)
        self.rows.append(FileRow(path=file.path, lines=file.lines, nature=file.nature))
        folders = folders_of(file.path)
        self._files.add_document(_file_document(file, number, folders))
        for passage in file.passages:
            self.counts["passages"] += 1
            self._passages.add_document(_passage_document(file, passage, number, folders))
        for symbol in file.symbols:
            self.counts["symbols"] += 1
            self._symbols.add_document(_symbol_document(symbol, number, folders))

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


def _passage_document(
    file: ParsedFile, passage: Passage, number: int, folders: list[str]
) -> "Document":
    document = _part(number, passage.start_line, passage.end_line, folders)
    document.add_text("text", prepare("\n".join((file.path, *passage.names, passage.text))))
    document.add_text("kind", passage.kind)
    document.add_text("symbol", passage.symbol or "")
    return document


def _file_document(file: ParsedFile, number: int, folders: list[str]) -> "Document":
    document = _part(number, 1, file.lines, folders)
    document.add_text("path", prepare(file.path))
    document.add_text("names", prepare(" ".join(s.name for s in file.symbols)))
    document.add_text("documentation", prepare(documentation_of(file)))
    for passage in file.passages:
        document.add_text("text", prepare(passage.text))
    return document


def documentation_of(file: ParsedFile) -> str:
    """Return the docstrings of a file, and the beginning of it, where its purpose stands."""
    beginning = "\n".join(file.passages[0].text.split("\n")[:20]) if file.passages else ""
    return "\n".join([beginning, *(s.docstring for s in file.symbols if s.docstring)])


def _symbol_document(symbol: Symbol, number: int, folders: list[str]) -> "Document":
    document = _part(number, symbol.start_line, symbol.end_line, folders)
    document.add_text("name", symbol.name)
    parts = symbol.qualified_name.lower().split(".")
    for place in range(len(parts)):
        document.add_text("qualified", ".".join(parts[place:]))
    document.add_text("words", prepare(_description_of(symbol)))
    document.add_text("content", msgspec.json.encode(symbol).decode())
    return document


def _description_of(symbol: Symbol) -> str:
    """Return what names and describes a symbol; its name, said twice, counts for more."""
    if symbol.kind == "variable":
        return symbol.name
    stem = symbol.path.rpartition("/")[2].rpartition(".")[0]
    name = symbol.qualified_name
    return "\n".join((stem, name, name, symbol.signature, symbol.docstring or ""))


def passages_schema() -> "Schema":
    """Windows of text."""
    builder = _schema_of_parts()
    builder.add_text_field("text", tokenizer_name=WORDS, index_option="freq")
    builder.add_text_field("kind", stored=True, tokenizer_name="raw", index_option="basic")
    builder.add_text_field("symbol", stored=True, tokenizer_name="raw", index_option="basic")
    return builder.build()


def files_schema() -> "Schema":
    """Whole files, one document each."""
    builder = _schema_of_parts()
    for field in ("path", "names", "documentation", "text"):
        builder.add_text_field(field, tokenizer_name=WORDS, index_option="freq")
    return builder.build()


def symbols_schema() -> "Schema":
    """Definitions."""
    builder = _schema_of_parts()
    builder.add_text_field("name", tokenizer_name="raw", index_option="basic")
    builder.add_text_field("qualified", tokenizer_name="raw", index_option="basic")
    builder.add_text_field("words", tokenizer_name=WORDS, index_option="freq")
    builder.add_text_field("content", stored=True, tokenizer_name="raw", index_option="basic")
    return builder.build()


def _schema_of_parts() -> "SchemaBuilder":
    """Begin a schema with what every index has: its file, its lines, its folders."""
    from tantivy import SchemaBuilder

    builder = SchemaBuilder()
    builder.add_unsigned_field("file", indexed=True, fast=True)
    builder.add_unsigned_field("start", fast=True)
    builder.add_unsigned_field("end", fast=True)
    builder.add_text_field("folder", tokenizer_name="raw", index_option="basic")
    return builder


def _writer(path: Path, schema: "Schema") -> "IndexWriter":
    from tantivy import Index

    path.mkdir()
    index: Index = Index(schema, path=str(path), reuse=False)
    register(index)
    return index.writer(heap_size=_WRITER_BYTES, num_threads=1)
