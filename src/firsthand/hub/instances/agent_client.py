"""The hub's side of the agent's HTTP interface, over a Unix socket or TLS.

Translates everything that goes wrong into `AgentGone` (nobody answers any more), `RunForgotten`
(the agent knows no such run) or `AgentRefused` (it answered with a problem).
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Self, TypeVar

import aiohttp
import msgspec

from firsthand.hub.errors import Unavailable
from firsthand.hub.sandboxes.provider import AgentEndpoint
from firsthand.protocol.events import NumberedEvent, decode_event, ends_run
from firsthand.protocol.questions import AgentProblem, CheckoutRef, RunRequest, RunSnapshot
from firsthand.protocol.sse import KEEP_ALIVE_SECONDS, StreamTooLong, read_events

_CALL = aiohttp.ClientTimeout(total=30, sock_connect=5)
# A stream without even a keep-alive comment for this long has lost its other end.
_STREAM = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=3 * KEEP_ALIVE_SECONDS)
# Several times what an agent within its limits can say.
_MAX_ANSWER_CHARS = 64 * 1024 * 1024

# The longest answer is the output of a tool, which the agent bounds far below.
_MAX_BODY_BYTES = 16 * 1024 * 1024

T = TypeVar("T")


class AgentGone(Unavailable):
    """The agent does not answer, or its connection broke in the middle."""

    title = "The agent does not answer"


class RunForgotten(Unavailable):
    """The agent knows no such run: it was started again since, or has forgotten it."""

    title = "The agent has forgotten the run"


class AgentRefused(Unavailable):
    """The agent answered with a problem; `tag` is its stable word for programs."""

    title = "The agent refused"

    def __init__(self, detail: str, *, tag: str, hint: str | None = None) -> None:
        super().__init__(detail, hint=hint)
        self.tag = tag


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """What the agent says of itself on `GET /`."""

    ok: bool = True
    service: str | None = None
    version: str | None = None


class ToolOutput(msgspec.Struct, frozen=True, kw_only=True):
    """What the agent says on `POST /tools/{name}`."""

    output: str


class AgentClient:
    """One agent. Close it, or use it as an async context manager."""

    def __init__(self, endpoint: AgentEndpoint) -> None:
        self._root = (endpoint.url or "http://agent").rstrip("/")
        self._headers = {"Authorization": f"Bearer {endpoint.secret}"} if endpoint.secret else {}
        self._socket = str(endpoint.socket) if endpoint.socket else None
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Let go of the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def health(self) -> Health:
        """Ask whether the agent is ready. Raises `AgentGone` while it is not."""
        return await self._call("GET", "/", Health)

    async def start_run(self, request: RunRequest) -> RunSnapshot:
        """Start a run; the same `run_id` again starts nothing new."""
        return await self._call("POST", "/runs", RunSnapshot, msgspec.json.encode(request))

    async def cancel(self, run_id: str) -> RunSnapshot:
        """Stop a run. Its events end with an error. Raises `RunForgotten`."""
        return await self._call("DELETE", f"/runs/{run_id}", RunSnapshot)

    async def call_tool(
        self, name: str, checkouts: Sequence[CheckoutRef], tool_input: dict[str, Any]
    ) -> str:
        """Run one tool outside any run and return its output."""
        request = msgspec.json.encode({"checkouts": checkouts, "input": tool_input})
        return (await self._call("POST", f"/tools/{name}", ToolOutput, request)).output

    async def follow(self, run_id: str, after: int) -> AsyncGenerator[NumberedEvent]:
        """Yield the run's events from `after` onward, to the last one.

        Raises `RunForgotten`, `AgentGone` if the stream breaks off before the last event, and
        `AgentRefused` if it has no end.
        """
        path = f"/runs/{run_id}/events?after={after}"
        async with self._request("GET", path, None, _STREAM) as response:
            received = 0
            async for event in read_events(response.content.iter_any()):
                received += len(event.data)
                if received > _MAX_ANSWER_CHARS:
                    detail = "The agent sends more than any answer can hold."
                    raise AgentRefused(detail, tag="AnswerTooLong", hint="Ask again.")
                numbered = NumberedEvent(number=int(event.id or 0), event=decode_event(event.data))
                yield numbered
                if ends_run(numbered.event):
                    return
        raise AgentGone("The agent's answer broke off in the middle.")

    async def _call(self, method: str, path: str, form: type[T], body: bytes | None = None) -> T:
        async with self._request(method, path, body, _CALL) as response:
            return msgspec.json.decode(await _read(response), type=form)

    @asynccontextmanager
    async def _request(
        self, method: str, path: str, body: bytes | None, limit: aiohttp.ClientTimeout
    ) -> AsyncGenerator[aiohttp.ClientResponse]:
        headers = {"Content-Type": "application/json"} if body is not None else {}
        try:
            async with self._opened().request(
                method, self._root + path, data=body, headers=headers, timeout=limit
            ) as response:
                if response.status >= 400:
                    raise _problem(response.status, await _read(response))
                yield response
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            reason = str(error) or type(error).__name__
            raise AgentGone(f"The agent does not answer: {reason}") from error
        except (msgspec.MsgspecError, StreamTooLong, ValueError) as error:
            raise AgentGone(f"The agent does not speak our protocol: {error}") from error

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            # The limit on connections would let streams starve the call that cancels one.
            if self._socket is not None:
                connector: aiohttp.BaseConnector = aiohttp.UnixConnector(self._socket, limit=0)
            else:
                connector = aiohttp.TCPConnector(limit=0)
            self._session = aiohttp.ClientSession(connector=connector, headers=self._headers)
        return self._session


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """Read a whole body. What is inside a sandbox may have gone wrong, so it is bounded."""
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > _MAX_BODY_BYTES:
            raise ValueError(f"an answer exceeds {_MAX_BODY_BYTES} bytes")
    return bytes(body)


def _problem(status: int, body: bytes) -> Unavailable:
    try:
        problem = msgspec.json.decode(body, type=AgentProblem)
    except msgspec.MsgspecError:
        problem = AgentProblem(error=f"status {status}", tag="AgentError")
    if status == 404:
        return RunForgotten(problem.error, hint=problem.hint)
    return AgentRefused(problem.error, tag=problem.tag, hint=problem.hint)
