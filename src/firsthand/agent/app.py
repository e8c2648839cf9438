"""The agent process: puts its parts together, serves its socket, ends itself when left alone."""

import argparse
import asyncio
import os
import re
import signal
import socket
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from firsthand.agent.http.btca import BtcaRoutes, Catalogue
from firsthand.agent.http.routes import Routes, RunRoutes
from firsthand.agent.http.server import Connection, Request, Response
from firsthand.agent.runs.live import LiveRun, LiveRuns
from firsthand.agent.runs.loop import Engine
from firsthand.agent.tools.search import SearchIndexes
from firsthand.protocol.questions import RunRequest

if TYPE_CHECKING:
    from firsthand.agent.models.port import Model

_CLOSE_SECONDS: Final = 2.0
# Linux bounds the path of a Unix socket at 107 bytes.
_SOCKET_PATH_BYTES: Final = 107


@dataclass(frozen=True, slots=True)
class Options:
    """How an agent is started. `socket` is a path, or a descriptor that already listens."""

    socket: Path | int
    gateway: str | None
    checkouts: Path | None
    idle_seconds: float


class Agent:
    """The composition: runs, routes, server, and the clock of idleness."""

    def __init__(self, options: Options, engine: Engine) -> None:
        self._options = options
        self._runs = LiveRuns(engine)
        self._runs.when_ended(self._run_ended)
        catalogue = Catalogue(options.checkouts)
        ours = RunRoutes(self._runs, engine, catalogue.see).routes()
        npms = BtcaRoutes(self._runs, catalogue).routes()
        self._routes = Routes(ours.fixed | npms.fixed, ours.prefixed | npms.prefixed)
        self._connections: dict[asyncio.Task[None], Connection] = {}
        self._last_touched = time.monotonic()
        self._stop = asyncio.Event()

    def stop(self) -> None:
        """Make `serve` come to its end."""
        self._stop.set()

    async def serve(self) -> None:
        """Serve until stopped or left alone."""
        server = await self._listen()
        log(f"listening on {self._options.socket}")
        waiting = {
            asyncio.create_task(self._stop.wait()),
            asyncio.create_task(self._until_idle()),
        }
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            server.close()
            if isinstance(self._options.socket, Path):
                self._options.socket.unlink(missing_ok=True)
            await self._runs.close()
            for task in waiting:
                task.cancel()
            await self._close_connections()
        log("stopped")

    async def _listen(self) -> asyncio.Server:
        where = self._options.socket
        if isinstance(where, int):
            given = socket.socket(fileno=where)
            return await asyncio.start_unix_server(self._connected, sock=given)
        server = await asyncio.start_unix_server(self._connected, where)
        where.chmod(0o600)
        return server

    async def _close_connections(self) -> None:
        # Readers of a run get its last event first; who only keeps a connection open does not wait.
        busy = [task for task, connection in self._connections.items() if connection.busy]
        if busy:
            await asyncio.wait(busy, timeout=_CLOSE_SECONDS)
        tasks = list(self._connections)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_CLOSE_SECONDS)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connection = self._connections[task] = Connection(reader, writer, self._handle)
        try:
            await connection.serve()
        except asyncio.CancelledError:
            # Only `serve` cancels connections, at the very end.
            pass
        finally:
            del self._connections[task]
            self._touch()

    async def _handle(self, request: Request) -> Response:
        self._touch()
        return await self._routes.handle(request)

    def _run_ended(self, run: LiveRun) -> None:
        self._touch()
        log(f"run {run.request.run_id} {run.state} after {run.seconds:.1f} seconds")

    def _touch(self) -> None:
        self._last_touched = time.monotonic()

    async def _until_idle(self) -> None:
        allowed = self._options.idle_seconds
        if allowed <= 0:
            await asyncio.Event().wait()
        while True:
            if self._runs.in_progress or any(c.busy for c in self._connections.values()):
                self._touch()
            left = self._last_touched + allowed - time.monotonic()
            if left <= 0:
                log(f"nobody asked anything for {allowed:g} seconds")
                return
            await asyncio.sleep(left)


def log(line: str) -> None:
    """Write a line to the log; never anything that a person asked."""
    sys.stderr.write(f"firsthand agent: {line}\n")
    sys.stderr.flush()


def parse_options(arguments: Sequence[str]) -> Options:
    """Read the command line; wrong use ends the process with status 2."""
    parser = argparse.ArgumentParser(prog="python -m firsthand.agent", description=__doc__)
    parser.add_argument(
        "--socket", required=True, help="Unix socket to listen on, or fd:N if inherited"
    )
    parser.add_argument("--gateway", help="Unix socket or URL of the model gateway")
    parser.add_argument("--checkouts", type=Path, help="folder of the checkouts")
    parser.add_argument("--idle-seconds", type=float, default=0.0, help="0 never ends by itself")
    given = parser.parse_args(arguments)
    descriptor = re.fullmatch(r"fd:(\d+)", given.socket)
    where = int(descriptor[1]) if descriptor else Path(given.socket)
    if len(os.fsencode(given.socket)) > _SOCKET_PATH_BYTES:
        parser.error(f"--socket: a path of at most {_SOCKET_PATH_BYTES} bytes")
    return Options(where, given.gateway, given.checkouts, given.idle_seconds)


def _open_model(request: RunRequest, gateway: str | None) -> "Model":
    # Imported late, since an agent that only waits needs no model.
    from firsthand.agent.models.choosing import open_model
    from firsthand.agent.models.endpoint import ModelEndpoint

    endpoint = None
    if gateway is not None:
        endpoint = ModelEndpoint.of_gateway(gateway, request.gateway_token)
    return open_model(request.model, endpoint)


async def run(options: Options) -> None:
    """Run an agent until it is stopped by a signal or left alone."""
    engine = Engine(
        open_model=lambda request: _open_model(request, options.gateway), indexes=SearchIndexes()
    )
    agent = Agent(options, engine)
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, agent.stop)
    await agent.serve()


def main() -> None:
    """The process."""
    options = parse_options(sys.argv[1:])
    with suppress(KeyboardInterrupt):
        asyncio.run(run(options))
