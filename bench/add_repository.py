"""Time to add a repository, the first time and for a second user, beside `git clone`.

Run from the root: `.venv/bin/python -m bench.add_repository [--files N] [--rounds N]`. One made-up
repository, the same on every machine, is served by the real git over loopback HTTP to all of
them in turn. Prints one JSON object; seconds are medians.
"""

import argparse
import json
import random
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import anyio

from firsthand.sources.progress import Progress
from firsthand.sources.source import Source, parse_source
from firsthand.sources.store import SourceStore
from tests.git_server import GitServer, serve_git
from tests.repositories import ENVIRONMENT, Commit, make_repository

_WORDS = [
    f"{a}{b}" for a in ("re", "un", "pre", "co", "de") for b in ("start", "read", "bind", "map")
]
_HISTORY = 20
_TO_REACH_SECOND = 0.050


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="firsthand-bench-") as folder:
        root = Path(folder)
        (root / "served").mkdir()
        make_repository(root / "served" / "box", commits(options.files))
        with serve_git(root / "served") as server:
            print(json.dumps(measure(server, root, options.files, options.rounds), indent=2))


def commits(files: int) -> list[Commit]:
    """Files of some forty lines of code, and a history that changes a few of them each time."""
    dice = random.Random(20_000)
    content: dict[bytes, bytes] = {
        f"src/p{n % 200:03}/{dice.choice(_WORDS)}_{n}.py".encode(): _module(dice)
        for n in range(files)
    }
    names = sorted(content)
    made = [Commit(dict(content))]
    for _ in range(_HISTORY):
        for name in dice.sample(names, max(1, files // 100)):
            content[name] = _module(dice)
        made.append(Commit(dict(content)))
    return made


def _module(dice: random.Random) -> bytes:
    parts: list[str] = []
    for _ in range(6):
        name = "_".join(dice.choices(_WORDS, k=3))
        first, second = dice.choices(_WORDS, k=2)
        parts.append(
            f'def {name}({first}, {second}_{dice.randrange(10_000)}):\n    """{first} to {second}.'
            f'"""\n    if {first} > {dice.random()}:\n        return {first}\n    return None\n'
        )
    return "\n\n".join(parts).encode()


def measure(server: GitServer, root: Path, files: int, rounds: int) -> dict[str, object]:
    """Take every way in turn, round by round, so that a noisy moment touches all alike."""
    url = server.url_of("box")
    source = parse_source(url, allow_local=False)
    taken: dict[str, list[float]] = {}

    def take(name: str, seconds: float) -> None:
        taken.setdefault(name, []).append(seconds)

    for number in range(rounds):
        here = root / f"round-{number}"
        here.mkdir()
        take("git clone --depth 1", _clone(["--depth", "1", url, str(here / "shallow")]))
        take("git clone", _clone([url, str(here / "full")]))
        anyio.run(_add_twice, here / "store", server.host, source, take)
        subprocess.run(["rm", "-rf", str(here)], check=True)
    medians = {name: statistics.median(values) for name, values in taken.items()}
    shallow = medians["git clone --depth 1"]
    return {
        "files": files,
        "commits": _HISTORY + 1,
        "rounds": rounds,
        "seconds": {name: round(value, 6) for name, value in medians.items()},
        "ratios to git clone --depth 1": {
            name: round(value / shallow, 6) for name, value in medians.items()
        },
        "to reach": {"second user": _TO_REACH_SECOND},
        "reached": medians["second user"] <= _TO_REACH_SECOND,
    }


def _clone(arguments: list[str]) -> float:
    begun = time.perf_counter()
    subprocess.run(["git", "clone", "--quiet", *arguments], env=ENVIRONMENT, check=True)
    return time.perf_counter() - begun


async def _add_twice(
    root: Path, host: str, source: Source, take: Callable[[str, float], None]
) -> None:
    begun = time.perf_counter()
    indexing_at: list[float] = []

    def listen(progress: Progress) -> None:
        if progress.step == "Building the search index":
            indexing_at.append(time.perf_counter())

    def new_store() -> SourceStore:
        return SourceStore(root, allowed_private_hosts=frozenset({host}))

    first = await new_store().checkout(source, progress=listen)
    ended = time.perf_counter()
    take("first user, with search index", ended - begun)
    take("first user, tree alone", (indexing_at[0] if indexing_at else ended) - begun)
    begun = time.perf_counter()
    # Another store on the same folder, as another process would have.
    second = await new_store().checkout(source)
    take("second user", time.perf_counter() - begun)
    if second.tree != first.tree:
        message = "the second user was given a second tree"
        raise SystemExit(message)


if __name__ == "__main__":
    main()
