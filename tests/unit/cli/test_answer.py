"""The events of a run become one answer, whoever sent them."""

import json
from collections.abc import Sequence

from firsthand.cli.answer import Answer
from firsthand.protocol.events import (
    AnsweredResource,
    Citation,
    CitationsChecked,
    Done,
    Meta,
    ModelName,
    RunFailed,
    SessionStarted,
    StatusChanged,
    TextDelta,
    ToolCall,
    ToolState,
    ToolStatus,
    ToolUpdated,
    Usage,
    Verdict,
)


class Remembering:
    """A view that keeps what it is shown."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.shown = ""

    def progress(self, step: str) -> None:
        self.steps.append(step)

    def text(self, delta: str) -> None:
        self.shown += delta

    def end(self, citations: Sequence[Citation], resources: Sequence[AnsweredResource]) -> None:
        raise AssertionError("whoever asks ends the view, not the answer")


META = Meta(
    model=ModelName(provider="firsthand", model="extractive"),
    resources=[AnsweredResource(name="x", ref="main", commit="c" * 40)],
)
CITATION = Citation(
    resource="x",
    commit="c" * 40,
    path="a.py",
    start_line=1,
    end_line=2,
    url=None,
    verdict=Verdict.VERIFIED,
)


def tool(status: ToolStatus) -> ToolUpdated:
    state = ToolState(status=status, input={"pattern": "redirect"})
    return ToolUpdated(call_id="1", tool="grep", state=state)


def test_a_whole_answer() -> None:
    view = Remembering()
    answer = Answer("How?", view)
    finished = tool(ToolStatus.COMPLETED)
    call = ToolCall(call_id="1", tool="grep", state=finished.state)
    for event in (
        SessionStarted(run_id="ru_1", thread_id="th_1", message_id="me_1"),
        StatusChanged(status="starting", step="Waking"),
        META,
        tool(ToolStatus.RUNNING),
        finished,
        TextDelta(delta="So "),
        TextDelta(delta="it is."),
        CitationsChecked(citations=[CITATION]),
        Done(text="So it is.", reasoning="", tools=[call], usage=Usage(total_tokens=7)),
    ):
        answer.take(event)
    assert view.shown == "So it is."
    assert view.steps == ["Waking", "Reading the sources", "1 grep · grep redirect", "1 grep"]
    found = json.loads(answer.as_json())
    assert found["answer"] == "So it is."
    assert found["complete"] is True
    assert found["runId"] == "ru_1"
    assert found["resources"][0]["commit"] == "c" * 40
    assert found["citations"][0]["verdict"] == "verified"
    assert found["usage"]["totalTokens"] == 7
    assert found["tools"][0]["tool"] == "grep"
    assert "error" not in found


def test_an_answer_that_was_not_streamed_is_shown_at_its_end() -> None:
    view = Remembering()
    answer = Answer("How?", view)
    answer.take(Done(text="All at once.", reasoning="", tools=[], usage=Usage()))
    assert view.shown == "All at once."


def test_a_failure_keeps_what_was_said() -> None:
    answer = Answer("How?", Remembering())
    answer.take(TextDelta(delta="So"))
    answer.take(RunFailed(error_tag="ModelError", message="The model broke off.", hint="Again."))
    found = json.loads(answer.as_json())
    assert (found["answer"], found["complete"]) == ("So", False)
    assert found["error"] == {
        "tag": "ModelError",
        "message": "The model broke off.",
        "hint": "Again.",
    }
