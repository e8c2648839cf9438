"""The pages over the in-memory world, asked without a network."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlencode

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream
from sqlalchemy import Connection
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.types import Message, Scope

from firsthand.hub.api.problems import status_of
from firsthand.hub.identity import Identity, Principal
from firsthand.hub.identity import store as identity_store
from firsthand.hub.ids import UserId, hash_token
from firsthand.hub.projects.projects import Projects
from firsthand.hub.web.deps import WebDeps
from firsthand.hub.web.routes import web_routes
from firsthand.hub.web.security import web_middleware
from firsthand.protocol.events import AnsweredResource, Meta, ModelName
from firsthand.protocol.sse import EventStreamParser, ServerSentEvent
from firsthand.sources.source import Source, SourceKind
from firsthand.sources.store import Checkout
from tests.hub_world import EVERYBODY, World

ORIGIN = "http://firsthand.test"
COMMIT = "c" * 40
SAME_ORIGIN = {"sec-fetch-site": "same-origin"}
# As the agent says it of the one repository that everybody in this world has.
META = Meta(
    model=ModelName(provider="test", model="scripted"),
    resources=[AnsweredResource(name="repo", ref="main", commit=COMMIT)],
)


@dataclass
class Shelf:
    """One checkout of one source at one commit, with a tree on disk."""

    tree: Path

    def find(self, checkout_id: str) -> Checkout | None:
        return self._checkout() if checkout_id == "token" else None

    def find_commit(self, source: Source, commit: str) -> Checkout | None:
        here = source.location == "https://host.example/owner/repo" and commit == COMMIT
        return self._checkout() if here else None

    def _checkout(self) -> Checkout:
        return Checkout(
            id="token",
            source=Source(SourceKind.GIT, "https://host.example/owner/repo"),
            ref="main",
            commit=COMMIT,
            committed_at=None,
            fetched_at=datetime(2026, 1, 1, tzinfo=UTC),
            tree=self.tree,
            index=None,
            size_bytes=1,
            file_count=1,
            link_template="https://host.example/b/{path}#L{start}-L{end}",
        )


@dataclass(frozen=True)
class Answered:
    status: int
    headers: Headers
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


@dataclass
class Site:
    """The pages, and how the three people of the world ask for them."""

    app: Starlette
    world: World

    async def get(
        self, path: str, who: Principal | None = None, headers: Mapping[str, str] | None = None
    ) -> Answered:
        return await self._ask("GET", path, b"", who, headers or {})

    async def head(self, path: str) -> Answered:
        return await self._ask("HEAD", path, b"", None, {})

    async def post(
        self,
        path: str,
        fields: Mapping[str, str] | None = None,
        who: Principal | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answered:
        sent = {
            "content-type": "application/x-www-form-urlencoded",
            **(SAME_ORIGIN if headers is None else headers),
        }
        return await self._ask("POST", path, urlencode(fields or {}).encode(), who, sent)

    async def _ask(
        self, method: str, path: str, body: bytes, who: Principal | None, headers: Mapping[str, str]
    ) -> Answered:
        messages: list[Message] = []
        body_sent: Message = {"type": "http.request", "body": body, "more_body": False}
        requests = iter([body_sent])

        async def receive() -> Message:
            return next(requests, {"type": "http.disconnect"})

        async def send(message: Message) -> None:
            messages.append(message)

        with anyio.fail_after(20):
            await self.app(_scope(method, path, who, headers), receive, send)
        start = messages[0]
        sent = b"".join(message.get("body", b"") for message in messages[1:])
        return Answered(start["status"], Headers(raw=list(start["headers"])), sent)

    @asynccontextmanager
    async def live(self, view: str, who: Principal) -> AsyncGenerator["Events"]:
        """Open the live connection of a page; leaving hangs up."""
        send_end, receive_end = anyio.create_memory_object_stream[bytes](100)
        gone = anyio.Event()

        async def receive() -> Message:
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            if message["type"] == "http.response.body":
                await send_end.send(message["body"])

        async with anyio.create_task_group() as tasks, send_end, receive_end:
            scope = _scope("GET", f"/live?view={view}", who, {})
            tasks.start_soon(self.app, scope, receive, send)
            yield Events(receive_end)
            gone.set()


class Events:
    """What comes over a live connection."""

    def __init__(self, chunks: MemoryObjectReceiveStream[bytes]) -> None:
        self._chunks = chunks
        self._parser = EventStreamParser()
        self._waiting: list[ServerSentEvent] = []

    async def next(self) -> ServerSentEvent:
        with anyio.fail_after(20):
            while not self._waiting:
                self._waiting += self._parser.feed(await self._chunks.receive())
        return self._waiting.pop(0)

    async def until(self, text: str) -> ServerSentEvent:
        """Return the next event whose data holds a text."""
        while text not in (event := await self.next()).data:
            pass
        return event


def _scope(method: str, path: str, who: Principal | None, headers: Mapping[str, str]) -> Scope:
    place, _, query = path.partition("?")
    sent = {"host": "firsthand.test", **headers}
    if who is not None:
        sent["cookie"] = f"firsthand_session={_token(who)}"
    return {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": place,
        "raw_path": place.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(name.encode(), value.encode()) for name, value in sent.items()],
        "client": ("127.0.0.1", 5000),
        "server": ("firsthand.test", 80),
    }


def _token(who: Principal) -> str:
    return f"session-of-{who.user_id}"


def _nothing(_conn: Connection, _user_id: UserId) -> None:
    """People of this world have everything already."""


async def make_site(world: World, tree: Path) -> Site:
    """Put the pages over the world and sign everybody in."""

    def sign_in(conn: Connection) -> None:
        for who in EVERYBODY:
            token = hash_token(_token(who))
            life = timedelta(days=30)
            identity_store.add_session(conn, token, who.user_id, world.clock(), life)

    await world.db.write(sign_in)
    deps = WebDeps(
        database=world.db,
        feeds=world.feeds,
        identity=Identity(world.db, on_new_user=_nothing, clock=world.clock),
        projects=Projects(world.db, world.feeds, world.checkouts, clock=world.clock),
        instances=world.instances,
        ask=world.ask,
        journal=world.journal,
        checkouts=Shelf(tree),
        status_of=status_of,
        public_url=ORIGIN,
        clock=world.clock,
    )
    return Site(Starlette(routes=web_routes(deps), middleware=web_middleware(deps)), world)
