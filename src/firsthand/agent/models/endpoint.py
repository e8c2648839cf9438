"""The way to a model: one POST whose answer is streamed, through a Unix socket or to a URL.

Inside a sandbox there is only the gateway's socket, which is spoken to with h11 because importing
a whole HTTP client would delay the first answer by more than all else. URLs, with TLS and proxies,
are left to aiohttp. Both translate every failure of the network into `Broken`.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

import h11

if TYPE_CHECKING:
    import aiohttp

_READ: Final = 64 * 1024
_CONNECT_SECONDS: Final = 15.0
# Models think for minutes before they speak; the run's own limit is what bounds it in the end.
_SILENCE_SECONDS: Final = 600.0
_WHOLE_BODY: Final = 1024 * 1024


class Broken(Exception):
    """The connection could not be made, or ended before the answer did."""


@dataclass(frozen=True, slots=True)
class ModelEndpoint:
    """Where a model is, and the secret that it wants.

    `base_url` is what the provider's own client library takes: with `/v1` for the OpenAI dialect,
    without it for the Anthropic one. `gateway` says that a hub's model gateway stands there: it
    takes both dialects, and comes back when it is lost. `socket` leads there instead of the name.
    """

    base_url: str
    api_key: str | None = field(default=None, repr=False)
    gateway: bool = False
    socket: Path | None = None

    @classmethod
    def of_gateway(cls, address: str, token: str | None) -> "ModelEndpoint":
        """Return the endpoint of a gateway: a URL, or the path of a Unix socket."""
        if address.startswith(("http://", "https://")):
            return cls(address.rstrip("/"), token, gateway=True)
        return cls("http://gateway", token, gateway=True, socket=Path(address))

    def url(self, route: str, *, versioned: bool) -> str:
        """Return the address of a route of the interface's first version.

        `versioned` says that the base URL of this dialect ends in its version already.
        """
        base = self.base_url.rstrip("/")
        if self.gateway or not versioned:
            base = base.removesuffix("/v1") + "/v1"
        return base + route


class Answer(Protocol):
    """The beginning of an answer; header names are lower case."""

    @property
    def status(self) -> int:
        """The status code."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """The header fields."""
        ...

    def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body as it comes. Raises `Broken`."""
        ...


async def read_whole(answer: Answer) -> bytes:
    """Return the body, of which only the first megabyte counts. Raises `Broken`."""
    body = bytearray()
    async for chunk in answer.chunks():
        body += chunk
        if len(body) > _WHOLE_BODY:
            break
    return bytes(body)


@asynccontextmanager
async def post(
    endpoint: ModelEndpoint, url: str, headers: Mapping[str, str], body: bytes
) -> AsyncGenerator[Answer, None]:
    """Send a request and give back the beginning of its answer. Raises `Broken`."""
    if endpoint.socket is not None:
        opened = _post_on_socket(endpoint.socket, url, headers, body)
    else:
        opened = _post_to_url(url, headers, body)
    async with opened as answer:
        yield answer


class _SocketAnswer:
    def __init__(
        self, http: h11.Connection, reader: asyncio.StreamReader, head: h11.Response
    ) -> None:
        self._http = http
        self._reader = reader
        self.status = head.status_code
        self.headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers
        }

    async def chunks(self) -> AsyncIterator[bytes]:
        while True:
            event = await _next_event(self._http, self._reader)
            if isinstance(event, h11.Data):
                yield bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                return


@asynccontextmanager
async def _post_on_socket(
    socket: Path, url: str, headers: Mapping[str, str], body: bytes
) -> AsyncGenerator[Answer, None]:
    host, _, path = url.removeprefix("http://").partition("/")
    http = h11.Connection(h11.CLIENT)
    head = h11.Request(
        method="POST",
        target=f"/{path}",
        headers=[
            ("host", host),
            ("connection", "close"),
            ("content-length", str(len(body))),
            *headers.items(),
        ],
    )
    try:
        async with asyncio.timeout(_CONNECT_SECONDS):
            reader, writer = await asyncio.open_unix_connection(socket)
    except (OSError, TimeoutError) as error:
        raise Broken(f"the gateway's socket does not answer: {error}") from error
    try:
        for event in (head, h11.Data(data=body), h11.EndOfMessage()):
            writer.write(http.send(event) or b"")
        try:
            # A server may answer before it has read everything, and close: its answer counts.
            with suppress(ConnectionError):
                await writer.drain()
            event = await _next_event(http, reader)
            while not isinstance(event, h11.Response):
                event = await _next_event(http, reader)
            yield _SocketAnswer(http, reader, event)
        finally:
            writer.close()
    finally:
        with suppress(OSError):
            await writer.wait_closed()


async def _next_event(http: h11.Connection, reader: asyncio.StreamReader) -> h11.Event:
    """Return the next event of the answer. Raises `Broken` where it ends too early."""
    try:
        while not isinstance(event := http.next_event(), h11.Event):
            async with asyncio.timeout(_SILENCE_SECONDS):
                http.receive_data(await reader.read(_READ))
    except (OSError, TimeoutError, h11.RemoteProtocolError) as error:
        raise Broken(str(error) or type(error).__name__) from error
    if isinstance(event, h11.ConnectionClosed):
        raise Broken("the connection was closed before an answer came")
    return event


@asynccontextmanager
async def _post_to_url(
    url: str, headers: Mapping[str, str], body: bytes
) -> AsyncGenerator[Answer, None]:
    import aiohttp

    timeout = aiohttp.ClientTimeout(
        total=None, sock_connect=_CONNECT_SECONDS, sock_read=_SILENCE_SECONDS
    )
    async with aiohttp.ClientSession(timeout=timeout, trust_env=True) as session:
        try:
            # Redirects are not followed: they could carry the key elsewhere.
            response = await session.post(url, data=body, headers=headers, allow_redirects=False)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Broken(str(error) or type(error).__name__) from error
        async with response:
            yield _UrlAnswer(response)


class _UrlAnswer:
    def __init__(self, response: "aiohttp.ClientResponse") -> None:
        self._response = response
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.headers.items()}

    async def chunks(self) -> AsyncIterator[bytes]:
        import aiohttp

        try:
            async for chunk in self._response.content.iter_any():
                yield chunk
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Broken(str(error) or type(error).__name__) from error
