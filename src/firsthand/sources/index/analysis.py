"""How text becomes search terms: split on case and underscore, lower case, English stems.

The same terms are made when an index is built and when it is asked; tantivy gets them ready-made,
with a space between, and only splits at the spaces.
"""

import re
import unicodedata
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tantivy import TextAnalyzer

TOKENIZER = "whitespace"
"""The tokenizer of all fields that hold terms."""

_LONGEST_WORD = 60
_REMEMBERED_NAMES = 300_000

_NAME = re.compile(r"\w+")
_ASCII_NAME = re.compile(r"[A-Za-z0-9_]+")
# The border between an acronym and a word is seen (HTTPServer), a plural's is not (URLs). Chinese
# is written without spaces: each of its characters is a word.
_WORD = re.compile(
    r"[A-Z]+(?=[A-Z][a-z]{2})|[A-Z]?[a-z]+|[A-Z]+|[0-9]+"
    r"|[\u3400-\u9fff\uf900-\ufaff]|[^\W\d_a-zA-Z\u3400-\u9fff]+"
)
_ACCENTS = re.compile(r"[\u0300-\u036f\u3099\u309a]+")


class _Names(dict[str, str]):
    """Remembers the terms of every name met, because code says the same names again and again."""

    def __missing__(self, name: str) -> str:
        if len(self) >= _REMEMBERED_NAMES:
            self.clear()
        stem = _stemmer().analyze
        terms = [
            term
            for word in _WORD.findall(name)
            if len(word) <= _LONGEST_WORD
            for term in stem(word.lower())
        ]
        joined = self[name] = " ".join(terms)
        return joined


_names = _Names()


@cache
def _stemmer() -> "TextAnalyzer":
    from tantivy import Filter, TextAnalyzerBuilder, Tokenizer

    return TextAnalyzerBuilder(Tokenizer.raw()).filter(Filter.stemmer("english")).build()


def joined_terms(text: str) -> str:
    """Return the terms of a text as a field of an index holds them, repeats kept."""
    if text.isascii():
        names = _ASCII_NAME.findall(text)
    else:
        names = _NAME.findall(_ACCENTS.sub("", unicodedata.normalize("NFKD", text)))
    return " ".join(map(_names.__getitem__, names))


def terms_of(text: str) -> list[str]:
    """Return the terms of a text in order, repeats kept."""
    return joined_terms(text).split()
