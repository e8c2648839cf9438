"""The hub as a program: one port, one data folder, all entrances in one application."""

import asyncio
import errno
import resource
import signal
import socket
import sys
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager

import structlog
import uvicorn
import uvloop
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from firsthand.hub.api.problems import problem, problem_of, status_of
from firsthand.hub.api.routes import api_routes
from firsthand.hub.errors import FirsthandError, SettingsError
from firsthand.hub.presence import announce, claim_folder
from firsthand.hub.settings import Settings
from firsthand.hub.web.routes import error_page, web_routes
from firsthand.hub.web.security import web_middleware
from firsthand.hub.wiring import Hub, open_hub

# Open streams would hold a shutdown up for ever; their readers come back by themselves.
_SHUTDOWN_SECONDS = 2

log = structlog.get_logger(__name__)


class EndStreams:
    """Ends open streams in good order when the hub is about to stop.

    To a stream it looks as if its reader had left; to the reader, who comes back by itself, as
    if the stream had ended. Requests that have not been answered yet are left alone.
    """

    def __init__(self, app: ASGIApp, *, stopping: asyncio.Event) -> None:
        self._app = app
        self._stopping = stopping

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        begun = asyncio.Event()
        complete = False

        async def sending(message: Message) -> None:
            nonlocal complete
            begun.set()
            complete = message["type"] == "http.response.body" and not message.get("more_body")
            await send(message)

        async def stop_stream() -> None:
            await self._stopping.wait()
            await begun.wait()

        async def receiving() -> Message:
            coming = asyncio.ensure_future(receive())
            stopped = asyncio.ensure_future(stop_stream())
            try:
                await asyncio.wait({coming, stopped}, return_when=asyncio.FIRST_COMPLETED)
                return coming.result() if coming.done() else {"type": "http.disconnect"}
            finally:
                coming.cancel()
                stopped.cancel()

        await self._app(scope, receiving, sending)
        if self._stopping.is_set() and begun.is_set() and not complete:
            await send({"type": "http.response.body", "body": b"", "more_body": False})


def make_app(hub: Hub, stopping: asyncio.Event) -> Starlette:
    """Return the application over an open hub; open streams end when `stopping` is set."""

    async def expected(request: Request, error: Exception) -> Response:
        assert isinstance(error, FirsthandError)
        if _wants_page(request):
            return error_page(hub.web, request, status_of(error), error)
        return problem_of(error)

    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        known = FirsthandError(error.detail)
        if _wants_page(request):
            return error_page(hub.web, request, error.status_code, known)
        return problem(error.status_code, error.detail, error.detail, headers=error.headers)

    async def defect(request: Request, error: Exception) -> Response:
        log.error("defect", path=request.url.path, exc_info=error)
        told = FirsthandError(
            "Something went wrong inside Firsthand.",
            hint="Try again; if it happens again, the log of the hub says more.",
        )
        if _wants_page(request):
            return error_page(hub.web, request, 500, told)
        return problem(500, told.title, told.detail, told.hint)

    return Starlette(
        routes=[*api_routes(hub.api), *web_routes(hub.web)],
        middleware=[Middleware(EndStreams, stopping=stopping), *web_middleware(hub.web)],
        exception_handlers={
            FirsthandError: expected,
            HTTPException: refused,
            Exception: defect,
        },
    )


def _wants_page(request: Request) -> bool:
    return "text/html" in request.headers.get("accept", "")


def serve(settings: Settings, *, say: Callable[[str], None]) -> None:
    """Run the hub until it is told to stop. Raises `SettingsError` for what keeps it from it.

    Tells with `say` where it listens, and the link that signs the owner in while no password
    is set.
    """
    log_to_stderr()
    _allow_many_connections()
    with (
        claim_folder(settings.data_dir),
        _listen(settings) as listener,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        runner.run(_serve(settings, listener, say))


async def _serve(settings: Settings, listener: socket.socket, say: Callable[[str], None]) -> None:
    url = settings.public_url or _url_of(settings, listener)
    async with open_hub(settings, public_url=url) as hub:
        announce(settings.data_dir, _url_of(settings, listener), hub.identity.new_local_token())
        stopping = asyncio.Event()
        server = _Server(
            uvicorn.Config(
                make_app(hub, stopping),
                http="httptools",
                log_config=None,
                access_log=False,
                lifespan="off",
                proxy_headers=False,
                server_header=False,
                timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
            )
        )

        def end() -> None:
            stopping.set()
            server.end()

        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, end)
        async with _greeting(hub, url, say):
            await server.serve(sockets=[listener])


def _allow_many_connections() -> None:
    # Each open page takes a descriptor, and most systems let a program have 1,024 unless it asks.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


class _Server(uvicorn.Server):
    """A server that ends when told, and leaves the rest of the process to end in order.

    The original raises the signal once more when it has stopped, which would end the process
    before the database and the data folder are let go.
    """

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Leave signals to the one who runs the server."""
        yield

    def end(self) -> None:
        """Stop taking requests; asked again, do not wait for those under way."""
        self.force_exit = self.should_exit
        self.should_exit = True


@asynccontextmanager
async def _greeting(hub: Hub, url: str, say: Callable[[str], None]) -> AsyncGenerator[None]:
    say(f"Firsthand is running at {url}")
    if await hub.identity.owner_has_password():
        say(f"Sign in at {url}/sign-in")
    else:
        token = await hub.identity.new_owner_link()
        say(f"Sign in as the owner with this link (once): {url}/welcome?token={token}")
    yield
    say("Firsthand has stopped. Answers under way go on and are there at the next start.")


def _listen(settings: Settings) -> socket.socket:
    """Bind the port before anything else is touched, so that a busy one is told at once."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
        listener.listen(1024)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise SettingsError(
                f"Port {settings.port} on {settings.host} is in use by another program.",
                hint="Stop that program, or set FIRSTHAND_PORT to another port.",
            ) from error
        raise SettingsError(
            f"FIRSTHAND_HOST={settings.host}, FIRSTHAND_PORT={settings.port}: cannot listen "
            f"there: {error.strerror}.",
            hint="Use an address of this machine and a port above 1023.",
        ) from error
    return listener


def _url_of(settings: Settings, listener: socket.socket) -> str:
    host = "127.0.0.1" if settings.host in {"0.0.0.0", "::"} else settings.host  # noqa: S104 - compared, not bound
    port: int = listener.getsockname()[1]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def log_to_stderr() -> None:
    """Let the log of this process go to standard error, in lines for people."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(),
                # The one that is taken otherwise prints variables, hence tokens and keys.
                exception_formatter=structlog.dev.plain_traceback,
            ),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
