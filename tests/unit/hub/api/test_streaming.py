"""Frames of a streamed answer: every event once, in order, whatever the reader's pace."""

from collections.abc import AsyncGenerator
from typing import cast

import anyio
import pytest

from firsthand.hub.api.streaming import stream_events
from firsthand.protocol.events import NumberedEvent, TextDelta
from firsthand.protocol.sse import EventStreamParser


async def numbered(count: int, *, pause_after: int = 0) -> AsyncGenerator[NumberedEvent]:
    for number in range(1, count + 1):
        yield NumberedEvent(number=number, event=TextDelta(delta="x" * 100))
        if pause_after and number % pause_after == 0:
            await anyio.lowlevel.checkpoint()


async def read(events: AsyncGenerator[NumberedEvent]) -> list[int]:
    parser = EventStreamParser()
    numbers: list[int] = []
    with anyio.fail_after(20):
        async for frame in stream_events(events).body_iterator:
            assert isinstance(frame, bytes)
            numbers.extend(int(event.id or 0) for event in parser.feed(frame))
            await anyio.lowlevel.checkpoint()
    return numbers


@pytest.mark.parametrize("pause_after", [0, 1, 7])
@pytest.mark.parametrize("count", [0, 1, 2, 20_000])
async def test_every_event_comes_once_and_in_order(count: int, pause_after: int) -> None:
    assert await read(numbered(count, pause_after=pause_after)) == list(range(1, count + 1))


async def test_a_failure_of_the_journal_ends_the_stream_with_it() -> None:
    async def breaking() -> AsyncGenerator[NumberedEvent]:
        yield NumberedEvent(number=1, event=TextDelta(delta="a"))
        raise LookupError("gone")

    with pytest.raises(LookupError, match="gone"):
        await read(breaking())


async def test_a_reader_that_leaves_closes_the_journal() -> None:
    closed = anyio.Event()

    async def endless() -> AsyncGenerator[NumberedEvent]:
        try:
            yield NumberedEvent(number=1, event=TextDelta(delta="a"))
            await anyio.sleep_forever()
        finally:
            closed.set()

    frames = cast("AsyncGenerator[bytes]", stream_events(endless()).body_iterator)
    assert b"id: 1\n" in await anext(frames)
    await frames.aclose()
    with anyio.fail_after(5):
        await closed.wait()
