"""The live connection of a page: on every change, what looks different now is sent as patches.

The server keeps no queue for a reader. It waits for topics, renders, sends what differs from what
it sent before, and only then looks again; a slow reader sees fewer states, never an old one. A
reader that comes back gets the whole view as it stands.
"""

import re
import time
from collections.abc import AsyncIterator

import anyio
import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from firsthand.hub.errors import FirsthandError, NotFound, NotSignedIn
from firsthand.hub.feeds import Subscription
from firsthand.hub.feeds.topics import Topic
from firsthand.hub.web.deps import WebDeps
from firsthand.hub.web.fragments import Fragment, View, view_named
from firsthand.hub.web.sessions import signed_in
from firsthand.protocol.sse import KEEP_ALIVE, KEEP_ALIVE_SECONDS

# Faster than this nobody reads.
_PAUSE_SECONDS = 0.05
# A long answer takes longer to render and to show: at most this share of time goes into it.
_SHARE = 0.25

# The three that end a line of a stream; Python's `splitlines` knows more.
_LINE_BREAK = re.compile(r"\r\n|\r|\n")

_log = structlog.stdlib.get_logger(__name__)


class Live:
    """The endpoint `GET /live?view=…`."""

    def __init__(self, deps: WebDeps) -> None:
        self._deps = deps
        self._renderer = deps.renderer

    async def connect(self, request: Request) -> Response:
        """Open the stream of one page."""
        try:
            principal = await signed_in(request, self._deps)
            name = request.query_params.get("view", "frame")
            view = view_named(name, self._deps, principal)
            topics = await view.topics()
        except NotSignedIn:
            return Response("Sign in first.", status_code=401)
        except NotFound:
            return Response("There is no such page.", status_code=404)
        return LiveResponse(self._stream(request, view, topics))

    async def _stream(
        self, request: Request, view: View, topics: frozenset[Topic]
    ) -> AsyncIterator[bytes]:
        sent: dict[str, str] = {}
        changed: frozenset[Topic] | None = None
        async with self._deps.feeds.subscribe(topics) as subscription:
            yield _event("firsthand:version", self._renderer.version)
            while True:
                begun = time.perf_counter()
                patches = _differing(await view.fragments(changed), sent)
                if patches:
                    yield _patch(patches)
                took = time.perf_counter() - begun
                await anyio.sleep(max(_PAUSE_SECONDS, took / _SHARE - took))
                changed = None
                async for changed in _wait(subscription):
                    if changed is None:
                        if not await self._still_signed_in(request):
                            yield _event("firsthand:signed-out", "")
                            return
                        yield KEEP_ALIVE

    async def _still_signed_in(self, request: Request) -> bool:
        try:
            await signed_in(request, self._deps)
        except NotSignedIn:
            return False
        return True


async def _wait(subscription: Subscription) -> AsyncIterator[frozenset[Topic] | None]:
    """Yield nothing (`None`) now and then, and at last what changed."""
    while True:
        changed: frozenset[Topic] | None = None
        with anyio.move_on_after(KEEP_ALIVE_SECONDS):
            changed = await subscription.changed()
        yield changed
        if changed is not None:
            return


def _differing(fragments: list[Fragment], sent: dict[str, str]) -> list[Fragment]:
    """Return the fragments that the reader does not have yet, and note that it has them."""
    new = [fragment for fragment in fragments if sent.get(fragment.id) != fragment.stamp]
    sent.update((fragment.id, fragment.stamp) for fragment in new)
    if any(fragment.id == "turns" for fragment in new):
        # It holds all turns as they are now, so their pieces need not follow.
        prefixes = ("work-", "answer-", "sources-")
        new = [fragment for fragment in new if not fragment.id.startswith(prefixes)]
    return new


def _patch(fragments: list[Fragment]) -> bytes:
    html = "".join(
        f'<hx-partial id="{fragment.id}" hx-swap="outerMorph">{fragment.html}</hx-partial>'
        for fragment in fragments
    )
    return _event("", html)


def _event(name: str, data: str) -> bytes:
    lines = [f"event: {name}"] if name else []
    lines += [f"data: {line}" for line in _LINE_BREAK.split(data)]
    return ("\n".join(lines) + "\n\n").encode()


class LiveResponse(Response):
    """Sends a stream until it ends or the reader leaves, whichever comes first.

    Two tasks in one group: a reader that leaves while nothing happens is noticed at once.
    """

    def __init__(self, stream: AsyncIterator[bytes]) -> None:
        super().__init__(media_type="text/event-stream")
        del self.headers["content-length"]
        self.headers["Cache-Control"] = "no-store"
        self.headers["X-Accel-Buffering"] = "no"
        self._stream = stream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 # ASGI
        """Answer one request."""
        async with anyio.create_task_group() as tasks:

            async def leave() -> None:
                while (await receive())["type"] != "http.disconnect":
                    pass
                tasks.cancel_scope.cancel()

            tasks.start_soon(leave)
            await self._send(send)
            tasks.cancel_scope.cancel()

    async def _send(self, send: Send) -> None:
        head = {"status": self.status_code, "headers": self.raw_headers}
        await send({"type": "http.response.start", **head})
        try:
            async for chunk in self._stream:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        except FirsthandError as error:
            # The page is gone or the database is: the reader connects again and is told then.
            _log.info("a live view ended", reason=error.detail)
        await send({"type": "http.response.body", "body": b"", "more_body": False})
