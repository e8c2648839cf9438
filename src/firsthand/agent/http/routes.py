"""The agent's routes: runs, their events, and single tools; the npm server's are in `btca.py`."""

import sys
import traceback
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import msgspec

from firsthand import __version__
from firsthand.agent.errors import AgentError, BadRequest, ToolError, UnknownRun
from firsthand.agent.http.server import Request, Response, with_keep_alive
from firsthand.agent.runs.live import Busy, LiveRun, LiveRuns
from firsthand.agent.runs.loop import Engine
from firsthand.agent.tools.checkouts import Checkouts
from firsthand.agent.tools.tool import ToolContext
from firsthand.agent.tools.toolset import Toolset
from firsthand.protocol.limits import QUESTION_CHARS, RESOURCES_PER_QUESTION
from firsthand.protocol.message import Message
from firsthand.protocol.questions import CheckoutRef, RunRequest
from firsthand.protocol.sse import KEEP_ALIVE, KEEP_ALIVE_SECONDS, write_event

EVENT_STREAM: Final = "text/event-stream; charset=utf-8"
NO_STORE: Final = {"cache-control": "no-store", "x-accel-buffering": "no"}

T = TypeVar("T")
Route = Callable[[Request, str], Awaitable[Response]]


class _ToolCallRequest(Message, frozen=True, kw_only=True):
    checkouts: tuple[CheckoutRef, ...]
    input: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class Routes:
    """Finds the handler of a request. A path is fixed, or a prefix and one last part."""

    fixed: dict[tuple[str, str], Route]
    prefixed: dict[tuple[str, str, str], Route]

    async def handle(self, request: Request) -> Response:
        """Answer a request; every error becomes {error, tag, hint}."""
        try:
            route, part = self._find(request)
            return await route(request, part)
        except AgentError as error:
            return problem(_status(error), error.message, error.tag, error.hint)
        except Exception:  # noqa: BLE001 - the outermost loop of a request, which records it
            traceback.print_exc(file=sys.stderr)
            return problem(500, "The agent failed in a way it was not built for.", "InternalError")

    def _find(self, request: Request) -> tuple[Route, str]:
        route = self.fixed.get((request.method, request.path))
        if route is not None:
            return route, ""
        for (method, prefix, suffix), candidate in self.prefixed.items():
            inside = request.path.startswith(prefix) and request.path.endswith(suffix)
            part = request.path[len(prefix) : len(request.path) - len(suffix)]
            if inside and method == request.method and part and "/" not in part:
                return candidate, part
        raise AgentError(f"There is no {request.method} {request.path} here.", tag="RouteNotFound")


def _status(error: AgentError) -> int:
    if isinstance(error, UnknownRun) or error.tag == "RouteNotFound":
        return 404
    if isinstance(error, Busy):
        return 503
    if isinstance(error, ToolError):
        return 422
    return 400 if isinstance(error, BadRequest) else 500


def problem(status: int, message: str, tag: str, hint: str | None = None) -> Response:
    """Return an error in the form of the npm server, which leaves an absent hint out."""
    body = {"error": message, "tag": tag} | ({"hint": hint} if hint else {})
    return Response(status, msgspec.json.encode(body))


def json_response(value: object, status: int = 200) -> Response:
    """Return a value as JSON."""
    return Response(status, msgspec.json.encode(value))


def read_body(request: Request, kind: type[T]) -> T:
    """Read the body as a message. Raises `BadRequest`."""
    try:
        return msgspec.json.decode(request.body, type=kind)
    except msgspec.DecodeError as error:
        raise BadRequest(f"The request cannot be read: {error}.", tag="RequestError") from error


def number_in(text: str | None, name: str) -> int:
    """Read a number that is 0 where it is absent. Raises `BadRequest`."""
    if not text:
        return 0
    if not text.isdecimal() or len(text) > 12:
        raise BadRequest(f"{name} must be a number.")
    return int(text)


def check_request(request: RunRequest) -> None:
    """Raise `BadRequest` for a run that exceeds the limits of the contract."""
    if not request.run_id or len(request.run_id) > 200:
        raise BadRequest("runId must have 1 to 200 characters.")
    if not request.question.strip():
        raise BadRequest("The question is empty.")
    if len(request.question) > QUESTION_CHARS:
        raise BadRequest(f"A question may have {QUESTION_CHARS:,} characters.")
    if len(request.checkouts) > RESOURCES_PER_QUESTION:
        raise BadRequest(f"A question may have {RESOURCES_PER_QUESTION} resources.")
    names = [ref.name for ref in request.checkouts]
    if len(set(names)) != len(names) or "" in names:
        raise BadRequest("Every checkout needs a name of its own.")


@dataclass(frozen=True, slots=True)
class RunRoutes:
    """Runs and tools over HTTP."""

    runs: LiveRuns
    engine: Engine
    seen: Callable[[tuple[CheckoutRef, ...]], None]
    keep_alive: float = KEEP_ALIVE_SECONDS

    def routes(self) -> Routes:
        """Return the routes of this part."""
        return Routes(
            fixed={("GET", "/"): self.health, ("POST", "/runs"): self.start},
            prefixed={
                ("GET", "/runs/", "/events"): self.events,
                ("GET", "/runs/", ""): self.snapshot,
                ("DELETE", "/runs/", ""): self.cancel,
                ("POST", "/tools/", ""): self.call_tool,
            },
        )

    async def health(self, _: Request, __: str) -> Response:
        """`GET /`: as the npm server answers, with our name and version."""
        body = {"ok": True, "service": "firsthand-agent", "version": __version__}
        return json_response(body)

    async def start(self, request: Request, _: str) -> Response:
        """`POST /runs`."""
        wanted = read_body(request, RunRequest)
        check_request(wanted)
        self.seen(wanted.checkouts)
        return json_response(self.runs.start(wanted).snapshot, status=202)

    async def snapshot(self, _: Request, run_id: str) -> Response:
        """`GET /runs/{id}`."""
        return json_response(self.runs.get(run_id).snapshot)

    async def events(self, request: Request, run_id: str) -> Response:
        """`GET /runs/{id}/events`: everything after `?after=` or `Last-Event-ID`."""
        run = self.runs.get(run_id)
        asked = request.query.get("after") or request.headers.get("last-event-id")
        stream = _write_events(run, number_in(asked, "after"))
        kept = with_keep_alive(stream, KEEP_ALIVE, self.keep_alive)
        return Response(200, kept, EVENT_STREAM, dict(NO_STORE))

    async def cancel(self, _: Request, run_id: str) -> Response:
        """`DELETE /runs/{id}`: the run has ended when this answers."""
        return json_response((await self.runs.cancel(run_id)).snapshot)

    async def call_tool(self, request: Request, name: str) -> Response:
        """`POST /tools/{name}`: one tool, without a run and without a model."""
        wanted = read_body(request, _ToolCallRequest)
        self.seen(wanted.checkouts)
        context = ToolContext(
            Checkouts(wanted.checkouts), self.engine.indexes, limits=self.engine.tool_limits
        )
        output = await Toolset(context).call(name, wanted.input)
        return json_response({"output": output.text})


async def _write_events(run: LiveRun, after: int) -> AsyncGenerator[bytes, None]:
    async for numbered in run.follow(after):
        yield write_event(numbered)
