"""A real agent process over a small tree, and a gateway socket that can be lost."""

import asyncio
import os
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import msgspec
import pytest

from firsthand.protocol.events import NumberedEvent, RunEvent, decode_event
from firsthand.protocol.questions import (
    CheckoutRef,
    Dialect,
    ModelChoice,
    RunLimits,
    RunRequest,
    RunSnapshot,
)
from firsthand.protocol.sse import read_events

CODE = '''"""The client."""


class Client:
    """Sends requests and follows redirects."""

    def follow_redirects(self, response):
        """Follow the redirects of a response."""
        return response
'''


@dataclass(frozen=True)
class AgentProcess:
    """A running agent and a session to it."""

    process: asyncio.subprocess.Process
    http: aiohttp.ClientSession
    tree: Path

    def checkout(self, **rest: Any) -> CheckoutRef:
        return CheckoutRef(
            name="demo",
            source="https://example.org/demo",
            path=str(self.tree),
            ref="main",
            commit="c" * 40,
            **rest,
        )

    def request(
        self,
        question: str = "How are redirects followed?",
        *,
        run_id: str = "run-1",
        dialect: Dialect = Dialect.SCRIPTED,
        model: str = "say:Yes indeed.",
        token: str | None = None,
        limits: RunLimits | None = None,
    ) -> RunRequest:
        return RunRequest(
            run_id=run_id,
            question=question,
            checkouts=(self.checkout(),),
            model=ModelChoice(dialect=dialect, provider="test", model=model),
            gateway_token=token,
            limits=limits or RunLimits(),
        )

    async def start(self, request: RunRequest) -> RunSnapshot:
        async with self.http.post("/runs", data=msgspec.json.encode(request)) as response:
            assert response.status == 202, await response.text()
            return msgspec.json.decode(await response.read(), type=RunSnapshot)

    async def follow(
        self,
        run_id: str = "run-1",
        after: int = 0,
        until: Callable[[RunEvent], bool] = lambda _: False,
    ) -> list[NumberedEvent]:
        events: list[NumberedEvent] = []
        with anyio.fail_after(30):
            async with self.http.get(f"/runs/{run_id}/events?after={after}") as response:
                assert response.status == 200
                async for event in read_events(response.content.iter_any()):
                    decoded = decode_event(event.data)
                    events.append(NumberedEvent(number=int(event.id or 0), event=decoded))
                    if until(decoded):
                        break
        return events

    async def json(
        self, method: str, path: str, body: object = None, *, status: int = 200
    ) -> dict[str, Any]:
        data = None if body is None else msgspec.json.encode(body)
        with anyio.fail_after(30):
            async with self.http.request(method, path, data=data) as response:
                assert response.status == status, await response.text()
                return msgspec.json.decode(await response.read(), type=dict[str, Any])


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    tree = tmp_path / "trees" / "demo"
    (tree / "src").mkdir(parents=True)
    (tree / "src" / "client.py").write_text(CODE)
    (tree / "README.md").write_text("# Demo\n\nFollows redirects.\n")
    return tree


@asynccontextmanager
async def running_agent(
    tmp_path: Path, tree: Path, *arguments: str
) -> AsyncGenerator[AgentProcess, None]:
    """Start an agent and wait until it answers; kill it at the end if it still runs."""
    socket = tmp_path / "agent.sock"
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "firsthand.agent",
        "--socket",
        str(socket),
        "--checkouts",
        str(tree.parent),
        *arguments,
        stderr=asyncio.subprocess.PIPE,
        env={"PATH": os.environ["PATH"]},
    )
    connector = aiohttp.UnixConnector(str(socket))
    try:
        with anyio.fail_after(30):
            await _said(process, "listening")
        async with aiohttp.ClientSession("http://agent", connector=connector) as http:
            yield AgentProcess(process, http, tree)
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        # Closes the pipe as well; a transport left open is a warning, and so an error.
        await process.communicate()


async def _said(process: asyncio.subprocess.Process, word: str) -> None:
    assert process.stderr is not None
    while line := await process.stderr.readline():
        if word in line.decode():
            return
    raise AssertionError("the agent ended before it listened")


@pytest.fixture
async def agent(tmp_path: Path, tree: Path) -> AsyncGenerator[AgentProcess, None]:
    async with running_agent(tmp_path, tree) as started:
        yield started


class GatewaySocket:
    """A Unix socket that leads to a model server and can go away, as a killed hub's does."""

    def __init__(self, path: Path, port: int) -> None:
        self.path = path
        self._port = port
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def come(self) -> None:
        self.path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._connected, self.path)

    async def go(self) -> None:
        assert self._server is not None
        self._server.close()
        self.path.unlink(missing_ok=True)
        for writer in list(self._open):
            writer.transport.abort()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=10)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._open |= {writer, there_writer}
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_pipe(reader, there_writer))
                group.create_task(_pipe(there_reader, writer))
        finally:
            self._open -= {writer, there_writer}
            self._tasks.discard(task)


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()
