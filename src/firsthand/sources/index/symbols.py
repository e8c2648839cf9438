"""Definitions in a source file, found by tree-sitter: names, lines, signatures, docstrings."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from firsthand.sources.index.languages import grammar, language_of

if TYPE_CHECKING:
    from tree_sitter import Node

MAX_SYMBOLS = 20_000
MAX_SIGNATURE = 300
MAX_DOCSTRING = 2_000

_COMMENT_LINE = re.compile(r"^\s*(///?!?|\*/?|/\*\*?|#(?!\s*(?:include|define|if|endif))|--)\s?")
_SPACES = re.compile(r"\s+")
_CONTAINERS = frozenset(
    (
        "class",
        "struct",
        "interface",
        "trait",
        "implementation",
        "module",
        "namespace",
        "object",
        "enum",
        "union",
    )
)


@dataclass(frozen=True)
class Symbol:
    """One definition in a file; lines count from 1 and include both ends."""

    name: str
    qualified_name: str
    kind: str
    path: str
    start_line: int
    end_line: int
    signature: str
    docstring: str | None


@dataclass(frozen=True)
class _Definition:
    node: "Node"
    name: str
    kind: str


def extract_symbols(path: str, text: str) -> list[Symbol]:
    """Return the definitions of a file in order of appearance; empty where no grammar is known."""
    language = language_of(path)
    if language is None:
        return []
    from tree_sitter import QueryCursor

    parser, query = grammar(language.name)
    source = text.encode("utf-8", "replace")
    root = parser.parse(source).root_node
    found: dict[tuple[int, int], _Definition] = {}
    for _, captures in QueryCursor(query).matches(root):
        definition = _definition(captures)
        if definition is not None:
            found.setdefault((definition.node.start_byte, definition.node.end_byte), definition)
            if len(found) >= MAX_SYMBOLS:
                break
    ordered = [found[key] for key in sorted(found, key=lambda key: (key[0], -key[1]))]
    return _nest(path, source, text.split("\n"), ordered)


def _definition(captures: "dict[str, list[Node]]") -> _Definition | None:
    names = captures.get("name")
    for kind, nodes in captures.items():
        if kind != "name" and names:
            raw = names[0].text or b""
            name = _SPACES.sub(" ", raw.decode("utf-8", "replace")).strip()
            return _Definition(nodes[0], name, kind) if 0 < len(name) <= 200 else None
    return None


def _nest(path: str, source: bytes, lines: list[str], ordered: list[_Definition]) -> list[Symbol]:
    symbols: list[Symbol] = []
    open_scopes: list[_Definition] = []
    for definition in ordered:
        node = definition.node
        while open_scopes and open_scopes[-1].node.end_byte < node.end_byte:
            open_scopes.pop()
        inside = open_scopes[-1] if open_scopes else None
        kind = definition.kind
        if kind == "function" and inside is not None and inside.kind in _CONTAINERS - {"module"}:
            kind = "method"
        symbols.append(
            Symbol(
                name=definition.name,
                qualified_name=".".join([*(s.name for s in open_scopes), definition.name]),
                kind=kind,
                path=path,
                start_line=_first_row(node) + 1,
                end_line=node.end_point[0] + 1,
                signature=_signature(source, node),
                docstring=_docstring(source, lines, node),
            )
        )
        if kind not in {"variable", "constant", "type", "macro"}:
            open_scopes.append(definition)
    return symbols


def _first_row(node: "Node") -> int:
    parent = node.parent
    if parent is not None and parent.type in {"decorated_definition", "export_statement"}:
        return parent.start_point[0]
    return node.start_point[0]


def _signature(source: bytes, node: "Node") -> str:
    body = node.child_by_field_name("body")
    end = body.start_byte if body is not None else node.end_byte
    raw = source[node.start_byte : min(end, node.start_byte + 4 * MAX_SIGNATURE)]
    words = _SPACES.sub(" ", raw.decode("utf-8", "replace")).strip().rstrip("{").rstrip()
    return words if len(words) <= MAX_SIGNATURE else words[: MAX_SIGNATURE - 1] + "…"


def _docstring(source: bytes, lines: list[str], node: "Node") -> str | None:
    body = node.child_by_field_name("body")
    first = body.named_children[0] if body is not None and body.named_child_count else None
    if first is not None and first.type == "expression_statement" and first.named_children:
        first = first.named_children[0]
    if first is not None and first.type == "string":
        raw = source[first.start_byte : first.end_byte][: 4 * MAX_DOCSTRING]
        return _clean(raw.decode("utf-8", "replace").lstrip("rRuUbB").strip("\"'"))
    return _comment_above(lines, _first_row(node))


def _comment_above(lines: list[str], row: int) -> str | None:
    kept: list[str] = []
    row -= 1
    while row >= 0 and len(kept) < 40 and _COMMENT_LINE.match(lines[row]):
        kept.append(_COMMENT_LINE.sub("", lines[row]).removesuffix("*/").rstrip())
        row -= 1
    return _clean("\n".join(reversed(kept)))


def _clean(text: str) -> str | None:
    cleaned = "\n".join(line.strip() for line in text.strip().split("\n")).strip()
    return cleaned[:MAX_DOCSTRING] or None
