"""What the hub's refusals become on the command line."""

import pytest

from firsthand.cli.failures import ExitCode
from firsthand.cli.hub_client import problem_of

BODY = b'{"title":"T","status":402,"detail":"Nothing is left.","hint":"Wait."}'


@pytest.mark.requirement("CLI-5")
@pytest.mark.parametrize(
    ("status", "code"),
    [
        (402, ExitCode.ALLOWANCE_USED_UP),
        (404, ExitCode.FAILED),
        (422, ExitCode.WRONG_USE),
        (503, ExitCode.FAILED),
    ],
)
def test_a_problem_keeps_its_words_and_gets_a_code(status: int, code: ExitCode) -> None:
    failure = problem_of(status, BODY)
    assert (failure.message, failure.hint, failure.code) == ("Nothing is left.", "Wait.", code)


@pytest.mark.parametrize("content", [b"", b"<html>", b"[1]", b'{"detail":5}'])
def test_what_is_no_problem_is_told_by_its_status(content: bytes) -> None:
    assert problem_of(502, content).message == "The hub answered with status 502."
