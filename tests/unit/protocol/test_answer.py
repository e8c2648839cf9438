"""An answer as the sum of its events."""

from firsthand.protocol.answer import fold
from firsthand.protocol.events import (
    CitationsChecked,
    Done,
    Meta,
    ModelName,
    ReasoningDelta,
    RunFailed,
    StatusChanged,
    TextDelta,
    ToolState,
    ToolStatus,
    ToolUpdated,
    Usage,
)

META = Meta(model=ModelName(provider="p", model="m"), resources=[])


def tool(call_id: str, status: ToolStatus) -> ToolUpdated:
    return ToolUpdated(call_id=call_id, tool="grep", state=ToolState(status=status))


def test_an_answer_grows() -> None:
    events = [
        StatusChanged(status="starting", step="Waking"),
        StatusChanged(status="ready"),
        META,
        ReasoningDelta(delta="hm"),
        tool("a", ToolStatus.RUNNING),
        tool("b", ToolStatus.RUNNING),
        tool("a", ToolStatus.COMPLETED),
        TextDelta(delta="So "),
        TextDelta(delta="far"),
        CitationsChecked(citations=[]),
    ]
    assert fold(events[:1]).parts.step == "Waking"
    answer = fold(events)
    assert answer.text == "So far"
    assert answer.parts.reasoning == "hm"
    assert answer.parts.step is None
    assert answer.parts.model == ModelName(provider="p", model="m")
    assert [(t.call_id, t.state.status) for t in answer.parts.tools] == [
        ("a", ToolStatus.COMPLETED),
        ("b", ToolStatus.RUNNING),
    ]


def test_done_is_the_whole_truth() -> None:
    end = Done(text="All", reasoning="r", tools=[], usage=Usage(total_tokens=3))
    answer = fold([META, TextDelta(delta="Al"), tool("a", ToolStatus.COMPLETED), end])
    assert answer.text == "All"
    assert answer.parts.usage == Usage(total_tokens=3)
    assert len(answer.parts.tools) == 1


def test_a_failure_keeps_the_text() -> None:
    answer = fold([TextDelta(delta="some"), RunFailed(error_tag="X", message="gone")])
    assert answer.text == "some"
    assert answer.failure is not None
