"""An agent that does not speak the protocol, or speaks without end, harms nobody but itself."""

import asyncio
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from firsthand.hub.instances.agent_client import AgentClient, AgentGone
from firsthand.hub.sandboxes.provider import AgentEndpoint

_MIB = b" " * 1024 * 1024


@asynccontextmanager
async def agent_saying(status: str, body: bytes, times: int = 1) -> AsyncGenerator[AgentClient]:
    """An agent that answers everything with this body, so many times over."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 {status}\r\nConnection: close\r\n\r\n".encode())
        with suppress(ConnectionError):
            for _ in range(times):
                writer.write(body)
                await writer.drain()
        writer.close()

    # Not under pytest's own folder: a Unix socket's path has at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="ag") as folder:
        socket = Path(folder) / "s"
        server = await asyncio.start_unix_server(answer, socket)
        async with server, AgentClient(AgentEndpoint(socket=socket)) as client:
            yield client


@pytest.mark.parametrize("status", ["200 OK", "500 Oh no"])
async def test_an_answer_without_end_is_broken_off(status: str) -> None:
    async with agent_saying(status, _MIB, times=10_000) as agent:
        with pytest.raises(AgentGone, match="exceeds"):
            await agent.health()


@pytest.mark.parametrize("body", [b"", b"[1", b'{"ok": "maybe"}', b"\xff"])
async def test_an_answer_that_cannot_be_read_is_no_answer(body: bytes) -> None:
    async with agent_saying("200 OK", body) as agent:
        with pytest.raises(AgentGone, match="does not speak our protocol"):
            await agent.health()
