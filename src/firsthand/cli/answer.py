"""Shows the events of one run as they come, whoever sends them, and prints what came of them."""

from collections import Counter
from typing import Any

import msgspec

from firsthand.cli.answer_view import AnswerView
from firsthand.protocol.answer import Answer as FoldedAnswer
from firsthand.protocol.answer import AnswerFold
from firsthand.protocol.events import (
    Done,
    Meta,
    ReasoningDelta,
    RunEvent,
    SessionStarted,
    StatusChanged,
    TextDelta,
    ToolCall,
    ToolStatus,
    ToolUpdated,
    Usage,
)


class Answer:
    """What is known so far of the answer to one question."""

    def __init__(self, question: str, view: AnswerView) -> None:
        self.question = question
        self.session: SessionStarted | None = None
        self.is_complete = False
        self._fold = AnswerFold()
        self._shown = False
        self._view = view

    @property
    def now(self) -> FoldedAnswer:
        """The answer as far as it has come."""
        return self._fold.answer()

    def take(self, event: RunEvent) -> None:
        """Take the next event in order."""
        self._fold.add(event)
        match event:
            case SessionStarted():
                self.session = event
            case StatusChanged(step=step, status=status):
                self._view.progress(step or status)
            case Meta():
                self._view.progress("Reading the sources")
            case TextDelta(delta=delta):
                self._shown = True
                self._view.text(delta)
            case ReasoningDelta():
                self._view.progress("Thinking")
            case ToolUpdated():
                self._view.progress(_work(self.now.parts.tools))
            case Done(text=text):
                # What was streamed is what stands in `text`; a source that does not stream has
                # it here.
                if not self._shown:
                    self._view.text(text)
                self.is_complete = True
            case _:
                pass

    def as_json(self) -> bytes:
        """Return the one object that `--json` prints."""
        answer = self.now
        parts, failure = answer.parts, answer.failure
        found: dict[str, Any] = {
            "question": self.question,
            "answer": answer.text,
            "complete": self.is_complete,
            "citations": parts.citations,
            "resources": parts.resources,
            "model": parts.model,
            "usage": parts.usage or Usage(),
            "tools": parts.tools,
            "metrics": parts.metrics,
        }
        if self.session is not None:
            found["runId"], found["threadId"] = self.session.run_id, self.session.thread_id
        if failure is not None:
            found["error"] = {
                "tag": failure.error_tag,
                "message": failure.message,
                "hint": failure.hint,
            }
        return msgspec.json.encode(found)


def _work(tools: tuple[ToolCall, ...]) -> str:
    counts = Counter(call.tool for call in tools)
    work = ", ".join(f"{count} {tool}" for tool, count in counts.items())
    running = [call for call in tools if call.state.status is ToolStatus.RUNNING]
    if not running:
        return work
    values = [value for value in running[-1].state.input.values() if isinstance(value, str)]
    return f"{work} · {running[-1].tool} {values[0] if values else ''}"
