"""How long a wake takes as a person sees it: from `POST /instance/wake` to `Running` on the page.

A real hub process with its real sandboxes. Two looks at each wake: an open live view
(`GET /live?view=frame`, as every page has it) until it shows the instance running, and the
agent's own socket until its first healthy answer. The instance is stopped in between, and stays
so for a moment, as it would. With `--btca COMMAND` the npm btca server is started in turn, until
its first health answer. Prints one JSON object.

Run from the root: `.venv/bin/python -m bench.hub_wake [--btca "btca serve --port {port}"]`.
"""

import argparse
import asyncio
import contextlib
import json
import re
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from bench.figures import in_ms, machine
from bench.npm_btca import npm_server
from bench.wake import until_healthy
from firsthand.protocol.sse import read_events
from tests.hub_process import HubProcess, running_hub

_TARGET = {"median_ms": 90, "p95_ms": 150}
_LIMIT_SECONDS = 60
_NO_LIMIT = aiohttp.ClientTimeout(total=None)
_WORD = re.compile(r'<section id="instance".*?class="word \w+">([^<]+)<', re.DOTALL)


@dataclass
class LiveView:
    """What the page shows of the instance, kept up by `follow`."""

    word: str = ""
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def follow(self, session: aiohttp.ClientSession, url: str) -> None:
        async with session.get(f"{url}/live?view=frame", timeout=_NO_LIMIT) as answer:
            answer.raise_for_status()
            async for event in read_events(answer.content.iter_any()):
                shown = _WORD.search(event.data)
                if shown:
                    async with self._changed:
                        self.word = shown[1]
                        self._changed.notify_all()

    async def until(self, word: str) -> float:
        """Wait until the page shows this word; return when."""
        async with asyncio.timeout(_LIMIT_SECONDS), self._changed:
            await self._changed.wait_for(lambda: self.word == word)
            return time.perf_counter()


@dataclass
class Taken:
    """Seconds, one entry a wake."""

    live: list[float] = field(default_factory=list[float])
    health: list[float] = field(default_factory=list[float])
    posted: list[float] = field(default_factory=list[float])
    npm: list[float] = field(default_factory=list[float])


async def wake(
    session: aiohttp.ClientSession, hub: HubProcess, view: LiveView, taken: Taken | None
) -> None:
    """Wake the stopped instance, and stop it again."""
    (socket,) = hub.folder.glob("sandboxes/*/run/s")
    # The socket of the last life is gone the moment there is a new one.
    socket.unlink()
    began = time.perf_counter()
    health = asyncio.create_task(_until_agent_answers(socket))
    await _post(session, hub, "wake")
    posted = time.perf_counter() - began
    live = await view.until("Running") - began
    healthy = await health - began
    if taken is not None:
        taken.live.append(live)
        taken.health.append(healthy)
        taken.posted.append(posted)
    await _post(session, hub, "stop")
    await view.until("Stopped")


async def _until_agent_answers(socket: Path) -> float:
    connector = aiohttp.UnixConnector(str(socket))
    async with aiohttp.ClientSession(connector=connector) as session:
        await until_healthy(session, "http://agent/")
    return time.perf_counter()


async def _post(session: aiohttp.ClientSession, hub: HubProcess, what: str) -> None:
    async with session.post(f"{hub.url}/instance/{what}") as answer:
        if answer.status != 202:
            raise RuntimeError(await answer.text())
        await answer.read()


async def measure(hub: HubProcess, runs: int, pause: float, btca: str | None) -> Taken:
    taken, view = Taken(), LiveView()
    async with (
        aiohttp.ClientSession(headers={"Cookie": hub.sign_in()}) as browser,
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {hub.token}"}) as session,
    ):
        following = asyncio.create_task(view.follow(browser, hub.url))
        try:
            await view.until("Running")
            await _post(session, hub, "stop")
            await view.until("Stopped")
            # The first pays for cold files and is not counted.
            for number in range(runs + 1):
                await asyncio.sleep(pause)
                await wake(session, hub, view, taken if number > 0 else None)
                if btca is not None and number > 0:
                    taken.npm.append(await asyncio.to_thread(start_npm, btca))
        finally:
            following.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await following
    return taken


def start_npm(command: str) -> float:
    with (
        tempfile.TemporaryDirectory(prefix="fh-npm-") as home,
        npm_server(command, Path(home)) as npm,
    ):
        return npm.started_in


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--pause", type=float, default=1.0, help="seconds between stop and wake")
    parser.add_argument("--btca", metavar="COMMAND", help="starts the npm server on {port}")
    given = parser.parse_args()
    about = machine()
    with running_hub() as hub:
        taken = asyncio.run(measure(hub, given.runs, given.pause, given.btca))
    live = in_ms(taken.live)
    result: dict[str, object] = {
        "running_on_live_view": live,
        "agent_healthy": in_ms(taken.health),
        "post_answered": in_ms(taken.posted),
        "target": _TARGET,
        "reached": live["median_ms"] <= _TARGET["median_ms"]
        and live["p95_ms"] <= _TARGET["p95_ms"],
    }
    if taken.npm:
        result["npm_server_healthy"] = npm = in_ms(taken.npm)
        result["ratio_to_npm"] = round(live["median_ms"] / npm["median_ms"], 3)
    print(json.dumps({"bench": "hub_wake", "machine": about, **result}))


if __name__ == "__main__":
    main()
