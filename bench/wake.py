"""How long a sandbox takes from its start to its agent's first healthy answer.

Beside it, in the same run and alternating with it: plain bubblewrap around `python -c pass`, and
with `--btca COMMAND` the npm btca server. Prints one JSON object; times are milliseconds.
"""

import argparse
import asyncio
import json
import os
import platform
import shlex
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import aiohttp
import anyio.to_thread

from firsthand.hub.ids import new_sandbox_id
from firsthand.hub.sandboxes.bubblewrap.provider import BubblewrapProvider
from firsthand.hub.sandboxes.provider import SandboxSpec

_GIVE_UP_SECONDS = 60
_FIRST_PAUSE_SECONDS = 0.001
_LONGEST_PAUSE_SECONDS = 0.02
_TARGET_MEDIAN_MS = 90
_TARGET_P95_MS = 150


async def until_healthy(session: aiohttp.ClientSession, url: str) -> None:
    """Ask at once, then after pauses that grow from a millisecond."""
    pause = _FIRST_PAUSE_SECONDS
    async with asyncio.timeout(_GIVE_UP_SECONDS):
        while True:
            try:
                async with session.get(url) as answer:
                    await answer.read()
                    if answer.ok:
                        return
            except aiohttp.ClientConnectionError:
                pass
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE_SECONDS)


async def until_warm(folder: Path, warm: int) -> None:
    """Wait until the pool is full again: wakes that follow each other at once are cold ones."""
    async with asyncio.timeout(_GIVE_UP_SECONDS):
        while True:
            members = [p for p in folder.glob("warm/*/*") if not p.name.startswith(".")]
            if len(members) >= warm:
                return
            await asyncio.sleep(0.02)


async def wake(hub: BubblewrapProvider) -> float:
    spec = SandboxSpec(new_sandbox_id())
    await hub.create(spec)
    endpoint = await hub.endpoint(spec.sandbox_id)
    began = time.perf_counter()
    await hub.start(spec.sandbox_id)
    async with aiohttp.ClientSession(
        connector=aiohttp.UnixConnector(str(endpoint.socket))
    ) as session:
        await until_healthy(session, "http://agent/")
    took = time.perf_counter() - began
    await hub.destroy(spec.sandbox_id)
    return took


async def plain_bubblewrap() -> float:
    command = ["bwrap", "--unshare-all", "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev"]

    def run() -> float:
        began = time.perf_counter()
        subprocess.run([*command, sys.executable, "-I", "-c", "pass"], check=True)
        return time.perf_counter() - began

    return await anyio.to_thread.run_sync(run)


async def btca(command: str) -> float:
    """Start the npm server on a free port; `{port}` in the command is replaced by it."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = [word.replace("{port}", str(port)) for word in shlex.split(command)]
    began = time.perf_counter()
    server = await asyncio.create_subprocess_exec(
        *words,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        async with aiohttp.ClientSession() as session:
            await until_healthy(session, f"http://127.0.0.1:{port}/")
        return time.perf_counter() - began
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        await server.wait()


def figures(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    return {
        "runs": len(ordered),
        "median_ms": round(statistics.median(ordered) * 1000, 1),
        "p95_ms": round(ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))] * 1000, 1),
    }


async def measure(runs: int, warm: int, btca_command: str | None) -> dict[str, object]:
    with TemporaryDirectory(prefix="fh-bench-") as folder:
        sandboxes = Path(folder, "s")
        hub = BubblewrapProvider(sandboxes, checkouts=Path(folder, "trees"), warm=warm)
        contestants: dict[str, Callable[[], Awaitable[float]]] = {
            "firsthand": lambda: wake(hub),
            "plain_bubblewrap_python": plain_bubblewrap,
        }
        if btca_command is not None:
            contestants["npm_btca_server"] = lambda: btca(btca_command)
        taken: dict[str, list[float]] = {name: [] for name in contestants}
        # The first of each pays for cold files and is not counted.
        for number in range(runs + 1):
            for name, run in contestants.items():
                if number > 0:
                    await until_warm(sandboxes, warm)
                seconds = await run()
                if number > 0:
                    taken[name].append(seconds)
        await hub.close()
    return {name: figures(seconds) for name, seconds in taken.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--warm", type=int, default=0, help="sandboxes kept started in advance")
    parser.add_argument("--btca", metavar="COMMAND", help="starts the npm server on {port}")
    given = parser.parse_args()
    result = asyncio.run(measure(given.runs, given.warm, given.btca))
    target = {"median_ms": _TARGET_MEDIAN_MS, "p95_ms": _TARGET_P95_MS}
    about = {
        "what": "provider start to first healthy answer",
        "warm": given.warm,
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "root": os.geteuid() == 0,
    }
    print(json.dumps({"bench": "wake", **about, "target": target, **result}))


if __name__ == "__main__":
    main()
