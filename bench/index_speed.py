"""Measures building an index and asking it: seconds, processor time, bytes, memory.

    python bench/index_speed.py --tree DIR [--query WORDS]...

Prints one JSON object. The index is asked in a fresh process, so that importing and opening count.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from firsthand.sources.index.search import SearchIndex

QUERIES: tuple[str, ...] = (
    "How are redirects followed and when does it stop?",
    "Where is the configuration file read and validated?",
    "Why does the parser keep a stack of open scopes?",
    "What is the relationship between the session and the connection pool?",
)


def main() -> int:
    """Run the bench, or, with --ask, its part in a fresh process."""
    parser = argparse.ArgumentParser(description="Measures building an index and asking it.")
    parser.add_argument("--tree", type=Path, required=True)
    parser.add_argument("--query", action="append", default=[])
    parser.add_argument("--ask", type=Path, metavar="INDEX", help=argparse.SUPPRESS)
    given = parser.parse_args()
    queries: Sequence[str] = given.query or QUERIES
    result = ask(given.ask, given.tree, queries) if given.ask else build(given.tree, queries)
    sys.stdout.write(json.dumps(result, indent=2) + "\n")
    return 0


def build(tree: Path, queries: Sequence[str]) -> dict[str, object]:
    with tempfile.TemporaryDirectory(prefix="index-speed-") as folder:
        index = Path(folder, "index")
        began = time.monotonic()
        stats = run("-m", "firsthand.sources.index", str(tree), str(index))
        seconds = time.monotonic() - began
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        asked = [argument for query in queries for argument in ("--query", query)]
        answer = run(__file__, "--tree", str(tree), "--ask", str(index), *asked)
        return {
            "index": json.loads(stats),
            "buildSeconds": round(seconds, 2),
            "buildProcessorSeconds": round(used.ru_utime + used.ru_stime, 2),
            "buildLargestProcessMebibytes": round(used.ru_maxrss / 1024),
            "indexBytes": sum(f.stat().st_size for f in index.rglob("*") if f.is_file()),
            **json.loads(answer),
        }


def ask(index: Path, tree: Path, queries: Sequence[str]) -> dict[str, object]:
    times: list[float] = []
    search = SearchIndex(index, tree)
    for query in [*queries] * 10:
        began = time.perf_counter()
        search.search(query)
        times.append(1000 * (time.perf_counter() - began))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "openAndFirstQueryMilliseconds": round(times[0], 1),
        "medianQueryMilliseconds": round(median(times[1:]), 1),
        "slowestQueryMilliseconds": round(max(times[1:]), 1),
        "askingProcessMebibytes": round(peak),
    }


def run(*arguments: str) -> bytes:
    done = subprocess.run(
        [sys.executable, *arguments], stdout=subprocess.PIPE, check=True, timeout=3600
    )
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
