"""The least agent that a sandbox can hold: enough HTTP to see whether it lives and what it sees.

Runs as a program inside a real sandbox and as a coroutine in the in-memory one.
"""

import argparse
import asyncio
import contextlib
import json
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote


class StandIn:
    """Answers `GET /`, `/exit`, `/say/TEXT`, `/gateway` and `/read/PATH`, one request each."""

    def __init__(
        self,
        listener: socket.socket,
        gateway: Path,
        checkouts: Path,
        idle_seconds: float,
        say: Callable[[str], None],
    ) -> None:
        self._listener = listener
        self._gateway = gateway
        self._checkouts = checkouts
        self._idle_seconds = idle_seconds
        self._say = say
        self._asked = asyncio.Event()
        self._finished = asyncio.Event()
        self._answering: set[asyncio.Task[None]] = set()

    async def serve(self) -> None:
        self._say("the stand-in listens")
        self._listener.setblocking(False)
        accepting = asyncio.create_task(self._accept())
        try:
            await self._until_idle()
        finally:
            accepting.cancel()
            await asyncio.wait([accepting, *self._answering])

    def finish(self) -> None:
        """End as soon as what is being answered is answered."""
        self._finished.set()
        self._asked.set()

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            connection, _ = await loop.sock_accept(self._listener)
            answering = asyncio.create_task(self._answer(connection))
            self._answering.add(answering)
            answering.add_done_callback(self._answering.discard)

    async def _until_idle(self) -> None:
        while not self._finished.is_set():
            self._asked.clear()
            try:
                async with asyncio.timeout(self._idle_seconds):
                    await self._asked.wait()
            except TimeoutError:
                self._say("nobody asked, so the stand-in ends")
                return

    async def _answer(self, connection: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=connection)
        try:
            line = (await reader.readline()).decode()
            if not line:
                return
            await reader.readuntil(b"\r\n\r\n")
            body = json.dumps(await self._act(unquote(line.split()[1])))
            writer.write(
                f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"
                f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
            )
            await writer.drain()
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
            self._asked.set()

    async def _act(self, path: str) -> object:
        match path.split("/", 2)[1:]:
            case ["exit"]:
                self.finish()
            case ["say", text]:
                self._say(text)
            case ["gateway"]:
                return await self._ask_gateway()
            case ["read", name]:
                return (self._checkouts / name).read_text()
            case _:
                pass
        return {"status": "ok"}

    async def _ask_gateway(self) -> str:
        reader, writer = await asyncio.open_unix_connection(self._gateway)
        try:
            return (await reader.read()).decode()
        finally:
            writer.close()
            await writer.wait_closed()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--socket", required=True)
    parser.add_argument("--gateway", required=True, type=Path)
    parser.add_argument("--checkouts", required=True, type=Path)
    parser.add_argument("--idle-seconds", required=True, type=float)
    given = parser.parse_args()
    listener = socket.socket(fileno=int(given.socket.removeprefix("fd:")))

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    stand_in = StandIn(listener, given.gateway, given.checkouts, given.idle_seconds, say)

    async def serve_until_told() -> None:
        # Process 1 of a world gets no signal that it does not handle.
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stand_in.finish)
        await stand_in.serve()

    asyncio.run(serve_until_told())


if __name__ == "__main__":
    main()
