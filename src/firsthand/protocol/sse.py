"""Server-sent events as bytes: writing them, and reading them from any chunking.

Follows the WHATWG HTML standard, section 9.2 "Server-sent events".
"""

from collections.abc import AsyncGenerator, AsyncIterable, Iterator
from dataclasses import dataclass

from firsthand.protocol.events import NumberedEvent, encode_event, event_type

KEEP_ALIVE = b": keep-alive\n\n"
KEEP_ALIVE_SECONDS = 15.0
# A line longer than this is no event of ours or of a model: the peer is broken or hostile.
MAX_LINE_BYTES = 16 * 1024 * 1024


class StreamTooLong(ValueError):
    """A line or an event of the stream exceeds the bound; the connection must be dropped."""


@dataclass(frozen=True, slots=True)
class ServerSentEvent:
    """One dispatched event; `event` is "message" where the stream named none."""

    event: str
    data: str
    id: str | None


def write_event(numbered: NumberedEvent) -> bytes:
    """Return a run event in wire form: `id:` its number, `event:` its type, `data:` its JSON."""
    event = numbered.event
    head = f"id: {numbered.number}\nevent: {event_type(event)}\ndata: ".encode()
    return head + encode_event(event) + b"\n\n"


class EventStreamParser:
    """Feeds on byte chunks and gives back complete events; holds at most one unfinished event."""

    def __init__(self) -> None:
        self._rest: list[bytes] = []
        self._rest_bytes = 0
        self._after_return = False
        self._data: list[str] = []
        self._data_chars = 0
        self._event = ""
        self._id: str | None = None

    def feed(self, chunk: bytes) -> Iterator[ServerSentEvent]:
        """Yield the events that this chunk completes. Raises `StreamTooLong`."""
        if self._after_return and chunk:
            # The line feed of a line break whose carriage return ended the chunk before.
            chunk = chunk.removeprefix(b"\n")
            self._after_return = False
        if not chunk:
            return
        self._after_return = chunk.endswith(b"\r")
        lines = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        if len(lines) > 1:
            lines[0] = b"".join([*self._rest, lines[0]])
            self._rest, self._rest_bytes = [], 0
        last = lines.pop()
        self._rest.append(last)
        self._rest_bytes += len(last)
        if self._rest_bytes > MAX_LINE_BYTES:
            raise StreamTooLong(f"a line of the event stream exceeds {MAX_LINE_BYTES} bytes")
        for line in lines:
            done = self._line(line.decode("utf-8", "replace"))
            if done is not None:
                yield done

    def _line(self, line: str) -> ServerSentEvent | None:
        if not line:
            return self._dispatch()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
            self._data_chars += len(value) + 1
            if self._data_chars > MAX_LINE_BYTES:
                raise StreamTooLong(f"an event of the stream exceeds {MAX_LINE_BYTES} characters")
        elif name == "event":
            self._event = value
        elif name == "id" and "\0" not in value:
            self._id = value
        return None

    def _dispatch(self) -> ServerSentEvent | None:
        data, event = self._data, self._event
        self._data, self._data_chars, self._event = [], 0, ""
        if not data:
            return None
        return ServerSentEvent(event or "message", "\n".join(data), self._id)


async def read_events(chunks: AsyncIterable[bytes]) -> AsyncGenerator[ServerSentEvent, None]:
    """Yield the events of a response body, however it was cut into chunks."""
    parser = EventStreamParser()
    async for chunk in chunks:
        for event in parser.feed(chunk):
            yield event
