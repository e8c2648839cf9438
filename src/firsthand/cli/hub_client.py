"""Speaks HTTP to the hub that runs on this machine, as the owner of its data folder."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from firsthand.cli.failures import CommandFailed, ExitCode
from firsthand.hub.presence import Presence, find_hub
from firsthand.protocol.events import NumberedEvent, decode_event
from firsthand.protocol.message import Message
from firsthand.protocol.sse import KEEP_ALIVE_SECONDS, read_events

NO_HUB_HINT = "Start it with `firsthand serve`, or set FIRSTHAND_DATA_DIR to its data folder."
# The hub sends a comment at least this often; several missed mean that it is gone.
_SILENCE_SECONDS = 4 * KEEP_ALIVE_SECONDS


def require_hub(data_dir: Path) -> Presence:
    """Return the running hub of this data folder. Raises `CommandFailed`."""
    presence = find_hub(data_dir)
    if presence is None:
        raise CommandFailed(f"No hub runs for the data folder {data_dir}.", NO_HUB_HINT)
    return presence


class HubClient:
    """Requests to one hub. Raises `CommandFailed` with the hub's own words."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """Return the answer's JSON, `None` where it is empty."""
        try:
            async with self._session.request(method, path, json=body) as response:
                content = await response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise _lost(error) from error
        if response.status >= 400:
            raise problem_of(response.status, content)
        return msgspec.json.decode(content) if content else None

    async def ask(self, body: dict[str, Any]) -> AsyncIterator[NumberedEvent]:
        """Yield the events of `POST /chat/stream`."""
        timeout = aiohttp.ClientTimeout(sock_read=_SILENCE_SECONDS)
        try:
            async with self._session.post("/chat/stream", json=body, timeout=timeout) as response:
                if response.status >= 400:
                    raise problem_of(response.status, await response.read())
                async for event in read_events(response.content.iter_any()):
                    yield NumberedEvent(number=int(event.id or 0), event=decode_event(event.data))
        except (aiohttp.ClientError, TimeoutError) as error:
            raise _lost(error) from error


@asynccontextmanager
async def connect(presence: Presence) -> AsyncGenerator[HubClient]:
    """Open a client for as long as the block lasts."""
    async with aiohttp.ClientSession(
        presence.url,
        headers={"Authorization": f"Bearer {presence.token}"},
        timeout=aiohttp.ClientTimeout(total=60),
    ) as session:
        yield HubClient(session)


def problem_of(status: int, content: bytes) -> CommandFailed:
    """Read a problem of RFC 9457; anything else is told by its status alone."""
    codes = {402: ExitCode.ALLOWANCE_USED_UP, 422: ExitCode.WRONG_USE}
    code = codes.get(status, ExitCode.FAILED)
    try:
        problem = msgspec.json.decode(content, type=_Problem)
    except msgspec.MsgspecError:
        return CommandFailed(f"The hub answered with status {status}.", code=code)
    said = problem.detail or problem.title or f"The hub answered with status {status}."
    return CommandFailed(said, problem.hint, code=code)


class _Problem(Message, frozen=True, kw_only=True):
    title: str | None = None
    detail: str | None = None
    hint: str | None = None


def _lost(error: Exception) -> CommandFailed:
    hint = "Look at the hub's own output."
    if isinstance(error, aiohttp.ClientPayloadError | aiohttp.ServerDisconnectedError):
        return CommandFailed("The hub went away in the middle of its answer.", hint)
    said = str(error) or type(error).__name__
    return CommandFailed(f"The hub does not answer: {said}.", hint)
