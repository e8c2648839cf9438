"""Turns a question into weighted search terms."""

from collections import Counter
from dataclasses import dataclass
from functools import cache

from firsthand.sources.index.abbreviations import short_forms
from firsthand.sources.index.analysis import terms_of

MAX_TERMS = 64
"""Terms that count in one question; of a longer text those that come most often."""

MAX_CHARACTERS = 20_000

SHORT_FORM_WEIGHT = 0.7
"""A short form counts less than the word that was asked for."""

_STOP_WORDS = """
a about across after against all also an and another any are as at be been before being between
both but by can could did do does due during each else for from had has have how if in instead
into is it its just least less may might more most must no nor not of on only onto or other over
per rather same shall should so such than that the their them then there these they this those
through to via was were what when where which while who whom whose why will with within without
would
"""


@dataclass(frozen=True)
class WeightedTerm:
    """A term to look for and what finding it is worth beside the others."""

    term: str
    weight: float


@cache
def _stop_terms() -> frozenset[str]:
    return frozenset(terms_of(_STOP_WORDS))


def weigh(question: str) -> list[WeightedTerm]:
    """Return the terms of a question with their weights.

    Words without content are left out unless there are no others; a word that is said twice counts
    twice; short forms (`configuration`, `config`) are added at a lower weight.
    """
    every = Counter(terms_of(question[:MAX_CHARACTERS]))
    telling = Counter({term: n for term, n in every.items() if term not in _stop_terms()})
    weights: dict[str, float] = {
        term: float(min(count, 5)) for term, count in (telling or every).most_common(MAX_TERMS)
    }
    for term, weight in list(weights.items()):
        for form in short_forms(term):
            weights[form] = max(weights.get(form, 0.0), SHORT_FORM_WEIGHT * weight)
    return [WeightedTerm(term, weight) for term, weight in weights.items()]
