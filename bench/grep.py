"""The agent's grep tool beside ripgrep alone, and beside the npm btca server's on the same tree.

In turn, pattern by pattern: `POST /tools/grep` to an agent in a real sandbox; ripgrep alone with
the options that decide what is searched (hidden and ignored files too, no `.git`, files up to
8 MB) and its output read to the end; with `--btca COMMAND` the npm server, whose model (a local
one, scripted) asks for its grep tool. The npm tool's time is the gap between the end of the
model's reply and the next request to the model; what it needs before, to load the tree for each
question, is `load`. Prints one JSON object.

The tree is made up, the same on every machine, or is `--tree DIR` (a git work tree).

Run from the root: `.venv/bin/python -m bench.grep [--btca "btca serve --port {port}"]`.
"""

import argparse
import asyncio
import json
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from bench.add_repository import commits
from bench.figures import in_ms, machine
from bench.memory import memory_of
from bench.npm_btca import NpmServer, npm_server
from bench.wake import until_healthy
from firsthand.agent.tools.ripgrep import program
from firsthand.hub.ids import new_sandbox_id
from firsthand.hub.sandboxes.bubblewrap.provider import BubblewrapProvider
from firsthand.hub.sandboxes.provider import SandboxSpec
from tests.model_server import Call, ModelServer, Recorded, Reply, Say, Wait
from tests.repositories import Link, Submodule, run_git

_TARGET_RATIO = 1.2
_LIMIT = aiohttp.ClientTimeout(total=120)
_RIPGREP = (
    "--no-config",
    "--no-ignore",
    "--hidden",
    "--glob=!.git",
    "--max-filesize=8M",
    "--line-number",
    "--no-heading",
    "--with-filename",
    "--color=never",
)
_FEW, _NONE, _MANY = "few matches", "no match", "very many matches"
_PATTERNS = {_FEW: r"restart_99\d\d\b", _NONE: "zebra_crossing", _MANY: "return None"}


@dataclass
class Taken:
    """Seconds of one pattern, one entry a round."""

    tool: list[float] = field(default_factory=list[float])
    ripgrep: list[float] = field(default_factory=list[float])
    npm_tool: list[float] = field(default_factory=list[float])
    npm_load: list[float] = field(default_factory=list[float])
    matching_lines: int = 0


class _Clocked(threading.Event):
    """A gate that is always open and remembers when the stream came by."""

    passed_at = 0.0

    def wait(self, timeout: float | None = None) -> bool:
        del timeout
        self.passed_at = time.perf_counter()
        return True


def make_tree(folder: Path, files: int) -> None:
    """Write the files and commit them, so that it is a git work tree."""
    for name, content in commits(files)[0].files.items():
        if isinstance(content, Link | Submodule):
            continue
        path = folder / name.decode()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    run_git(["init", "--quiet", "--initial-branch=main", str(folder)])
    run_git(["-C", str(folder), "add", "--all"])
    run_git(["-C", str(folder), "commit", "--quiet", "--message=All of it"])


async def ripgrep_alone(tree: Path, pattern: str, taken: Taken) -> float:
    """Run the program as a person would, and read what it prints to the end."""

    def run() -> float:
        began = time.perf_counter()
        command = [program(), *_RIPGREP, f"--regexp={pattern}", "--", "./"]
        done = subprocess.run(command, cwd=tree, stdout=subprocess.PIPE, check=False)
        took = time.perf_counter() - began
        taken.matching_lines = done.stdout.count(b"\n")
        return took

    return await asyncio.to_thread(run)


async def tool(session: aiohttp.ClientSession, pattern: str) -> float:
    ref = {"name": "tree", "source": "bench", "path": "/checkouts/t/tree"}
    body = {
        "checkouts": [{**ref, "ref": "main", "commit": "0" * 40}],
        "input": {"pattern": pattern},
    }
    began = time.perf_counter()
    async with session.post("http://agent/tools/grep", json=body) as answer:
        text = await answer.text()
        took = time.perf_counter() - began
    if answer.status != 200:
        raise RuntimeError(text)
    return took


def npm_tool(npm: NpmServer, model: ModelServer, pattern: str) -> tuple[float, float]:
    """Return the seconds of the tool call, and of loading the tree before."""
    arrived: list[float] = []
    gate = _Clocked()

    def first(_: Recorded) -> Reply:
        arrived.append(time.perf_counter())
        return Reply(Call("grep", {"pattern": pattern}), Wait(gate))

    def second(request: Recorded) -> Reply:
        arrived.append(time.perf_counter())
        if request.messages[-1].get("role") != "tool":
            raise RuntimeError("the npm server did not answer the tool call")
        return Reply(Say("Done."))

    model.script(first, second)
    began = time.perf_counter()
    npm.ask("Where is it?")
    return arrived[1] - gate.passed_at, arrived[0] - began


class _Npm:
    """The npm server with its model, and how much memory it held while it answered."""

    def __init__(self, npm: NpmServer, model: ModelServer) -> None:
        self._npm = npm
        self._model = model
        self.idle = memory_of([npm.pid])
        self.after: dict[str, float] | None = None

    async def take(self, pattern: str, taken: Taken) -> None:
        gap, load = await asyncio.to_thread(npm_tool, self._npm, self._model, pattern)
        taken.npm_tool.append(gap)
        taken.npm_load.append(load)
        self.after = memory_of([self._npm.pid])


@contextmanager
def npm_peer(command: str, home: Path, tree: Path) -> Generator[_Npm]:
    with (
        ModelServer() as model,
        npm_server(command, home, tree=tree, model_url=model.base_url) as npm,
    ):
        yield _Npm(npm, model)


@dataclass(frozen=True)
class Rounds:
    """How often each is measured; the npm server takes seconds a call."""

    ours: int
    npm: int


async def measure(root: Path, tree: Path, rounds: Rounds, npm: _Npm | None) -> dict[str, Taken]:
    provider = BubblewrapProvider(root / "s", checkouts=tree.parent.parent)
    spec = SandboxSpec(new_sandbox_id())
    await provider.create(spec)
    await provider.start(spec.sandbox_id)
    socket = (await provider.endpoint(spec.sandbox_id)).socket
    taken = {name: Taken() for name in _PATTERNS}
    try:
        connector = aiohttp.UnixConnector(str(socket))
        async with aiohttp.ClientSession(connector=connector, timeout=_LIMIT) as session:
            await until_healthy(session, "http://agent/")
            for name, pattern in _PATTERNS.items():
                # The first of each reads files that are not in memory yet.
                await ripgrep_alone(tree, pattern, taken[name])
                await tool(session, pattern)
                for _ in range(rounds.ours):
                    taken[name].ripgrep.append(await ripgrep_alone(tree, pattern, taken[name]))
                    taken[name].tool.append(await tool(session, pattern))
                for _ in range(rounds.npm if npm else 0):
                    assert npm is not None
                    await npm.take(pattern, taken[name])
    finally:
        await provider.destroy(spec.sandbox_id)
        await provider.close()
    return taken


def report(taken: dict[str, Taken], npm: _Npm | None) -> dict[str, object]:
    patterns: dict[str, object] = {}
    ratios: dict[str, float] = {}
    for name, one in taken.items():
        ours, alone = statistics.median(one.tool), statistics.median(one.ripgrep)
        ratios[name] = round(ours / alone, 2)
        entry: dict[str, object] = {
            "matching_lines": one.matching_lines,
            "tool": in_ms(one.tool),
            "ripgrep": in_ms(one.ripgrep),
            "ratio": ratios[name],
        }
        if one.npm_tool:
            entry["npm_tool"] = in_ms(one.npm_tool)
            entry["npm_load"] = in_ms(one.npm_load)
            entry["npm_ratio"] = round(statistics.median(one.npm_tool) / alone, 2)
        patterns[name] = entry
    result: dict[str, object] = {
        "patterns": patterns,
        "target_ratio": _TARGET_RATIO,
        "reached": {name: ratio <= _TARGET_RATIO for name, ratio in ratios.items()},
    }
    if npm:
        result["npm_memory"] = {"idle": npm.idle, "after": npm.after}
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--npm-runs", type=int, default=5)
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--tree", type=Path, help="a git work tree instead of the made-up one")
    parser.add_argument("--btca", metavar="COMMAND", help="starts the npm server on {port}")
    given = parser.parse_args()
    about = machine()
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fh-bench-")))
        root.chmod(0o755)
        tree = root / "trees" / "t" / "tree"
        if given.tree:
            tree.parent.mkdir(parents=True)
            subprocess.run(["cp", "-a", str(given.tree), str(tree)], check=True)
        else:
            make_tree(tree, given.files)
        npm = stack.enter_context(npm_peer(given.btca, root / "home", tree)) if given.btca else None
        taken = asyncio.run(measure(root, tree, Rounds(given.runs, given.npm_runs), npm))
        files = len(run_git(["-C", str(tree), "ls-files"]).splitlines())
        result = report(taken, npm)
    print(json.dumps({"bench": "grep", "files": files, "machine": about, **result}))


if __name__ == "__main__":
    main()
