"""Ranks files and their passages for a question, from what the three indexes found.

A file is worth the weighted sum of what speaks for it: its best passages, its best definitions,
its names, path and documentation, and whether the best passages of all use what it defines. Each
part is a BM25 score over the same terms, so the parts can be added as they are. The weights are
round numbers that were checked on repositories other than those they were chosen on.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from firsthand.sources.index.opening import Found
from firsthand.sources.index.question import WeightedTerm

PASSAGE_WEIGHTS = (1.0, 0.5)
"""What the best and the second-best passage of a file count."""

SYMBOL_WEIGHTS = (1.0, 0.5)
"""What the best and the second-best definition of a file count."""

FILE_FIELDS = {"text": 1.0, "path": 1.0, "names": 0.5, "documentation": 0.5}
"""What the fields of a whole file count."""

LINK_WEIGHT = 0.2
"""What it counts that a leading passage uses something that the file defines."""

LEADING_PASSAGES = 3
"""Of how many passages the used names are followed to their definitions."""


NATURE_FACTORS = {"generated": 0.5, "vendored": 0.5, "test": 0.8}
"""What is left of a file's score where it is not the project's own code or documentation."""

_TEST_TERMS = frozenset({"test", "spec", "fixtur"})


@dataclass
class FileScore:
    """What was found in one file: its whole worth, and its passages and definitions by score."""

    number: int
    score: float = 0.0
    passages: list[Found] = field(default_factory=list["Found"])
    symbols: list[Found] = field(default_factory=list["Found"])


def rank_files(
    files: Iterable[Found],
    passages: Iterable[Found],
    symbols: Iterable[Found],
    links: dict[int, float],
    factor_of: Callable[[int], float],
) -> list[FileScore]:
    """Return the files, best first.

    `links` holds for a file the score of a passage that leads to it, `factor_of` gives what is left
    of a file's score by its nature.
    """
    ranked: dict[int, FileScore] = {}

    def entry(number: int) -> FileScore:
        return ranked.setdefault(number, FileScore(number))

    for found in files:
        entry(found.file).score += found.score
    for found in passages:
        entry(found.file).passages.append(found)
    for found in symbols:
        entry(found.file).symbols.append(found)
    for number, score in links.items():
        entry(number).score += LINK_WEIGHT * score
    for file in ranked.values():
        file.score += _best(file.passages, PASSAGE_WEIGHTS) + _best(file.symbols, SYMBOL_WEIGHTS)
        file.score *= factor_of(file.number)
    return sorted(ranked.values(), key=lambda file: (-file.score, file.number))


def _best(found: list[Found], weights: tuple[float, ...]) -> float:
    ordered = sorted((entry.score for entry in found), reverse=True)
    return sum(weight * score for weight, score in zip(weights, ordered, strict=False))


def nature_factors(terms: Iterable[WeightedTerm]) -> dict[str, float]:
    """Return the factors for one question: tests stand back unless it speaks of them."""
    speaks_of_tests = any(term.term in _TEST_TERMS for term in terms)
    return {**NATURE_FACTORS, "test": 1.0} if speaks_of_tests else NATURE_FACTORS


def follow_links(
    leading: Iterable[tuple[Found, Iterable[int]]],
) -> dict[int, float]:
    """Give each file the score of the best passage of another file that uses its definitions."""
    links: dict[int, float] = defaultdict(float)
    for passage, targets in leading:
        for number in targets:
            if number != passage.file:
                links[number] = max(links[number], passage.score)
    return dict(links)
