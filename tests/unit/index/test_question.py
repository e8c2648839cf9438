from firsthand.sources.index.abbreviations import short_forms
from firsthand.sources.index.question import MAX_TERMS, SHORT_FORM_WEIGHT, weigh


def weights(question: str) -> dict[str, float]:
    return {term.term: term.weight for term in weigh(question)}


def test_words_without_content_are_left_out() -> None:
    assert weights("How are the redirects followed?") == {"redirect": 1.0, "follow": 1.0}


def test_a_question_of_such_words_only_is_still_asked() -> None:
    assert weights("what is this") == {"what": 1.0, "is": 1.0, "this": 1.0}


def test_short_forms_are_added_at_a_lower_weight() -> None:
    found = weights("configuration of the application")

    assert found["configur"] == 1.0
    assert found["config"] == found["app"] == SHORT_FORM_WEIGHT
    assert short_forms("zebra") == ()


def test_a_word_said_twice_counts_twice_up_to_a_bound() -> None:
    assert weights("send send receive") == {"send": 2.0, "receiv": 1.0}
    assert weights("send " * 1000) == {"send": 5.0}


def test_a_very_long_question_is_bounded() -> None:
    words = " ".join(f"word{chr(97 + n % 26)}{chr(97 + n // 26)}x" for n in range(600))

    assert len(weigh(words)) <= 2 * MAX_TERMS
