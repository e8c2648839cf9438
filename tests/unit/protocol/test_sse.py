"""Server-sent events survive writing, any cutting, and reading."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firsthand.protocol.events import (
    Done,
    NumberedEvent,
    RunEvent,
    RunFailed,
    TextDelta,
    ToolState,
    ToolStatus,
    ToolUpdated,
    Usage,
    decode_event,
    encode_event,
    ends_run,
    event_type,
)
from firsthand.protocol.sse import (
    KEEP_ALIVE,
    EventStreamParser,
    ServerSentEvent,
    StreamTooLong,
    write_event,
)


def parse(data: bytes, sizes: list[int]) -> list[ServerSentEvent]:
    parser, events, start = EventStreamParser(), list[ServerSentEvent](), 0
    for size in [*sizes, len(data)]:
        events.extend(parser.feed(data[start : start + size]))
        start += size
    return events


@given(
    texts=st.lists(st.text(), min_size=1, max_size=5),
    sizes=st.lists(st.integers(1, 40), max_size=60),
)
def test_events_survive_any_cutting(texts: list[str], sizes: list[int]) -> None:
    stream = b"".join(
        write_event(NumberedEvent(number=number, event=TextDelta(delta=text))) + KEEP_ALIVE
        for number, text in enumerate(texts, 1)
    )
    events = parse(stream, sizes)
    assert [event.id for event in events] == [str(n) for n in range(1, len(texts) + 1)]
    assert [decode_event(event.data) for event in events] == [
        TextDelta(delta=text) for text in texts
    ]


@pytest.mark.parametrize("ending", [b"\n", b"\r\n", b"\r"])
def test_every_line_ending_is_one(ending: bytes) -> None:
    stream = ending.join(
        [b": comment", b"event: a", b"data: 1", b"data: 2", b"", b"data:3", b"", b""]
    )
    for size in (1, 2, 3, 1000):
        assert parse(stream, [size] * len(stream)) == [
            ServerSentEvent("a", "1\n2", None),
            ServerSentEvent("message", "3", None),
        ]


def test_an_unfinished_event_is_not_given() -> None:
    assert parse(b"data: 1\n\ndata: 2\n", []) == [ServerSentEvent("message", "1", None)]


def test_an_endless_line_is_refused() -> None:
    with pytest.raises(StreamTooLong):
        parse(b"x" * 20 * 1024 * 1024, [1024 * 1024] * 20)


def test_an_endless_event_is_refused() -> None:
    with pytest.raises(StreamTooLong):
        parse((b"data: " + b"x" * 1_000_000 + b"\n") * 20, [])


EVENTS: list[tuple[RunEvent, str, bool]] = [
    (TextDelta(delta="a"), "text.delta", False),
    (
        ToolUpdated(call_id="1", tool="grep", state=ToolState(status=ToolStatus.RUNNING)),
        "tool.updated",
        False,
    ),
    (Done(text="a", reasoning="", tools=[], usage=Usage()), "done", True),
    (RunFailed(error_tag="Cancelled", message="Stopped."), "error", True),
]


@pytest.mark.parametrize(("event", "kind", "last"), EVENTS)
def test_events_have_the_names_of_the_contract(event: RunEvent, kind: str, last: bool) -> None:
    assert event_type(event) == kind
    assert ends_run(event) is last
    assert decode_event(encode_event(event)) == event
    assert f'"type":"{kind}"'.encode() in encode_event(event)


def test_names_on_the_wire_are_those_of_the_npm_server() -> None:
    tool = ToolUpdated(call_id="1", tool="grep", state=ToolState(status=ToolStatus.RUNNING))
    assert b'"callID":"1"' in encode_event(tool)
    failed = encode_event(RunFailed(error_tag="Cancelled", message="Stopped."))
    # The npm client's schema knows an absent hint, but no null.
    assert failed == b'{"type":"error","tag":"Cancelled","message":"Stopped."}'
