"""What a person may have meant."""

import pytest

from firsthand.sources.nearest import nearest, nearest_versions

VERSIONS = ["2.1.0", "2.0.0", "1.10.0", "1.9.0", "odd", "1.0"]


def test_names_alike_come_best_first() -> None:
    assert nearest("mian", ["main", "maint", "feature"])[0] == "main"
    assert nearest("Main", ["main"]) == ["main"]
    assert nearest("nothing", ["x", "y"]) == []


@pytest.mark.requirement("SRC-5")
@pytest.mark.parametrize(
    ("wanted", "near"),
    [
        ("99.1", ["2.1.0", "2.0.0", "1.10.0"]),
        ("1.9.5", ["2.0.0", "1.10.0", "1.9.0", "1.0"]),
        ("0.1", ["1.9.0", "1.0"]),
        ("latest", ["2.1.0", "2.0.0", "1.10.0", "1.9.0", "odd"]),
    ],
)
def test_versions_are_near_by_their_order_not_by_their_letters(
    wanted: str, near: list[str]
) -> None:
    assert nearest_versions(wanted, VERSIONS) == near
