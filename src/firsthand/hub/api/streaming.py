"""Run events as a streamed answer, with a comment now and then so that proxies keep it open."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress

from starlette.responses import StreamingResponse

from firsthand.protocol.events import NumberedEvent
from firsthand.protocol.sse import KEEP_ALIVE, KEEP_ALIVE_SECONDS, write_event


async def _frames(batches: AsyncIterator[Sequence[NumberedEvent]]) -> AsyncIterator[bytes]:
    # A task, not a time-out around `anext`: a time-out would cancel the reader itself.
    coming = asyncio.ensure_future(_next(batches))
    try:
        while True:
            done, _ = await asyncio.wait({coming}, timeout=KEEP_ALIVE_SECONDS)
            if not done:
                yield KEEP_ALIVE
                continue
            batch = coming.result()
            if batch is None:
                return
            coming = asyncio.ensure_future(_next(batches))
            yield b"".join(map(write_event, batch))
    finally:
        coming.cancel()
        with suppress(asyncio.CancelledError):
            await coming


async def _next(
    batches: AsyncIterator[Sequence[NumberedEvent]],
) -> Sequence[NumberedEvent] | None:
    return await anext(batches, None)


def stream_events(batches: AsyncIterator[Sequence[NumberedEvent]]) -> StreamingResponse:
    """Answer with the events of a journal. A reader that goes away changes nothing."""
    return StreamingResponse(
        _frames(batches),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )
