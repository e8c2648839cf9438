"""The routes of the npm btca server, in its spelling, so that its client works against this agent.

They are another door to the same runs. Resources are folders that lie here already, since this
agent has no network; what is set through these routes lasts until the agent ends.
"""

import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

from firsthand.agent.errors import AgentError
from firsthand.agent.http.btca_events import write_npm_event
from firsthand.agent.http.catalogue import Catalogue, ConfigError, NewResource, listed_resource
from firsthand.agent.http.routes import (
    EVENT_STREAM,
    NO_STORE,
    Routes,
    check_request,
    json_response,
    read_body,
)
from firsthand.agent.http.server import Request, Response, with_keep_alive
from firsthand.agent.runs.live import LiveRun, LiveRuns
from firsthand.protocol.events import Done, ModelName, RunEvent, RunFailed
from firsthand.protocol.message import Message
from firsthand.protocol.questions import Dialect, ModelChoice, RunLimits, RunRequest
from firsthand.protocol.sse import KEEP_ALIVE, KEEP_ALIVE_SECONDS

_PROVIDERS: Final = ("firsthand", "openai", "anthropic")


class _Question(Message, frozen=True, kw_only=True):
    question: str
    resources: tuple[str, ...] = ()
    quiet: bool = False


class _NewModel(Message, frozen=True, kw_only=True):
    provider: str
    model: str


class _Named(Message, frozen=True, kw_only=True):
    name: str


@dataclass(frozen=True, slots=True)
class BtcaRoutes:
    """The npm server's routes over runs and a catalogue."""

    runs: LiveRuns
    catalogue: Catalogue
    keep_alive: float = KEEP_ALIVE_SECONDS

    def routes(self) -> Routes:
        """Return the routes of this part."""
        return Routes(
            fixed={
                ("GET", "/config"): self.config,
                ("GET", "/resources"): self.resources,
                ("GET", "/providers"): self.providers,
                ("POST", "/reload-config"): self.reload,
                ("POST", "/question"): self.question,
                ("POST", "/question/stream"): self.question_stream,
                ("POST", "/clear"): self.clear,
                ("PUT", "/config/model"): self.set_model,
                ("POST", "/config/resources"): self.add_resource,
                ("DELETE", "/config/resources"): self.remove_resource,
            },
            prefixed={},
        )

    async def config(self, _: Request, __: str) -> Response:
        """`GET /config`."""
        return json_response(
            {
                "provider": self.catalogue.model.provider,
                "model": self.catalogue.model.model,
                "providerTimeoutMs": None,
                "maxSteps": RunLimits().max_steps,
                "resourcesDirectory": str(self.catalogue.folder or ""),
                "resourceCount": len(self.catalogue.all()),
            }
        )

    async def resources(self, _: Request, __: str) -> Response:
        """`GET /resources`."""
        listed = [listed_resource(ref) for ref in self.catalogue.all().values()]
        return json_response({"resources": listed})

    async def providers(self, _: Request, __: str) -> Response:
        """`GET /providers`: those that can be named; the gateway knows which of them is set up."""
        every = [{"id": name, "models": dict[str, str]()} for name in _PROVIDERS]
        return json_response({"all": every, "connected": [self.catalogue.model.provider]})

    async def reload(self, _: Request, __: str) -> Response:
        """`POST /reload-config`: there is no file to read again; the names are as they were."""
        return json_response({"ok": True, "resources": list(self.catalogue.all())})

    async def clear(self, _: Request, __: str) -> Response:
        """`POST /clear`: forget the checkouts that runs brought."""
        count = len(self.catalogue.seen)
        self.catalogue.seen.clear()
        return json_response({"cleared": count})

    async def set_model(self, request: Request, _: str) -> Response:
        """`PUT /config/model`: for questions through these routes, until the agent ends."""
        wanted = read_body(request, _NewModel)
        if not wanted.provider.strip() or not wanted.model.strip():
            raise ConfigError("Provider and model are required.")
        dialects = {
            "firsthand": Dialect.EXTRACTIVE,
            "scripted": Dialect.SCRIPTED,
            "anthropic": Dialect.ANTHROPIC,
        }
        self.catalogue.model = ModelChoice(
            dialect=dialects.get(wanted.provider, Dialect.OPENAI),
            provider=wanted.provider,
            model=wanted.model,
        )
        body = {"provider": wanted.provider, "model": wanted.model, "savedTo": "memory"}
        return json_response(body)

    async def add_resource(self, request: Request, _: str) -> Response:
        """`POST /config/resources`."""
        wanted = read_body(request, NewResource)
        self.catalogue.add(wanted)
        body = {"type": "local", "name": wanted.name, "path": wanted.path}
        notes = {"specialNotes": wanted.special_notes} if wanted.special_notes else {}
        return json_response(body | notes, status=201)

    async def remove_resource(self, request: Request, _: str) -> Response:
        """`DELETE /config/resources`."""
        name = read_body(request, _Named).name
        if name not in self.catalogue.all():
            names = ", ".join(self.catalogue.all()) or "none"
            raise ConfigError(f'Resource "{name}" not found', hint=f"Available resources: {names}.")
        self.catalogue.added.pop(name, None)
        self.catalogue.seen.pop(name, None)
        return json_response({"success": True, "name": name})

    async def question(self, request: Request, _: str) -> Response:
        """`POST /question`: the whole answer at once."""
        run = self._start(request)
        ended: RunEvent | None = None
        try:
            async with aclosing(run.follow(0)) as events:
                async for numbered in events:
                    ended = numbered.event
        finally:
            run.stop()
        if isinstance(ended, RunFailed):
            raise AgentError(ended.message, hint=ended.hint, tag=ended.error_tag)
        assert isinstance(ended, Done)
        choice = run.request.model
        return json_response(
            {
                "answer": ended.text,
                "model": ModelName(provider=choice.provider, model=choice.model),
                "resources": [ref.name for ref in run.request.checkouts],
                "collection": self._collection(run),
            }
        )

    async def question_stream(self, request: Request, _: str) -> Response:
        """`POST /question/stream`: the answer's events."""
        stream = self._stream(self._start(request))
        kept = with_keep_alive(stream, KEEP_ALIVE, self.keep_alive)
        return Response(200, kept, EVENT_STREAM, dict(NO_STORE))

    def _start(self, request: Request) -> LiveRun:
        asked = read_body(request, _Question)
        run_request = RunRequest(
            run_id=f"question-{uuid.uuid4().hex}",
            question=asked.question,
            checkouts=self.catalogue.pick(asked.resources),
            model=self.catalogue.model,
        )
        check_request(run_request)
        return self.runs.start(run_request)

    async def _stream(self, run: LiveRun) -> AsyncGenerator[bytes, None]:
        collection = self._collection(run)
        try:
            async with aclosing(run.follow(0)) as events:
                async for numbered in events:
                    chunk = write_npm_event(numbered.event, collection)
                    if chunk is not None:
                        yield chunk
        finally:
            # Nobody can come back to this run: its id was never told.
            run.stop()

    def _collection(self, run: LiveRun) -> dict[str, str]:
        names = sorted(ref.name for ref in run.request.checkouts)
        return {"key": "+".join(names), "path": str(self.catalogue.folder or "")}
