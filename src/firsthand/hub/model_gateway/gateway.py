"""The metered pass-through from sandboxes to the model: one Unix socket a sandbox.

An agent sends a request in its model's dialect with the token of its run. The gateway checks
that the run is alive and belongs to the very sandbox that is asking, puts the configured model
and the real key in, streams the answer back byte for byte, and stores what the provider counted.

When a provider cuts a stream off, the gateway says so inside the stream (`event: error`) and
ends it properly; a stream that ends without proper end therefore means that the hub itself went
away, and the agent may ask again.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import structlog
from aiohttp import (
    ClientConnectionError,
    ClientError,
    ClientPayloadError,
    ClientResponse,
    ClientSession,
    ClientTimeout,
    web,
)

from firsthand.hub.clock import Clock
from firsthand.hub.db.engine import Database
from firsthand.hub.ids import SandboxId, hash_token
from firsthand.hub.model_gateway import store
from firsthand.hub.model_gateway.dialects import DIALECTS, GatewayDialect, TokenCount
from firsthand.hub.model_gateway.provider import ModelProvider
from firsthand.hub.model_gateway.store import TokenOwner
from firsthand.protocol.sse import EventStreamParser, StreamTooLong

# The longest contexts that models take have some five megabytes.
_MAX_REQUEST_BYTES = 16 * 1024 * 1024
_MAX_ANSWER_BYTES = 64 * 1024 * 1024
_ERROR_TEXT_CHARS = 2_000
# Far more than the questions that one user has under way; an agent that has gone wrong must not
# use up what the hub has for all.
_MAX_CONNECTIONS = 64
_BACKLOG = 128
# As proxies write it: who asked has left before there was an answer.
_LEFT = 499
_PASSED_HEADERS = ("Retry-After", "retry-after-ms", "x-request-id", "request-id")
# A model may think for minutes before the next token; the run's own limit is the real bound.
_TIMEOUT = ClientTimeout(total=None, sock_connect=15, sock_read=600)

log = structlog.get_logger(__name__)


class _Refusal(Exception):
    """An answer that the gateway gives itself."""

    def __init__(
        self,
        status: int,
        kind: str,
        message: str,
        hint: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.message = message
        self.hint = hint
        self.headers = headers or {}

    def response(self) -> web.Response:
        return web.json_response(
            {"error": {"type": self.kind, "message": self.message, "hint": self.hint}},
            status=self.status,
            headers=self.headers,
        )


class _Dropped(asyncio.Protocol):
    """A connection too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


class ModelGateway:
    """Serves one Unix socket per sandbox. Start it inside the event loop that it lives in."""

    def __init__(
        self,
        db: Database,
        clock: Clock,
        provider: ModelProvider | None,
        *,
        drain: timedelta = timedelta(seconds=2),
    ) -> None:
        self._db = db
        self._clock = clock
        self._provider = provider
        self._sites: dict[SandboxId, asyncio.AbstractServer] = {}
        self._sandboxes: dict[str, SandboxId] = {}
        self._lock = asyncio.Lock()
        self._session: ClientSession | None = None
        app = web.Application(client_max_size=_MAX_REQUEST_BYTES)
        for dialect in DIALECTS.values():
            app.router.add_post(dialect.route, self._route(dialect))
        self._runner = web.AppRunner(
            app, access_log=None, shutdown_timeout=drain.total_seconds(), handler_cancellation=True
        )

    async def serve(self, sandbox_id: SandboxId, socket: Path) -> None:
        """Listen on the sandbox's socket; a socket file left by a former hub is replaced."""
        async with self._lock:
            if sandbox_id in self._sites and socket.exists():
                return
            await self._leave(sandbox_id)
            if self._runner.server is None:
                await self._runner.setup()
            socket.unlink(missing_ok=True)
            site = await asyncio.get_running_loop().create_unix_server(
                self._bounded(str(socket)), socket, backlog=_BACKLOG
            )
            # The agent has another user id inside; the folder's place keeps all others out.
            socket.chmod(0o666)
            self._sites[sandbox_id] = site
            self._sandboxes[str(socket)] = sandbox_id

    async def unserve(self, sandbox_id: SandboxId) -> None:
        """Stop listening for this sandbox."""
        async with self._lock:
            await self._leave(sandbox_id)

    async def close(self) -> None:
        """Stop listening altogether and let go of all connections."""
        async with self._lock:
            for sandbox_id in list(self._sites):
                await self._leave(sandbox_id)
            await self._runner.cleanup()
            if self._session is not None:
                await self._session.close()
                self._session = None

    async def _leave(self, sandbox_id: SandboxId) -> None:
        site = self._sites.pop(sandbox_id, None)
        left = [socket for socket, owner in self._sandboxes.items() if owner == sandbox_id]
        for socket in left:
            del self._sandboxes[socket]
        if site is not None:
            site.close()
        for socket in left:
            Path(socket).unlink(missing_ok=True)

    def _bounded(self, socket: str) -> Callable[[], asyncio.BaseProtocol]:
        """Return what takes the connections to one socket: beyond a number, they are dropped."""

        def accept() -> asyncio.BaseProtocol:
            server = self._runner.server
            assert server is not None
            transports = [handler.transport for handler in server.connections]
            here = [t for t in transports if t and t.get_extra_info("sockname") == socket]
            return server() if len(here) < _MAX_CONNECTIONS else _Dropped()

        return accept

    def _route(self, dialect: GatewayDialect) -> Callable[[web.Request], Any]:
        async def handle(request: web.Request) -> web.StreamResponse:
            try:
                return await self._pass_on(request, dialect)
            except _Refusal as refusal:
                return refusal.response()

        return handle

    async def _pass_on(self, request: web.Request, dialect: GatewayDialect) -> web.StreamResponse:
        owner = await self._owner(request)
        provider = self._provider
        if provider is None or DIALECTS.get(provider.dialect) is not dialect:
            raise _Refusal(
                409,
                "no_model",
                "This hub has no model of this kind.",
                "Set FIRSTHAND_MODEL and a key, then start the hub again.",
            )
        body = await _read_body(request)
        call = _Call(self._db, self._clock, owner, provider, dialect)
        return await call.run(request, self._client(), dialect.prepare(body, provider))

    async def _owner(self, request: web.Request) -> TokenOwner:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            token = request.headers.get("x-api-key", "")
        owner = None
        if token:
            digest = hash_token(token.strip())
            owner = await self._db.read(lambda conn: store.get_token_owner(conn, digest))
        asking = self._asking_sandbox(request)
        if owner is None or asking is None or owner.sandbox_id != asking:
            raise _Refusal(401, "run_ended", "This token belongs to no run under way here.")
        return owner

    def _asking_sandbox(self, request: web.Request) -> SandboxId | None:
        transport = request.transport
        name = None if transport is None else transport.get_extra_info("sockname")
        return self._sandboxes.get(str(name))

    def _client(self) -> ClientSession:
        if self._session is None:
            # Proxies of the environment count: companies reach their model through them.
            self._session = ClientSession(timeout=_TIMEOUT, trust_env=True)
        return self._session


async def _read_body(request: web.Request) -> dict[str, msgspec.Raw]:
    """Read a JSON object and leave its values as they are, so that none can cost much to read."""
    try:
        return msgspec.json.decode(await request.read(), type=dict[str, msgspec.Raw])
    except msgspec.DecodeError as error:
        raise _Refusal(400, "bad_request", f"The request is no JSON object: {error}") from error


class _Call:
    """One request on its way to the provider and back."""

    def __init__(
        self,
        db: Database,
        clock: Clock,
        owner: TokenOwner,
        provider: ModelProvider,
        dialect: GatewayDialect,
    ) -> None:
        self._db = db
        self._clock = clock
        self._owner = owner
        self._provider = provider
        self._dialect = dialect
        self._tokens = TokenCount()
        self._sent_chars = 0
        self._received = 0
        self._settled = False

    async def run(
        self, request: web.Request, client: ClientSession, body: dict[str, Any]
    ) -> web.StreamResponse:
        try:
            return await self._run(request, client, body)
        except asyncio.CancelledError:
            # The provider has been asked and may go on; it is owed like any other answer.
            if not self._settled:
                await self._settle(_LEFT)
            raise

    async def _run(
        self, request: web.Request, client: ClientSession, body: dict[str, Any]
    ) -> web.StreamResponse:
        url = self._dialect.url(self._provider)
        headers = {
            "Content-Type": "application/json",
            "Accept": "text/event-stream, application/json",
            **self._dialect.headers(self._provider),
        }
        data = msgspec.json.encode(body)
        self._sent_chars = len(data)
        try:
            # Redirects are not followed: they could carry the key elsewhere.
            answer = await client.post(url, data=data, headers=headers, allow_redirects=False)
        except (ClientError, TimeoutError, OSError) as error:
            log.warning("model_unreachable", provider=self._provider.name, error=repr(error))
            raise _Refusal(
                502,
                "provider_unreachable",
                f"The model provider {self._provider.name} cannot be reached.",
                "Check FIRSTHAND_MODEL_BASE_URL and the network of the hub, then ask again.",
            ) from error
        async with answer:
            if answer.status != 200:
                raise await self._refusal(answer)
            if "text/event-stream" in answer.headers.get("Content-Type", ""):
                return await self._stream(request, answer)
            return await self._whole(answer)

    async def _whole(self, answer: ClientResponse) -> web.Response:
        try:
            raw = await answer.read()
        except (ClientPayloadError, ClientConnectionError, TimeoutError) as error:
            await self._settle(502)
            raise _Refusal(
                502, "upstream_cut", "The model provider broke its answer off."
            ) from error
        self._received = len(raw)
        with suppress(msgspec.DecodeError):
            self._dialect.count(msgspec.json.decode(raw, type=dict[str, Any]), self._tokens)
        await self._settle(200)
        return web.Response(body=raw, content_type="application/json")

    async def _stream(self, request: web.Request, answer: ClientResponse) -> web.StreamResponse:
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"}
        )
        try:
            await response.prepare(request)
            problem = await self._copy(answer, response)
        finally:
            # Before the end is told, so that whoever sees it finds the count; and also when the
            # agent went away: what the provider has counted is owed.
            await self._settle(200)
        if problem is not None:
            error = {"error": {"type": "upstream_cut", "message": problem}}
            await response.write(b"event: error\ndata: " + msgspec.json.encode(error) + b"\n\n")
        await response.write_eof()
        return response

    async def _copy(self, answer: ClientResponse, response: web.StreamResponse) -> str | None:
        """Copy the stream; return what was wrong with its end, or `None`."""
        parser = EventStreamParser()
        ended = False
        try:
            async for chunk in answer.content.iter_any():
                self._received += len(chunk)
                if self._received > _MAX_ANSWER_BYTES:
                    return "The model provider sent more than the gateway passes on."
                await response.write(chunk)
                for event in parser.feed(chunk):
                    ended = self._take(event.data) or ended
        except (ClientPayloadError, ClientConnectionError, TimeoutError, StreamTooLong) as error:
            log.warning("model_stream_cut", provider=self._provider.name, error=repr(error))
            return None if ended else "The model provider broke its answer off."
        return None if ended else "The model provider ended its answer without its last event."

    def _take(self, data: str) -> bool:
        message: dict[str, Any] | None = None
        with suppress(msgspec.DecodeError):
            message = msgspec.json.decode(data, type=dict[str, Any])
            self._dialect.count(message, self._tokens)
        return self._dialect.is_end(data, message)

    async def _refusal(self, answer: ClientResponse) -> _Refusal:
        text = (await _error_text(answer))[:_ERROR_TEXT_CHARS]
        key = self._provider.api_key
        # Some providers repeat part of the key; nothing of it may reach a sandbox.
        if key:
            text = text.replace(key, "[key]")
        name = self._provider.name
        log.warning("model_refused", provider=name, status=answer.status)
        kept = {h: answer.headers[h] for h in _PASSED_HEADERS if h in answer.headers}
        if answer.status in {401, 403}:
            # The provider's own words often hold a part of the key: say it in ours.
            return _Refusal(
                answer.status,
                "provider_auth",
                f"The model provider {name} refused the hub's key.",
                "The operator must check the model's API key.",
            )
        if answer.status == 429:
            hint = "Wait a moment and ask again."
            return _Refusal(429, "provider_busy", f"{name} says: {text}", hint, kept)
        if 300 <= answer.status < 400:
            hint = "Check FIRSTHAND_MODEL_BASE_URL."
            return _Refusal(502, "provider_moved", f"{name} answered with a redirect.", hint)
        return _Refusal(answer.status, "provider_error", f"{name} says: {text}", None, kept)

    async def _settle(self, status: int) -> None:
        self._settled = True
        tokens = self._tokens
        if not tokens.seen:
            # No count came. Four bytes a token is the usual rule of thumb for English and code.
            tokens.input_tokens = self._sent_chars // 4
            tokens.output_tokens = self._received // 16
        now = self._clock()
        await self._db.write(
            lambda conn: store.add_model_call(
                conn, self._owner, self._provider, tokens, status=status, now=now
            )
        )


async def _error_text(answer: ClientResponse) -> str:
    try:
        raw = await answer.content.read(64 * 1024)
    except (ClientError, TimeoutError):
        return f"status {answer.status}"
    with suppress(msgspec.DecodeError):
        body = msgspec.json.decode(raw, type=dict[str, Any])
        error: Any = body.get("error", body)
        if isinstance(error, dict):
            found: Any = error.get("message")  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] - foreign JSON
            if isinstance(found, str):
                return found
        if isinstance(error, str):
            return error
    return raw.decode("utf-8", "replace").strip() or f"status {answer.status}"
