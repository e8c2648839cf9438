"""Gathers the events of one run, whoever sends them, into what `ask` shows and prints."""

from collections import Counter
from typing import Any

import msgspec

from firsthand.cli.answer_view import AnswerView
from firsthand.protocol.events import (
    AnsweredResource,
    Citation,
    CitationsChecked,
    Done,
    Meta,
    ModelName,
    ReasoningDelta,
    RunEvent,
    RunFailed,
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
        self.model: ModelName | None = None
        self.resources: list[AnsweredResource] = []
        self.citations: list[Citation] = []
        self.text = ""
        self.tools: dict[str, ToolCall] = {}
        self.usage = Usage()
        self.metrics: dict[str, float] = {}
        self.failure: RunFailed | None = None
        self.is_complete = False
        self._view = view

    def take(self, event: RunEvent) -> None:
        """Take the next event in order."""
        match event:
            case SessionStarted():
                self.session = event
            case StatusChanged(step=step, status=status):
                self._view.progress(step or status)
            case Meta(model=model, resources=resources):
                self.model, self.resources = model, resources
                self._view.progress("Reading the sources")
            case TextDelta(delta=delta):
                self.text += delta
                self._view.text(delta)
            case ReasoningDelta():
                self._view.progress("Thinking")
            case ToolUpdated():
                self._tool(event)
            case CitationsChecked(citations=citations):
                self.citations = citations
            case Done():
                self._done(event)
            case RunFailed():
                self.failure = event

    def _tool(self, event: ToolUpdated) -> None:
        self.tools[event.call_id] = ToolCall(
            call_id=event.call_id, tool=event.tool, state=event.state
        )
        self._view.progress(self._work())

    def _work(self) -> str:
        counts = Counter(call.tool for call in self.tools.values())
        work = ", ".join(f"{count} {tool}" for tool, count in counts.items())
        running = [c for c in self.tools.values() if c.state.status is ToolStatus.RUNNING]
        if not running:
            return work
        values = [value for value in running[-1].state.input.values() if isinstance(value, str)]
        return f"{work} · {running[-1].tool} {values[0] if values else ''}"

    def _done(self, event: Done) -> None:
        # What was streamed is what stands in `text`; a source that does not stream has it here.
        if not self.text:
            self._view.text(event.text)
        self.text, self.usage, self.metrics = event.text, event.usage, event.metrics
        self.tools = {call.call_id: call for call in event.tools}
        self.is_complete = True

    def as_json(self) -> bytes:
        """Return the one object that `--json` prints."""
        failure = self.failure
        found: dict[str, Any] = {
            "question": self.question,
            "answer": self.text,
            "complete": self.is_complete,
            "citations": self.citations,
            "resources": self.resources,
            "model": self.model,
            "usage": self.usage,
            "tools": list(self.tools.values()),
            "metrics": self.metrics,
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
