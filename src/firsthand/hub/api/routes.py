"""The routes that programs use: asking, runs, the instance, resources, health.

Each checks who is calling, calls one use case and says what came of it.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from firsthand import __version__
from firsthand.hub.api.bodies import (
    ChatRequest,
    HealthBody,
    NewResource,
    ResourceBody,
    ResourceList,
    RunBody,
    instance_body,
    resource_body,
)
from firsthand.hub.api.credentials import authenticate
from firsthand.hub.api.reading import read_body, read_event_number
from firsthand.hub.api.streaming import stream_events
from firsthand.hub.db.engine import Database
from firsthand.hub.identity import Identity, Principal
from firsthand.hub.ids import RunId, ThreadId
from firsthand.hub.instances.instances import Instances
from firsthand.hub.projects.projects import Projects
from firsthand.hub.projects.resource import Resource, stored_bytes
from firsthand.hub.threads.ask import Ask
from firsthand.hub.threads.journal import Journal
from firsthand.hub.threads.run import Run
from firsthand.protocol.message import Message

Handler = Callable[[Request, Principal], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class ApiDeps:
    """The use cases that the HTTP interface calls."""

    db: Database
    identity: Identity
    projects: Projects
    instances: Instances
    ask: Ask
    journal: Journal


def api_routes(deps: ApiDeps) -> list[BaseRoute]:
    """Return all routes of the HTTP interface."""
    api = _Api(deps)

    def route(method: str, path: str, handler: Handler) -> Route:
        async def endpoint(request: Request) -> Response:
            return await handler(request, await authenticate(request, deps.identity))

        return Route(path, endpoint, methods=[method])

    return [
        Route("/healthz", api.healthz),
        Route("/readyz", api.readyz),
        route("POST", "/chat/stream", api.chat),
        route("GET", "/runs/{run_id}", api.run),
        route("GET", "/runs/{run_id}/events", api.events),
        route("POST", "/runs/{run_id}/cancel", api.cancel),
        route("GET", "/instance/status", api.status),
        route("POST", "/instance/wake", api.wake),
        route("POST", "/instance/stop", api.stop),
        route("POST", "/instance/reset", api.reset),
        route("GET", "/api/v1/resources", api.list_resources),
        route("POST", "/api/v1/resources", api.add_resource),
        # Names may hold slashes, so the longer path comes first.
        route("POST", "/api/v1/resources/{name:path}/sync", api.sync_resource),
        route("GET", "/api/v1/resources/{name:path}", api.get_resource),
        route("DELETE", "/api/v1/resources/{name:path}", api.remove_resource),
    ]


def _json(body: Message, status: int = 200) -> Response:
    return Response(
        msgspec.json.encode(body),
        status_code=status,
        media_type="application/json",
        headers={"Cache-Control": "no-store"},
    )


def _run_body(run: Run) -> RunBody:
    return RunBody(
        id=run.id,
        thread_id=run.thread_id,
        message_id=run.answer_id,
        state=run.state,
        last_number=run.last_number,
        error_tag=run.error_tag,
        error_message=run.error_message,
        error_hint=run.error_hint,
        created_at=run.created_at,
        started_at=run.started_at,
        ended_at=run.ended_at,
    )


def _run_id(request: Request) -> RunId:
    return RunId(request.path_params["run_id"])


def _project(request: Request) -> str | None:
    return request.query_params.get("project")


class _Api:
    def __init__(self, deps: ApiDeps) -> None:
        self._deps = deps

    async def healthz(self, _request: Request) -> Response:
        """Say that the process answers; needs nobody to be signed in."""
        return _json(HealthBody(ok=True, service="firsthand", version=__version__))

    async def readyz(self, _request: Request) -> Response:
        """Say that the database answers; raises `Unavailable` if not."""
        await self._deps.db.read(lambda conn: conn.exec_driver_sql("SELECT 1").scalar_one())
        return _json(HealthBody(ok=True, service="firsthand", version=__version__))

    async def chat(self, request: Request, principal: Principal) -> Response:
        """Ask, and answer with the run's events."""
        body = await read_body(request, ChatRequest)
        run = await self._deps.ask.ask(
            principal,
            body.message,
            thread_id=None if body.thread_id is None else ThreadId(body.thread_id),
            resources=body.resources,
            project=body.project,
            idempotency_key=request.headers.get("idempotency-key"),
        )
        return stream_events(self._deps.journal.follow(principal, run.id))

    async def run(self, request: Request, principal: Principal) -> Response:
        """Tell the state of a run."""
        return _json(_run_body(await self._deps.journal.run(principal, _run_id(request))))

    async def events(self, request: Request, principal: Principal) -> Response:
        """Answer with a run's events after a number, then with those to come."""
        after = read_event_number(request)
        run = await self._deps.journal.run(principal, _run_id(request))
        return stream_events(self._deps.journal.follow(principal, run.id, after))

    async def cancel(self, request: Request, principal: Principal) -> Response:
        """Stop a run."""
        return _json(_run_body(await self._deps.ask.cancel(principal, _run_id(request))), 202)

    async def status(self, _request: Request, principal: Principal) -> Response:
        """Tell the instance with its cached resources."""
        return await self._instance(principal)

    async def wake(self, _request: Request, principal: Principal) -> Response:
        """Begin to wake the instance."""
        await self._deps.instances.wake(principal)
        return await self._instance(principal, 202)

    async def stop(self, _request: Request, principal: Principal) -> Response:
        """Begin to stop the instance."""
        await self._deps.instances.stop(principal)
        return await self._instance(principal, 202)

    async def reset(self, _request: Request, principal: Principal) -> Response:
        """Begin to replace the instance's sandbox."""
        await self._deps.instances.reset(principal)
        return await self._instance(principal, 202)

    async def list_resources(self, request: Request, principal: Principal) -> Response:
        """List the resources of a project."""
        resources = await self._deps.projects.list_resources(principal, _project(request))
        return _json(ResourceList(resources=[self._resource(one) for one in resources]))

    async def add_resource(self, request: Request, principal: Principal) -> Response:
        """Add a resource and begin to fetch it."""
        body = await read_body(request, NewResource)
        added = await self._deps.projects.add_resource(
            principal,
            body.source,
            name=body.name,
            ref=body.ref,
            search_paths=body.search_paths,
            notes=body.notes,
            project=body.project,
        )
        return _json(self._resource(added), 201)

    async def get_resource(self, request: Request, principal: Principal) -> Response:
        """Tell one resource."""
        found = await self._deps.projects.get_resource(
            principal, request.path_params["name"], project=_project(request)
        )
        return _json(self._resource(found))

    async def sync_resource(self, request: Request, principal: Principal) -> Response:
        """Begin to fetch a resource again."""
        found = await self._deps.projects.sync_resource(
            principal, request.path_params["name"], project=_project(request)
        )
        return _json(self._resource(found), 202)

    async def remove_resource(self, request: Request, principal: Principal) -> Response:
        """Remove a resource from its project."""
        await self._deps.projects.remove_resource(
            principal, request.path_params["name"], project=_project(request)
        )
        return Response(status_code=204)

    def _resource(self, resource: Resource) -> ResourceBody:
        return resource_body(resource, self._deps.projects.progress_of(resource))

    async def _instance(self, principal: Principal, status: int = 200) -> Response:
        instance = await self._deps.instances.status(principal)
        resources = await self._deps.projects.list_resources(principal)
        body = instance_body(
            instance,
            [self._resource(one) for one in resources],
            checkout_bytes=stored_bytes(resources),
        )
        return _json(body, status)
