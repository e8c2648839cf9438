"""Measures the model-free search: are the files that an answer cites among the first found?

Each question is asked of the tree of its repository at its commit, through the real index and the
real search. Files are ranked by their best passage. Prints one JSON object with recall@5, recall@10
and the mean reciprocal rank (MRR) of the first cited file, in all and for each repository.

    python bench/search_quality.py --questions FILE.jsonl --repositories DIR

A line of FILE has `repository` (owner/name), `commit`, `question` and `gold_files`; DIR holds the
git repositories as owner/name, bare or not.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median

import msgspec

from firsthand.sources.index.build import build_index
from firsthand.sources.index.search import SearchIndex

DEPTH = 10
"""How many files of the ranking are scored for recall."""

LOOKED_AT = 100
"""How many passages are asked for; the first cited file counts for MRR down to here."""


class Question(msgspec.Struct, frozen=True):
    """One line of a file of questions."""

    repository: str
    commit: str
    question: str
    gold_files: list[str]
    id: str = ""


@dataclass(frozen=True)
class Score:
    """How one question went."""

    recall_at_5: float
    recall_at_10: float
    reciprocal_rank: float
    seconds: float


def main() -> int:
    """Run the bench named on the command line."""
    parser = argparse.ArgumentParser(description="Measures the model-free search.")
    parser.add_argument("--questions", type=Path, action="append", required=True, metavar="FILE")
    parser.add_argument("--repositories", type=Path, required=True, metavar="DIR")
    given = parser.parse_args()
    asked = [question for file in given.questions for question in read_questions(file)]
    result = measure(asked, given.repositories)
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(result)).decode() + "\n")
    return 0


def read_questions(file: Path) -> Iterator[Question]:
    for line in file.read_bytes().splitlines():
        if line.strip():
            yield msgspec.json.decode(line, type=Question)


def measure(questions: list[Question], repositories: Path) -> dict[str, object]:
    """Ask all questions; trees and indexes are made in a folder that goes at the end."""
    by_tree: dict[tuple[str, str], list[Question]] = defaultdict(list)
    for question in questions:
        by_tree[question.repository, question.commit].append(question)
    scores: dict[str, list[Score]] = defaultdict(list)
    trees: list[dict[str, object]] = []
    for (repository, commit), asked in by_tree.items():
        with tempfile.TemporaryDirectory(prefix="search-quality-") as folder:
            tree, index = Path(folder, "tree"), Path(folder, "index")
            extract(repositories / repository, commit, tree)
            stats = build_index(tree, index)
            trees.append(
                {
                    "repository": repository,
                    "commit": commit,
                    "index": msgspec.to_builtins(stats),
                    "indexBytes": sum(f.stat().st_size for f in index.rglob("*") if f.is_file()),
                }
            )
            search = SearchIndex(index, tree)
            scores[repository] += [score(search, question) for question in asked]
    return {
        **summary([entry for part in scores.values() for entry in part]),
        "repositories": {name: summary(part) for name, part in scores.items()},
        "trees": trees,
    }


def score(search: SearchIndex, question: Question) -> Score:
    began = time.perf_counter()
    hits = search.search(question.question, limit=LOOKED_AT)
    seconds = time.perf_counter() - began
    ranked = list(dict.fromkeys(hit.path for hit in hits))
    gold = set(question.gold_files)
    first = next((place for place, path in enumerate(ranked, 1) if path in gold), None)
    return Score(
        recall_at_5=len(gold.intersection(ranked[:5])) / len(gold),
        recall_at_10=len(gold.intersection(ranked[:DEPTH])) / len(gold),
        reciprocal_rank=1 / first if first else 0.0,
        seconds=seconds,
    )


def summary(scores: list[Score]) -> dict[str, object]:
    return {
        "questions": len(scores),
        "recall@5": round(mean(entry.recall_at_5 for entry in scores), 4),
        "recall@10": round(mean(entry.recall_at_10 for entry in scores), 4),
        "mrr": round(mean(entry.reciprocal_rank for entry in scores), 4),
        "firstQueryMilliseconds": round(1000 * scores[0].seconds, 2),
        "medianQueryMilliseconds": round(1000 * median(entry.seconds for entry in scores), 2),
        "slowestQueryMilliseconds": round(1000 * max(entry.seconds for entry in scores), 2),
    }


def extract(repository: Path, commit: str, tree: Path) -> None:
    """Write the files of a commit, byte for byte: no attribute or filter is applied."""
    tree.mkdir(parents=True)
    listing = git(repository, "ls-tree", "-r", "-z", "--full-tree", commit)
    wanted: list[tuple[str, Path]] = []
    for entry in listing.rstrip(b"\0").split(b"\0"):
        head, _, name = entry.partition(b"\t")
        mode, kind, blob = head.split(b" ")
        if kind == b"blob" and mode != b"120000":
            wanted.append((blob.decode(), tree / name.decode("utf-8", "surrogateescape")))
    blobs = "".join(f"{blob}\n" for blob, _ in wanted).encode()
    stream = git(repository, "cat-file", "--batch", given=blobs)
    place = 0
    for _, path in wanted:
        end = stream.index(b"\n", place)
        size = int(stream[place:end].rsplit(b" ", 1)[1])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(stream[end + 1 : end + 1 + size])
        place = end + 1 + size + 1


def git(repository: Path, *command: str, given: bytes = b"") -> bytes:
    done = subprocess.run(
        ["git", "-c", "safe.directory=*", "-C", str(repository), *command],
        input=given,
        stdout=subprocess.PIPE,
        check=True,
        timeout=600,
    )
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
