"""What an idle agent takes of the host's memory, with the processes around it.

Resident memory counts shared pages in full, proportional (PSS) memory divides them among those
who share them. Beside it, with `--btca COMMAND`, the npm btca server and its children. Prints one
JSON object; sizes are MiB.
"""

import argparse
import asyncio
import json
import os
import platform
import shlex
import signal
import socket
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

import aiohttp

from firsthand.hub.ids import SandboxId, new_sandbox_id
from firsthand.hub.sandboxes.bubblewrap.provider import BubblewrapProvider
from firsthand.hub.sandboxes.provider import SandboxSpec

_TARGET_RESIDENT_MIB = 45
_GIVE_UP_SECONDS = 60


def memory_of(pids: Iterable[int]) -> dict[str, float]:
    """Add up `/proc/PID/smaps_rollup`, whose sizes are KiB."""
    kib = {"Rss": 0, "Pss": 0, "Private_Clean": 0, "Private_Dirty": 0}
    count = 0
    for pid in pids:
        count += 1
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
            name, value = line.split(":")
            if name in kib:
                kib[name] += int(value.split()[0])
    return {
        "processes": count,
        "resident_mib": round(kib["Rss"] / 1024, 1),
        "proportional_mib": round(kib["Pss"] / 1024, 1),
        "private_mib": round((kib["Private_Clean"] + kib["Private_Dirty"]) / 1024, 1),
    }


def descendants(pid: int) -> list[int]:
    # Each thread has children of its own.
    lists = Path(f"/proc/{pid}/task").glob("*/children")
    children = [child for file in lists for child in file.read_text().split()]
    return [pid, *(deeper for child in children for deeper in descendants(int(child)))]


def own_children() -> set[int]:
    return set(descendants(os.getpid())) - {os.getpid()}


async def until_healthy(session: aiohttp.ClientSession, url: str) -> None:
    async with asyncio.timeout(_GIVE_UP_SECONDS):
        while True:
            try:
                async with session.get(url) as answer:
                    await answer.read()
                    return
            except aiohttp.ClientConnectionError:
                await asyncio.sleep(0.01)


async def agents(count: int) -> dict[str, object]:
    with TemporaryDirectory(prefix="fh-bench-") as folder:
        hub = BubblewrapProvider(Path(folder, "s"), checkouts=Path(folder, "trees"))
        names: list[SandboxId] = []
        others = own_children()
        for _ in range(count):
            spec = SandboxSpec(new_sandbox_id())
            await hub.create(spec)
            await hub.start(spec.sandbox_id)
            endpoint = await hub.endpoint(spec.sandbox_id)
            connector = aiohttp.UnixConnector(str(endpoint.socket))
            async with aiohttp.ClientSession(connector=connector) as session:
                await until_healthy(session, "http://agent/")
            names.append(spec.sandbox_id)
        ours = own_children() - others
        innermost = [pid for pid in ours if len(descendants(pid)) == 1]
        result: dict[str, object] = {
            "sandboxes": count,
            "agent_alone": _per(count, memory_of(innermost)),
            "whole_sandbox": _per(count, memory_of(ours)),
        }
        for name in names:
            await hub.destroy(name)
        await hub.close()
    return result


def _per(count: int, figures: dict[str, float]) -> dict[str, float]:
    return {name: round(value / count, 1) for name, value in figures.items()}


async def btca(command: str) -> dict[str, float]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = [word.replace("{port}", str(port)) for word in shlex.split(command)]
    server = await asyncio.create_subprocess_exec(
        *words,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        async with aiohttp.ClientSession() as session:
            await until_healthy(session, f"http://127.0.0.1:{port}/")
        return memory_of(descendants(server.pid))
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        await server.wait()


async def measure(count: int, btca_command: str | None) -> dict[str, object]:
    result: dict[str, object] = {"one": await agents(1), "many": await agents(count)}
    if btca_command is not None:
        result["npm_btca_server"] = await btca(btca_command)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sandboxes", type=int, default=8, help="how many side by side")
    parser.add_argument("--btca", metavar="COMMAND", help="starts the npm server on {port}")
    given = parser.parse_args()
    result = asyncio.run(measure(given.sandboxes, given.btca))
    about = {
        "what": "memory of an idle agent in its sandbox",
        "python": platform.python_version(),
        "root": os.geteuid() == 0,
        "target": {"resident_mib": _TARGET_RESIDENT_MIB},
    }
    print(json.dumps({"bench": "memory", **about, **result}))


if __name__ == "__main__":
    main()
