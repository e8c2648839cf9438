from typing import TYPE_CHECKING, cast

from firsthand.sources.index.opening import Found
from firsthand.sources.index.question import WeightedTerm
from firsthand.sources.index.ranking import (
    LINK_WEIGHT,
    follow_links,
    nature_factors,
    rank_files,
)

if TYPE_CHECKING:
    from tantivy import DocAddress


def found(file: int, score: float, start: int = 1) -> Found:
    return Found(cast("DocAddress", None), score, file, start, start + 9)


def test_a_file_adds_up_what_speaks_for_it() -> None:
    ranked = rank_files(
        files=[found(1, 2.0)],
        passages=[found(1, 4.0), found(1, 2.0, 11), found(1, 1.0, 21), found(2, 5.0)],
        symbols=[found(2, 3.0)],
        links={3: 10.0},
        factor_of=lambda number: 0.5 if number == 2 else 1.0,
    )

    assert [(file.number, file.score) for file in ranked] == [
        (1, 2.0 + 4.0 + 0.5 * 2.0),
        (2, 0.5 * (5.0 + 3.0)),
        (3, LINK_WEIGHT * 10.0),
    ]


def test_links_take_the_best_passage_and_never_lead_back() -> None:
    links = follow_links([(found(1, 9.0), [1, 2]), (found(3, 4.0), [2, 5])])

    assert links == {2: 9.0, 5: 4.0}


def test_tests_stand_back_unless_the_question_speaks_of_them() -> None:
    assert nature_factors([WeightedTerm("redirect", 1.0)])["test"] < 1.0
    assert nature_factors([WeightedTerm("test", 1.0)])["test"] == 1.0
