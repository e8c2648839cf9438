"""What the index keeps of a file: its fields as search terms, made where the file is parsed."""

import msgspec

from firsthand.sources.index.analysis import joined_terms
from firsthand.sources.index.passages import Passage, cut
from firsthand.sources.index.scan import TextFile
from firsthand.sources.index.symbols import Symbol

_BEGINNING = 20
"""First lines of a file that count as documentation: its purpose stands there."""


class PassageEntry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A passage: `text` are the terms of its lines, `context` those of what it lies in."""

    start: int
    end: int
    symbol: str
    kind: str
    context: str
    text: str


class SymbolEntry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A definition; `content` is the whole `Symbol` as JSON."""

    start: int
    end: int
    name: str
    qualified: list[str]
    words: str
    content: bytes


class FileEntry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A file with the terms of its path, its names and its documentation."""

    path: str
    nature: str
    lines: int
    path_terms: str
    names: str
    documentation: str
    passages: list[PassageEntry]
    symbols: list[SymbolEntry]


def describe_file(file: TextFile, symbols: list[Symbol]) -> FileEntry:
    """Make the entry of a file from its text and its definitions."""
    passages = cut(file.text, symbols)
    beginning = "\n".join(passages[0].text.split("\n")[:_BEGINNING]) if passages else ""
    path_terms = joined_terms(file.path)
    stem = file.path.rpartition("/")[2].rpartition(".")[0]
    return FileEntry(
        path=file.path,
        nature=file.nature,
        lines=file.text.count("\n") + (not file.text.endswith("\n")),
        path_terms=path_terms,
        names=joined_terms(" ".join(symbol.name for symbol in symbols)),
        documentation=joined_terms(
            "\n".join((beginning, *(symbol.docstring or "" for symbol in symbols)))
        ),
        passages=[_describe_passage(passage, path_terms) for passage in passages],
        symbols=[_describe_symbol(symbol, stem) for symbol in symbols],
    )


def _describe_passage(passage: Passage, path_terms: str) -> PassageEntry:
    return PassageEntry(
        start=passage.start_line,
        end=passage.end_line,
        symbol=passage.symbol or "",
        kind=passage.kind,
        context=f"{path_terms} {joined_terms(' '.join(passage.names))}",
        text=joined_terms(passage.text),
    )


def _describe_symbol(symbol: Symbol, stem: str) -> SymbolEntry:
    parts = symbol.qualified_name.lower().split(".")
    return SymbolEntry(
        start=symbol.start_line,
        end=symbol.end_line,
        name=symbol.name,
        qualified=[".".join(parts[place:]) for place in range(len(parts))],
        words=_words_of(symbol, stem),
        content=msgspec.json.encode(symbol),
    )


def _words_of(symbol: Symbol, stem: str) -> str:
    """Return the terms that name and describe a symbol; its name, said twice, counts for more."""
    name = symbol.qualified_name
    if symbol.kind == "variable":
        return joined_terms(symbol.name)
    return joined_terms("\n".join((stem, name, name, symbol.signature, symbol.docstring or "")))
