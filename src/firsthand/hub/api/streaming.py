"""Run events as a streamed answer, with a comment now and then so that proxies keep it open."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress

from starlette.responses import StreamingResponse

from firsthand.protocol.events import NumberedEvent
from firsthand.protocol.sse import KEEP_ALIVE, KEEP_ALIVE_SECONDS, write_event

# How far a reader's frames may run ahead of its connection.
_AHEAD_BYTES = 256 * 1024


class _Buffer:
    """Frames between the journal's reader and the connection: joined, and bounded."""

    def __init__(self) -> None:
        self._frames: list[bytes] = []
        self._size = 0
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()

    async def fill(self, events: AsyncGenerator[NumberedEvent]) -> None:
        try:
            async with aclosing(events):
                async for event in events:
                    frame = write_event(event)
                    self._frames.append(frame)
                    self._size += len(frame)
                    self._news.set()
                    if self._size > _AHEAD_BYTES:
                        self._room.clear()
                        await self._room.wait()
        finally:
            self._news.set()

    async def wait(self) -> bool:
        """Wait for news; tell whether they came before a sign of life is due."""
        with suppress(TimeoutError):
            async with asyncio.timeout(KEEP_ALIVE_SECONDS):
                await self._news.wait()
        return self._news.is_set()

    def is_empty(self) -> bool:
        return not self._frames

    def take(self) -> bytes:
        frames = b"".join(self._frames)
        self._frames.clear()
        self._size = 0
        self._news.clear()
        self._room.set()
        return frames


async def _frames(events: AsyncGenerator[NumberedEvent]) -> AsyncIterator[bytes]:
    buffer = _Buffer()
    # A task of its own: a time-out around the generator would end the generator.
    reader = asyncio.create_task(buffer.fill(events))
    try:
        # Whatever the reader took before it ended is in the buffer by the time it is done.
        while not (reader.done() and buffer.is_empty()):
            if not await buffer.wait():
                yield KEEP_ALIVE
            elif frames := buffer.take():
                yield frames
        reader.result()
    finally:
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)


def stream_events(events: AsyncGenerator[NumberedEvent]) -> StreamingResponse:
    """Answer with the events of a journal. A reader that goes away changes nothing."""
    return StreamingResponse(
        _frames(events),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )
