"""A small HTTP/1.1 server on a Unix socket, over h11.

It exists because an agent is started for a person who waits: the usual servers and frameworks take
longer to import than everything else here together. It knows requests, responses and streams, and
nothing of routes.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

import h11

MAX_BODY: Final = 16 * 1024 * 1024
_READ: Final = 64 * 1024
_HEADER_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class Request:
    """A request with its whole body; header names are lower case."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Response:
    """An answer: bytes, or a stream of them that is closed when the client leaves."""

    status: int
    body: bytes | AsyncGenerator[bytes, None]
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict[str, str])


Handler = Callable[[Request], Awaitable[Response]]


class _Refused(Exception):
    """The request is not worth reading to its end."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Connection:
    """One client's connection: requests one after the other."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, handler: Handler
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._handler = handler
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=_READ)
        # A request is being answered; between requests a connection only waits.
        self.busy = False

    async def serve(self) -> None:
        """Answer requests until either side has had enough."""
        try:
            while await self._serve_one():
                self._http.start_next_cycle()
        except (ConnectionError, TimeoutError):
            pass
        finally:
            self._writer.close()
            with suppress(ConnectionError):
                await self._writer.wait_closed()

    async def _serve_one(self) -> bool:
        try:
            request = await self._receive()
        except (h11.RemoteProtocolError, _Refused) as error:
            status = error.status if isinstance(error, _Refused) else error.error_status_hint
            await self._refuse(status, str(error))
            return False
        if request is None:
            return False
        self.busy = True
        await self._send(await self._handler(request))
        self.busy = False
        return self._http.our_state is h11.DONE and self._http.their_state is h11.DONE

    async def _receive(self) -> Request | None:
        head: h11.Request | None = None
        body = bytearray()
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                if self._http.they_are_waiting_for_100_continue:
                    await self._write(h11.InformationalResponse(status_code=100, headers=[]))
                self._http.receive_data(await self._read(waiting_for_more=head is not None))
            elif isinstance(event, h11.Request):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
                if len(body) > MAX_BODY:
                    raise _Refused(413, f"a request may have {MAX_BODY:,} bytes")
            elif isinstance(event, h11.EndOfMessage) and head is not None:
                return _request(head, bytes(body))
            else:
                return None

    async def _read(self, *, waiting_for_more: bool) -> bytes:
        # Between requests a client may stay silent for as long as it likes.
        if not waiting_for_more:
            return await self._reader.read(_READ)
        async with asyncio.timeout(_HEADER_SECONDS):
            return await self._reader.read(_READ)

    async def _refuse(self, status: int, message: str) -> None:
        if self._http.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            text = message.replace("\\", "/").replace('"', "'")
            body = f'{{"error":"{text}","tag":"RequestError"}}'.encode()
            await self._send(Response(status, body, headers={"connection": "close"}))

    async def _send(self, response: Response) -> None:
        headers = [("content-type", response.content_type), *response.headers.items()]
        if isinstance(response.body, bytes):
            headers.append(("content-length", str(len(response.body))))
            await self._write(
                h11.Response(status_code=response.status, headers=headers),
                h11.Data(data=response.body),
                h11.EndOfMessage(),
            )
            return
        headers.append(("transfer-encoding", "chunked"))
        await self._write(h11.Response(status_code=response.status, headers=headers))
        await self._stream(response.body)

    async def _stream(self, chunks: AsyncGenerator[bytes, None]) -> None:
        """Copy the stream while watching for a client that leaves: then the stream is closed."""
        copying = asyncio.create_task(self._copy(chunks))
        watching = asyncio.create_task(self._reader.read(_READ))
        try:
            await asyncio.wait({copying, watching}, return_when=asyncio.FIRST_COMPLETED)
            if watching.done() and not copying.done() and watching.result():
                # Not gone but early with its next request, which HTTP allows.
                self._http.receive_data(watching.result())
                await copying
        finally:
            for task in (copying, watching):
                task.cancel()
            await asyncio.wait({copying, watching})
        if copying.cancelled():
            raise ConnectionResetError("the client left")
        copying.result()

    async def _copy(self, chunks: AsyncGenerator[bytes, None]) -> None:
        async with aclosing(chunks):
            async for chunk in chunks:
                await self._write(h11.Data(data=chunk))
        await self._write(h11.EndOfMessage())

    async def _write(self, *events: h11.Event) -> None:
        for event in events:
            raw = self._http.send(event)
            if raw:
                self._writer.write(raw)
        await self._writer.drain()


def _request(head: h11.Request, body: bytes) -> Request:
    parts = urlsplit(head.target.decode("ascii", "replace"))
    return Request(
        method=head.method.decode("ascii", "replace"),
        path=unquote(parts.path),
        query=dict(parse_qsl(parts.query)),
        headers={name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers},
        body=body,
    )


async def with_keep_alive(
    chunks: AsyncGenerator[bytes, None], comment: bytes, seconds: float
) -> AsyncGenerator[bytes, None]:
    """Yield the chunks, and the comment whenever so many seconds have passed without one."""
    iterator: AsyncIterator[bytes] = aiter(chunks)
    coming: asyncio.Future[bytes] | None = None
    try:
        while True:
            coming = coming or asyncio.ensure_future(anext(iterator))
            await asyncio.wait({coming}, timeout=seconds)
            if not coming.done():
                yield comment
                continue
            try:
                chunk = coming.result()
            except StopAsyncIteration:
                return
            coming = None
            yield chunk
    finally:
        if coming is not None and not coming.done():
            coming.cancel()
            await asyncio.wait({coming})
        await chunks.aclose()
