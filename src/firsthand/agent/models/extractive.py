"""The engine that answers without a model: finds the best passages and quotes them, with citations.

It speaks through the same port as a model does: its first turn asks for a search, its second for
the best places to be read, its third says what was found. It claims nothing that is not in the
source, and says that no model is configured and how to set one.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from firsthand.agent.models.port import (
    AssistantMessage,
    ModelMessage,
    ModelPart,
    ModelTurn,
    TextPart,
    ToolRequest,
    ToolResult,
    TurnEnded,
    UserMessage,
)
from firsthand.protocol.citation_syntax import write_citation

_PLACES: Final = 5
_READ_LINES: Final = 60
_EXCERPT_LINES: Final = 16
_WORD: Final = re.compile(r"[A-Za-z][a-z]+|[A-Z]+(?![a-z])|[a-z]+")
_PARAGRAPH_END: Final = re.compile(r"(?<=[.!?])\s|\n\s*\n")
_HEAD_END: Final = re.compile(r":\s*(?:#.*)?$")
_DOC: Final = re.compile(r'\s*[rRuU]?("""|\'\'\')(.*?)\1', re.DOTALL)
_DEFINING: Final = (
    r"\b(?:def|class|fn|func|function|interface|struct|trait|enum|type|module|object|impl|"
    r"const|let|var|val)\s+(?:\([^)]*\)\s*)?"
)
# A word before a name, such as its type; not one that makes of it a call.
_TYPE_WORD: Final = (
    r"(?!(?:return|await|yield|raise|throw|new|delete|del|assert|print|not|and|or|in|is|if|elif|"
    r"else|while|for|case|when|do|go|defer|try|from|import)\b)[\w*&<>:]+\s+"
)
_LANGUAGES: Final = {
    "c": "c", "cc": "cpp", "cpp": "cpp", "cs": "csharp", "css": "css", "go": "go", "h": "c",
    "html": "html", "java": "java", "js": "javascript", "json": "json", "jsx": "jsx",
    "kt": "kotlin", "md": "markdown", "php": "php", "py": "python", "pyi": "python",
    "rb": "ruby", "rs": "rust", "sh": "bash", "sql": "sql", "svelte": "svelte", "swift": "swift",
    "toml": "toml", "ts": "typescript", "tsx": "tsx", "yaml": "yaml", "yml": "yaml",
}  # fmt: skip

OPENING: Final = (
    "No language model is configured, so nothing here is written by one: these are the passages "
    "of the source that fit the question best, quoted as they stand.\n\n"
)
ADVICE: Final = (
    "---\n\nFor a written answer, set `FIRSTHAND_MODEL` (for instance `openai/gpt-5`) and a key "
    "such as `OPENAI_API_KEY`, `ANTHROPIC_API_KEY` or `OPENROUTER_API_KEY`, or `OLLAMA_HOST` for "
    "a model of your own, and start Firsthand again.\n"
)
_NOTHING: Final = (
    "Nothing in these sources fits the question. Try names as the code would spell them, such as "
    "a function, a class or a setting.\n\n"
)
_UNREADABLE: Final = "The sources could not be searched or read:\n\n"


@dataclass(frozen=True, slots=True)
class _Place:
    """A stretch of a file that may answer the question."""

    resource: str
    path: str
    start: int
    end: int
    name: str | None
    kind: str
    signature: str | None = None
    docstring: str | None = None

    @classmethod
    def of(cls, data: dict[str, Any]) -> "_Place":
        return cls(
            resource=data["resource"],
            path=data["path"],
            start=data["start"],
            end=data["end"],
            name=data.get("name") or data.get("symbol"),
            kind=data.get("kind") or "text",
            signature=data.get("signature"),
            docstring=data.get("docstring"),
        )

    def overlaps(self, other: "_Place") -> bool:
        """Whether both show mostly the same lines."""
        same_file = (self.resource, self.path) == (other.resource, other.path)
        return same_file and self.start <= other.end and other.start <= self.end


class Extractive:
    """Composes an answer from what search and reading find."""

    async def answer(self, turn: ModelTurn) -> AsyncGenerator[ModelPart, None]:
        """Stream the next turn; see the module for which turn does what."""
        question, results = _since_question(turn.messages)
        searches = [result for result in results if result.name == "search"]
        reads = [result for result in results if result.name == "read_file"]
        places = _best_places(searches)
        if turn.tools_allowed and not searches:
            requests = [_request("search", 0, query=_query(turn.messages, question), limit=12)]
            yield TurnEnded(AssistantMessage("", tuple(requests)))
        elif turn.tools_allowed and places and not reads:
            yield TurnEnded(AssistantMessage("", tuple(_read_requests(places))))
        else:
            text = _compose(question, places, reads, searches)
            for piece in re.findall(r"[^\n]*\n+", text):
                yield TextPart(piece)
                # Others want the processor too: an answer is no reason to hold up a cancel.
                await asyncio.sleep(0)
            yield TurnEnded(AssistantMessage(text))


def _since_question(messages: Sequence[ModelMessage]) -> tuple[str, list[ToolResult]]:
    results: list[ToolResult] = []
    for message in reversed(messages):
        if isinstance(message, UserMessage):
            return message.text, results[::-1]
        if isinstance(message, ToolResult):
            results.append(message)
    return "", results[::-1]


def _query(messages: Sequence[ModelMessage], question: str) -> str:
    """Return the question, with the one before it where it cannot stand for itself."""
    earlier = [message.text for message in messages if isinstance(message, UserMessage)]
    if len(question.split()) < 6 and len(earlier) > 1:
        question = f"{question}\n{earlier[-2]}"
    return question[:3_000]


def _request(tool: str, number: int, **arguments: object) -> ToolRequest:
    return ToolRequest(f"{tool}-{number}", tool, msgspec.json.encode(arguments).decode())


def _read_requests(places: Sequence[_Place]) -> list[ToolRequest]:
    return [
        _request(
            "read_file",
            number,
            path=f"{place.resource}/{place.path}",
            start_line=place.start,
            end_line=min(place.end, place.start + _READ_LINES - 1),
        )
        for number, place in enumerate(places)
    ]


def _best_places(searches: Sequence[ToolResult]) -> list[_Place]:
    data = searches[0].data if searches else dict[str, Any]()
    passages = [_Place.of(entry) for entry in data.get("passages", [])]
    definitions = [_Place.of(entry) for entry in data.get("definitions", [])]
    chosen: list[_Place] = []
    # A definition of a name that the question holds comes first, but must not crowd out the rest.
    for place in [*definitions[:2], *passages, *definitions[2:]]:
        if len(chosen) < _PLACES and not any(place.overlaps(other) for other in chosen):
            chosen.append(place)
    return chosen


def _compose(
    question: str,
    places: Sequence[_Place],
    reads: Sequence[ToolResult],
    searches: Sequence[ToolResult],
) -> str:
    words = {word.lower() for word in _WORD.findall(question) if len(word) > 2}
    by_call = {result.call_id: result for result in reads if not result.failed}
    parts = [OPENING]
    number = 0
    for index, place in enumerate(places):
        read = by_call.get(f"read_file-{index}")
        if read is not None and read.data.get("lines"):
            number += 1
            parts.append(_section(number, place, read.data, words))
    if number == 0:
        failed = [result for result in (*searches, *reads) if result.failed]
        parts.append(_UNREADABLE if failed else _NOTHING)
        parts.extend(f"{result.text}\n\n" for result in failed)
    parts.append(ADVICE)
    return "".join(parts)


def _section(number: int, place: _Place, read: dict[str, Any], words: set[str]) -> str:
    lines: list[str] = read["lines"]
    first: int = read["start"]
    name = (place.name or "").rpartition(".")[2]
    # A passage may begin before the definition that it is named after, or amid its body.
    top = _definition(lines, name) if name else None
    if top is not None:
        lines, first = lines[top:], first + top
    start, end = _window(lines, words, from_top=top is not None)
    citation = write_citation(place.resource, read["path"], first + start, first + end - 1)
    what = f"`{place.name}`, {place.kind}, in" if top is not None else "In"
    documentation = place.docstring or (_documentation(lines) if top is not None else None)
    said = _sentence(documentation)
    shown = "\n".join(lines[start:end])
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", shown)), default=0))
    language = _LANGUAGES.get(place.path.rpartition(".")[2].lower(), "")
    return (
        f"**{number}.** {what} {citation}"
        + (f"\n\n> {said}" if said else "")
        + f"\n\n{fence}{language}\n{shown}\n{fence}\n\n"
    )


def _definition(lines: Sequence[str], name: str) -> int | None:
    """Return the line at which this name is defined, its decorators included."""
    plain = re.escape(name)
    defining = re.compile(
        rf"{_DEFINING}{plain}\b|^\s*(?:{_TYPE_WORD})*{plain}\s*[:=](?!=)"
        # Without a word before it, only the brace tells a method from a call.
        rf"|^\s*(?:{_TYPE_WORD})+{plain}\s*\(|^\s*{plain}\s*\(.*\{{\s*$"
    )
    found = next((at for at, line in enumerate(lines) if defining.search(line)), None)
    while found and lines[found - 1].lstrip().startswith("@"):
        found -= 1
    return found


def _window(lines: Sequence[str], words: set[str], *, from_top: bool) -> tuple[int, int]:
    """Return the stretch to quote: from the top of a definition, or where most words meet."""
    while lines and not lines[-1].strip():
        lines = lines[:-1]
    if from_top or len(lines) <= _EXCERPT_LINES:
        return 0, max(1, min(len(lines), _EXCERPT_LINES))
    found = [{word.lower() for word in _WORD.findall(line)} & words for line in lines]
    starts = range(len(lines) - _EXCERPT_LINES + 1)
    best = max(
        starts, key=lambda at: (len(set[str]().union(*found[at : at + _EXCERPT_LINES])), -at)
    )
    return best, best + _EXCERPT_LINES


def _documentation(lines: Sequence[str]) -> str | None:
    """Return the docstring right below the head of the definition that begins here."""
    head = next((at for at, line in enumerate(lines[:25]) if _HEAD_END.search(line)), None)
    match = _DOC.match("\n".join(lines[head + 1 :])) if head is not None else None
    return match[2] if match else None


def _sentence(docstring: str | None) -> str:
    """Return the first sentence, on one line, without what would be read as Markdown."""
    if not docstring:
        return ""
    text = "\n".join(line.strip().lstrip("*/").strip() for line in docstring.splitlines())
    first = _PARAGRAPH_END.split(text.strip(), maxsplit=1)[0]
    plain = re.sub(r"([\\`*_\[\]<>])", r"\\\1", " ".join(first.split()))
    return plain[:300]
