"""What the hub adds to the first event of an answer, over asking the agent directly.

In turn, in one run, over one running instance and one checkout that is there: (a) `POST /runs`
and `GET /runs/{id}/events` on the agent's own Unix socket, until its first event, `meta`;
(b) `POST /chat/stream` on a real hub process over HTTP, until the first event there, `session`,
and until `meta`. The model is the extractive one. Every answer is read to its end before the next
begins. Prints one JSON object.

Two readings of "first event through the hub, over asking directly": `meta_over_meta_ms` compares
the same event on both ways; `session_over_meta_ms` compares whatever comes first on each, and is
below zero where the hub speaks before an agent could.

Run from the root: `.venv/bin/python -m bench.first_event [--runs N]`.
"""

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import aiohttp
import msgspec

from bench.figures import in_ms, machine
from firsthand.hub.sandboxes.bubblewrap.command import CHECKOUTS_INSIDE
from firsthand.protocol.questions import CheckoutRef, Dialect, ModelChoice, RunRequest
from firsthand.protocol.sse import read_events
from firsthand.sources.source import parse_source
from firsthand.sources.store import Checkout, SourceStore
from tests.git_server import serve_git
from tests.hub_process import HubProcess, running_hub
from tests.repositories import Commit, make_repository

_TARGET_MS = 5.0
_LIMIT = aiohttp.ClientTimeout(total=60)
_QUESTION = "How does follow handle redirects?"
_FILES = {
    b"README.md": b"# Project\n\nFollows redirects.\n",
    b"src/loop.py": b'def follow(response):\n    """Follow redirects."""\n    return response\n',
}


@dataclass
class Taken:
    """Seconds, one entry a round."""

    direct_meta: list[float]
    hub_headers: list[float]
    hub_session: list[float]
    hub_meta: list[float]


async def first_times(answer: aiohttp.ClientResponse, began: float) -> dict[str, float]:
    """Read a stream to its end; return when each type of event came for the first time."""
    seen: dict[str, float] = {}
    async for event in read_events(_chunks(answer)):
        seen.setdefault(event.event, time.perf_counter() - began)
    if "done" not in seen:
        raise RuntimeError(f"the answer has no end: {sorted(seen)}")
    return seen


async def _chunks(answer: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    async for chunk in answer.content.iter_any():
        yield chunk


async def ask_agent(session: aiohttp.ClientSession, ref: CheckoutRef) -> float:
    model = ModelChoice(dialect=Dialect.EXTRACTIVE, provider="firsthand", model="extractive")
    run_id = f"bench-{uuid4().hex}"
    request = RunRequest(run_id=run_id, question=_QUESTION, checkouts=(ref,), model=model)
    body = msgspec.json.encode(request)
    began = time.perf_counter()
    async with session.post("http://agent/runs", data=body) as started:
        started.raise_for_status()
        await started.read()
    async with session.get(f"http://agent/runs/{run_id}/events?after=0") as answer:
        answer.raise_for_status()
        return (await first_times(answer, began))["meta"]


async def ask_hub(session: aiohttp.ClientSession, url: str, taken: Taken | None) -> None:
    began = time.perf_counter()
    async with session.post(f"{url}/chat/stream", json={"message": _QUESTION}) as answer:
        headers = time.perf_counter() - began
        answer.raise_for_status()
        seen = await first_times(answer, began)
    if taken is not None:
        taken.hub_headers.append(headers)
        taken.hub_session.append(seen["session"])
        taken.hub_meta.append(seen["meta"])


async def measure(hub: HubProcess, project: str, runs: int) -> Taken:
    """Warm everything up with three rounds, then count."""
    taken = Taken([], [], [], [])
    headers = {"Authorization": f"Bearer {hub.token}"}
    async with aiohttp.ClientSession(headers=headers, timeout=_LIMIT) as to_hub:
        await _add(to_hub, hub.url, project)
        await ask_hub(to_hub, hub.url, None)
        (socket,) = hub.folder.glob("sandboxes/*/run/s")
        connector = aiohttp.UnixConnector(str(socket))
        async with aiohttp.ClientSession(connector=connector, timeout=_LIMIT) as to_agent:
            ref = await _checkout_ref(hub.folder, project)
            for number in range(runs + 3):
                seconds = await ask_agent(to_agent, ref)
                await ask_hub(to_hub, hub.url, taken if number >= 3 else None)
                if number >= 3:
                    taken.direct_meta.append(seconds)
    return taken


async def _add(session: aiohttp.ClientSession, url: str, project: str) -> None:
    async with session.post(f"{url}/api/v1/resources", json={"source": project}) as answer:
        if answer.status >= 400:
            raise RuntimeError(await answer.text())
    async with asyncio.timeout(60):
        while True:
            async with session.get(f"{url}/api/v1/resources") as answer:
                listed = json.loads(await answer.read())
            if '"ready"' in json.dumps(listed):
                return
            await asyncio.sleep(0.05)


async def _checkout_ref(folder: Path, project: str) -> CheckoutRef:
    """Find the hub's own checkout, and name it as the sandbox sees it."""
    store = SourceStore(folder / "sources", allowed_private_hosts=frozenset({"127.0.0.1"}))
    made = await store.checkout(parse_source(project, allow_local=False))

    def inside(path: Path) -> str:
        return str(CHECKOUTS_INSIDE / path.relative_to(store.trees))

    return _ref(made, inside(made.tree), inside(made.index) if made.index else None)


def _ref(made: Checkout, tree: str, index: str | None) -> CheckoutRef:
    return CheckoutRef(
        name="project",
        source=str(made.source),
        path=tree,
        index_path=index,
        ref=made.ref,
        commit=made.commit,
        committed_at=made.committed_at,
        fetched_at=made.fetched_at,
    )


def report(taken: Taken) -> dict[str, object]:
    direct, session = in_ms(taken.direct_meta), in_ms(taken.hub_session)
    meta = in_ms(taken.hub_meta)
    over_meta = round(meta["median_ms"] - direct["median_ms"], 2)
    return {
        "agent_directly": {"meta": direct},
        "through_hub": {"headers": in_ms(taken.hub_headers), "session": session, "meta": meta},
        "meta_over_meta_ms": over_meta,
        "session_over_meta_ms": round(session["median_ms"] - direct["median_ms"], 2),
        "target_ms": _TARGET_MS,
        "reached": over_meta <= _TARGET_MS,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=60)
    given = parser.parse_args()
    about = machine()
    with tempfile.TemporaryDirectory(prefix="fh-bench-") as folder:
        make_repository(Path(folder, "project"), [Commit(_FILES)])
        with (
            serve_git(Path(folder)) as git,
            running_hub(FIRSTHAND_ALLOWED_PRIVATE_HOSTS="127.0.0.1") as hub,
        ):
            taken = asyncio.run(measure(hub, git.url_of("project"), given.runs))
    print(json.dumps({"bench": "first_event", "machine": about, **report(taken)}))


if __name__ == "__main__":
    main()
