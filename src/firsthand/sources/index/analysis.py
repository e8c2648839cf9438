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
_REMEMBERED_WORDS = 500_000

_ASCII_WORD = r"[A-Z]+(?=[A-Z][a-z]{2})|[A-Z]?[a-z]+|[A-Z]+|[0-9]+"
_IN_ASCII = re.compile(_ASCII_WORD)
# Chinese is written without spaces: each of its characters is a word.
_IN_ANY = re.compile(_ASCII_WORD + r"|[\u3400-\u9fff\uf900-\ufaff]|[^\W\d_a-zA-Z\u3400-\u9fff]+")
_ACCENTS = re.compile(r"[\u0300-\u036f\u3099\u309a]+")


class _Stems(dict[str, str]):
    """Remembers the stem of every word met, because code says the same words again and again."""

    def __missing__(self, word: str) -> str:
        if len(self) >= _REMEMBERED_WORDS:
            self.clear()
        found = _stemmer().analyze(word.lower()) if len(word) <= _LONGEST_WORD else []
        stem = self[word] = found[0] if found else ""
        return stem


_stems = _Stems()


@cache
def _stemmer() -> "TextAnalyzer":
    from tantivy import Filter, TextAnalyzerBuilder, Tokenizer

    return TextAnalyzerBuilder(Tokenizer.raw()).filter(Filter.stemmer("english")).build()


def terms_of(text: str) -> list[str]:
    """Return the terms of a text in order, repeats kept."""
    if text.isascii():
        words = _IN_ASCII.findall(text)
    else:
        words = _IN_ANY.findall(_ACCENTS.sub("", unicodedata.normalize("NFKD", text)))
    return [term for term in map(_stems.__getitem__, words) if term]


def joined_terms(*texts: str) -> str:
    """Return the terms of some texts as one field of an index holds them."""
    return " ".join(term for text in texts for term in terms_of(text))
