"""Asking over HTTP in tests, and reading what comes."""

from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from firsthand.protocol.events import NumberedEvent, SessionStarted, TextDelta, decode_event
from tests.e2e.conftest import Stage
from tests.hub_process import events_of


@contextmanager
def asking(stage: Stage, question: str, **more: Any) -> Generator[Iterator[NumberedEvent]]:
    """Ask about the stage's project and have the stream of events open."""
    body = {"message": question, "resources": [stage.project], **more}
    with stage.hub.request("POST", "/chat/stream", body) as answer:
        assert answer.status == 200, answer.read()
        yield numbered(events_of(answer))


@contextmanager
def following(stage: Stage, run_id: str, after: int = 0) -> Generator[Iterator[NumberedEvent]]:
    """Follow a run from a number onward."""
    headers = {"Last-Event-ID": str(after)}
    with stage.hub.request("GET", f"/runs/{run_id}/events", headers=headers) as answer:
        assert answer.status == 200, answer.read()
        yield numbered(events_of(answer))


def numbered(events: Iterable[Any]) -> Iterator[NumberedEvent]:
    for event in events:
        yield NumberedEvent(number=int(event.id), event=decode_event(event.data))


def ask_to_end(stage: Stage, question: str, **more: Any) -> list[NumberedEvent]:
    with asking(stage, question, **more) as events:
        return list(events)


def text_of(events: Iterable[NumberedEvent]) -> str:
    return "".join(e.event.delta for e in events if isinstance(e.event, TextDelta))


def until_text(events: Iterator[NumberedEvent], end: str) -> list[NumberedEvent]:
    """Read on until the answer so far ends with `end`."""
    seen: list[NumberedEvent] = []
    for event in events:
        seen.append(event)
        if text_of(seen).endswith(end):
            return seen
    raise AssertionError(f"the stream ended before {end!r}: {seen}")


def run_id_of(events: list[NumberedEvent]) -> str:
    first = events[0].event
    assert isinstance(first, SessionStarted)
    return first.run_id
