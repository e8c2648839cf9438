"""Runs every rule over every tracked file; exit code 1 where one is broken."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from script.rules import (
    addresses,
    exceptions,
    names,
    ownership,
    size,
    tests,
    transactions,
)
from script.rules.file import File, Problem

ROOT = Path(__file__).resolve().parents[2]
RULES: tuple[Callable[[File], Iterator[Problem]], ...] = (
    addresses.check,
    exceptions.check,
    names.check,
    ownership.check,
    size.check,
    tests.check,
    transactions.check,
)


def tracked_files(root: Path) -> Iterator[File]:
    """Yield the text files that git tracks and that are still there."""
    git = shutil.which("git") or "git"
    listed = subprocess.run(
        [git, "ls-files", "-z"], cwd=root, capture_output=True, text=True, check=True
    )
    for name in filter(None, listed.stdout.split("\0")):
        path = root / name
        if path.is_file() and not path.is_symlink():
            try:
                yield File(name, path.read_text())
            except UnicodeDecodeError:
                continue


def main() -> int:
    """Print the problems of all files, in order, and return the exit code."""
    problems = [problem for file in tracked_files(ROOT) for rule in RULES for problem in rule(file)]
    for problem in sorted(problems, key=lambda found: (found.path, found.line)):
        print(problem)
    print(
        f"rules of the house: {len(problems)} problems" if problems else "rules of the house: kept"
    )
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
