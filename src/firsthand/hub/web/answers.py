"""An answer as it stands, turned into what its part of the page shows: words for the tool calls,
rendered Markdown, and the sources for the margin.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any
from urllib.parse import quote, urlencode

from markupsafe import Markup

from firsthand.hub.ids import RunId
from firsthand.hub.threads.run import Run
from firsthand.hub.web import words
from firsthand.hub.web.files import excerpt
from firsthand.hub.web.markdown import CitationKey, CitationNumbers, render_answer
from firsthand.hub.web.views import (
    Failure,
    ReadFrom,
    SourceNote,
    ToolLine,
    TurnView,
    WorkView,
)
from firsthand.protocol.answer import Answer, AnswerParts
from firsthand.protocol.events import Citation, ToolCall, ToolStatus, Verdict
from firsthand.protocol.questions import RunState
from firsthand.sources.store import Checkout

# What of a tool's output is put into the page.
_OUTPUT_CHARS = 4_000
_SUBJECT_CHARS = 200
# A citation that is still being written would flicker as text and then turn into a chip.
_HALF_CITATION = re.compile(r"\[[^\[\]\n]{0,200}$")

FindCheckout = Callable[[str], Checkout | None]


@dataclass(frozen=True, slots=True)
class _ToolWords:
    icon: str
    past: str
    present: str
    subject: str


_TOOLS = {
    "search": _ToolWords("search", "Searched", "Searching", "query"),
    "grep": _ToolWords("search", "Looked for", "Looking for", "pattern"),
    "glob": _ToolWords("file-search", "Found files", "Finding files", "pattern"),
    "list_files": _ToolWords("folder-tree", "Listed", "Listing", "path"),
    "read_file": _ToolWords("file-code", "Read", "Reading", "path"),
}


@dataclass(frozen=True, slots=True)
class Turn:
    """What a turn of a thread is made of."""

    run: Run
    question: str
    answer: Answer
    last: bool
    again: bool = False


def turn_view(turn: Turn, find_checkout: FindCheckout) -> TurnView:
    """Return the view of a question and its answer as far as it has come."""
    run, answer = turn.run, turn.answer
    running = not run.is_finished
    text = _HALF_CITATION.sub("", answer.text) if running else answer.text
    names = tuple(source.name for source in run.sources)
    rendered = render_text(text, run.id, names)
    return TurnView(
        run_id=run.id,
        question=turn.question,
        again=turn.again,
        asked_at=run.created_at,
        running=running,
        work=_work(run, answer),
        answer=rendered.html,
        has_text=bool(answer.text),
        notes=_notes(run, rendered.citations, answer.parts, find_checkout),
        read_from=tuple(
            ReadFrom(item.name, item.ref, item.commit, item.committed_at, item.fetched_at)
            for item in answer.parts.resources
        ),
        model=_model(answer.parts),
        failure=_failure(run),
        can_retry=turn.last and run.state in {RunState.FAILED, RunState.CANCELLED},
    )


@dataclass(frozen=True, slots=True)
class RenderedAnswer:
    """An answer as HTML with its citations in the order of their numbers."""

    html: Markup
    citations: tuple[CitationKey, ...]


@lru_cache(maxsize=128)
def render_text(text: str, anchor: str, names: tuple[str, ...]) -> RenderedAnswer:
    """Render an answer's Markdown; cached, as every reader of a thread is shown the same."""
    numbers = CitationNumbers(anchor, names)
    html = render_answer(text, numbers)
    return RenderedAnswer(html, tuple(numbers.seen))


def read_url(checkout: Checkout, path: str, run_id: str, lines: tuple[int, int]) -> str:
    """Return where the lines are read in full; the run says by what right."""
    start, end = lines
    query = urlencode({"lines": f"{start}-{end}", "answer": run_id})
    return f"/read/{checkout.id}/{quote(path)}?{query}#L{start}"


def reading_link(public_url: str, run_id: RunId, checkout: Checkout) -> str:
    """Return a template of links into our own reading page, open to who may see the answer."""
    return f"{public_url}/read/{checkout.id}/{{path}}?lines={{start}}-{{end}}&answer={run_id}"


def host_url(checkout: Checkout, path: str, start: int, end: int) -> str | None:
    """Return the permanent page of these lines at the source's own host, if it has one."""
    template = checkout.link_template
    if template is None:
        return None
    return template.format(path=quote(path), start=start, end=end)


# The line of work


def _work(run: Run, answer: Answer) -> WorkView:
    parts = answer.parts
    running = not run.is_finished
    return WorkView(
        summary=_present(run, answer) if running else _past(parts),
        tools=tuple(map(_tool_line, parts.tools)),
        reasoning=parts.reasoning,
        running=running,
        since=(run.started_at or run.created_at) if running else None,
        seconds=None if running else _seconds(run),
    )


def _present(run: Run, answer: Answer) -> str:
    if run.cancel_requested_at:
        return "Stopping"
    if run.state is not RunState.RUNNING or answer.parts.step:
        return answer.parts.step or "Getting ready"
    under_way = [call for call in answer.parts.tools if _is_under_way(call)]
    if under_way:
        line = _tool_line(under_way[-1])
        return f"{line.verb} {line.subject}"
    return "Writing the answer" if answer.text else "Thinking"


def _past(parts: AnswerParts) -> str:
    done = [call for call in parts.tools if call.state.status is ToolStatus.COMPLETED]
    read = {str(call.state.input.get("path")) for call in done if call.tool == "read_file"}
    searched = sum(call.tool in {"search", "grep"} for call in done)
    listed = sum(call.tool in {"list_files", "glob"} for call in done)
    other = len(done) - searched - listed - sum(call.tool == "read_file" for call in done)
    facts = [
        f"read {words.count(len(read), 'file')}" if read else "",
        f"searched {_times(searched)}" if searched else "",
        f"listed files {_times(listed)}" if listed else "",
        f"used other tools {_times(other)}" if other else "",
    ]
    sentence = ", ".join(fact for fact in facts if fact) or "nothing was read"
    return sentence[0].upper() + sentence[1:]


def _times(number: int) -> str:
    return {1: "once", 2: "twice"}.get(number, f"{number} times")


def _seconds(run: Run) -> float | None:
    if run.ended_at is None:
        return None
    begun: datetime = run.started_at or run.created_at
    return (run.ended_at - begun).total_seconds()


def _is_under_way(call: ToolCall) -> bool:
    return call.state.status in {ToolStatus.PENDING, ToolStatus.RUNNING}


def _tool_line(call: ToolCall) -> ToolLine:
    known = _TOOLS.get(call.tool)
    given = call.state.input
    if known is None:
        icon, verb, subject = "wrench", call.tool, json.dumps(given, ensure_ascii=False)
    else:
        icon = known.icon
        verb = known.present if _is_under_way(call) else known.past
        subject = str(given.get(known.subject) or "all sources")
    output = call.state.output or ""
    return ToolLine(
        call_id=call.call_id,
        icon=icon,
        verb=verb,
        subject=_cut(subject + _suffix(call.tool, given)),
        state=call.state.status.value,
        output=output[:_OUTPUT_CHARS],
        cut=len(output) > _OUTPUT_CHARS,
    )


def _suffix(tool: str, given: dict[str, Any]) -> str:
    if tool == "read_file" and given.get("start_line"):
        end = given.get("end_line")
        return f":{given['start_line']}" + (f"\N{EN DASH}{end}" if end else "")
    if tool in {"search", "grep", "glob"} and given.get("path"):
        return f" in {given['path']}"
    return ""


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SUBJECT_CHARS else line[: _SUBJECT_CHARS - 1] + "…"


# The margin


def _notes(
    run: Run, cited: tuple[CitationKey, ...], parts: AnswerParts, find: FindCheckout
) -> tuple[SourceNote, ...]:
    checked = {
        (item.resource, item.path, item.start_line, item.end_line): item for item in parts.citations
    }
    commits = {item.name: item.commit for item in parts.resources}
    return tuple(
        _note(
            f"{run.id}-{number}",
            key,
            checked=checked.get(key),
            commit=commits.get(key[0]),
            checkout=find(key[0]),
        )
        for number, key in enumerate(cited, start=1)
    )


def _note(
    anchor: str,
    key: CitationKey,
    *,
    checked: Citation | None,
    commit: str | None,
    checkout: Checkout | None,
) -> SourceNote:
    resource, path, start, end = key
    run_id, _, number = anchor.rpartition("-")
    missing = checked is not None and checked.verdict is Verdict.MISSING
    there = None if missing else checkout
    return SourceNote(
        number=int(number),
        anchor=anchor,
        resource=resource,
        path=path,
        start_line=start,
        end_line=end,
        commit=checked.commit if checked and checked.commit else commit,
        verdict=checked.verdict if checked else None,
        read_url=read_url(there, path, run_id, (start, end)) if there else None,
        host_url=host_url(there, path, start, end) if there else None,
        excerpt=excerpt(there.tree, path, start, end) if there else Markup(""),
    )


def _model(parts: AnswerParts) -> str | None:
    if parts.model is None:
        return None
    if parts.model.model == "extractive":
        return "found without a model"
    return f"{parts.model.provider} / {parts.model.model}"


def _failure(run: Run) -> Failure | None:
    if run.state is RunState.CANCELLED:
        return Failure("Stopped. What was said until then is kept.", None, cancelled=True)
    if run.state is RunState.FAILED:
        return Failure(run.error_message or "The answer could not be finished.", run.error_hint)
    return None
