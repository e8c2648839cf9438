"""The list of requirements and the tests that claim to prove them are equal."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.requirements import REQUIREMENTS

TESTS = Path(__file__).parents[1]


def _marks(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.requirement":
            for argument in node.args:
                assert isinstance(argument, ast.Constant), "an id is written as a plain string"
                yield str(argument.value)


def _claimed() -> dict[str, list[str]]:
    claimed: dict[str, list[str]] = {}
    for path in sorted(TESTS.rglob("test_*.py")):
        for mark in _marks(ast.parse(path.read_text())):
            claimed.setdefault(mark, []).append(str(path.relative_to(TESTS)))
    return claimed


@pytest.mark.requirement("HOUSE-5")
def test_every_mark_names_a_requirement() -> None:
    unknown = {mark: where for mark, where in _claimed().items() if mark not in REQUIREMENTS}
    assert not unknown


def test_every_requirement_is_named_by_a_test() -> None:
    missing = {id_: text for id_, text in REQUIREMENTS.items() if id_ not in _claimed()}
    assert not missing
