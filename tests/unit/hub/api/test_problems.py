"""Errors as RFC 9457 problems."""

import inspect

import msgspec
import pytest

from firsthand.hub import errors
from firsthand.hub.api.problems import STATUS, problem_of, status_of
from firsthand.hub.errors import FirsthandError, NotFound, NotSignedIn


def kinds() -> list[type[FirsthandError]]:
    return [
        kind
        for _, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, FirsthandError) and kind is not FirsthandError
    ]


@pytest.mark.parametrize("kind", kinds())
def test_every_kind_of_error_has_its_status(kind: type[FirsthandError]) -> None:
    assert kind in STATUS


def test_a_narrower_error_answers_as_its_nearest_ancestor() -> None:
    class NoSuchThread(NotFound):
        pass

    assert status_of(NoSuchThread("x")) == 404


def test_a_problem_says_title_status_detail_and_hint() -> None:
    answer = problem_of(NotSignedIn("Nobody is signed in.", hint="Sign in."))
    assert answer.media_type == "application/problem+json"
    assert answer.headers["www-authenticate"] == "Bearer"
    assert msgspec.json.decode(bytes(answer.body)) == {
        "type": "about:blank",
        "title": "Sign in first",
        "status": 401,
        "detail": "Nobody is signed in.",
        "hint": "Sign in.",
    }
