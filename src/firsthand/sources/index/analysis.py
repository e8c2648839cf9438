"""How text becomes search terms: split on case and underscore, lower case, English stems.

The splitting itself runs inside tantivy; only what its regular expressions cannot say (the border
in `HTTPServer`) is prepared here.
"""

import re
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tantivy import Index, TextAnalyzer

WORDS = "words"
"""Name under which the analyzer is registered with an index."""

_WORD = r"\p{Lu}?\p{Ll}+|\p{Lu}+|\p{N}+|\p{Han}|[\p{Lo}\p{M}]+"
_ACRONYM_BORDER = re.compile(r"([A-Z])([A-Z][a-z]{2})")


def prepare(text: str) -> str:
    """Make the border between an acronym and the word after it visible: HTTPServer, HTTP Server."""
    return _ACRONYM_BORDER.sub(r"\1 \2", text)


@cache
def analyzer() -> "TextAnalyzer":
    """Build the analyzer; the same one serves building and asking."""
    from tantivy import Filter, TextAnalyzerBuilder, Tokenizer

    return (
        TextAnalyzerBuilder(Tokenizer.regex(_WORD))
        .filter(Filter.remove_long(60))
        .filter(Filter.lowercase())
        .filter(Filter.ascii_fold())
        .filter(Filter.stemmer("english"))
        .build()
    )


def register(index: "Index") -> None:
    """Make the analyzer known to an opened index."""
    index.register_tokenizer(WORDS, analyzer())


def terms_of(text: str) -> list[str]:
    """Return the terms of a text in order, repeats kept."""
    return analyzer().analyze(prepare(text))
