"""How an answer is set: whole blocks on a terminal, sources below, nothing that obeys."""

import io

import pytest

from firsthand.cli.answer_view import end_of_blocks, short_commit, source_lines
from firsthand.cli.terminal import ProgressLine, plain, size_for_people
from firsthand.protocol.events import AnsweredResource, Citation, Verdict


@pytest.mark.parametrize(
    ("text", "blocks"),
    [
        ("one", ""),
        ("one\n\ntwo", ""),
        ("one\n\ntwo\n", "one\n\n"),
        ("- a\n\n- b\n\nend\n", "- a\n\n- b\n\n"),
        ("1. a\n\n2. b\n", ""),
        ("```\na\n\nb\n", ""),
        ("```\na\n\nb\n```\n\nend\n", "```\na\n\nb\n```\n\n"),
        ("````\n```\n\nb\n````\n\nend\n", "````\n```\n\nb\n````\n\n"),
        ("one\n\ntwo\n\nthree\n", "one\n\ntwo\n\n"),
    ],
)
def test_a_block_is_shown_when_nothing_can_change_it(text: str, blocks: str) -> None:
    assert text[: end_of_blocks(text)] == blocks


def test_characters_that_a_terminal_obeys_are_replaced() -> None:
    hostile = "a\x1b]0;title\x07b\r\nc\td\x9b31m\u202e"
    assert plain(hostile) == "a\ufffd]0;title\ufffdb\nc\td\ufffd31m\ufffd"


def citation(path: str, start: int, end: int, verdict: Verdict) -> Citation:
    return Citation(
        resource="httpx",
        commit="c" * 40,
        path=path,
        start_line=start,
        end_line=end,
        url="https://host/x" if verdict is Verdict.VERIFIED else None,
        verdict=verdict,
    )


def test_sources_are_listed_once_with_their_verdicts() -> None:
    lines = source_lines(
        [
            citation("a.py", 1, 2, Verdict.VERIFIED),
            citation("long/b.py", 7, 7, Verdict.UNREAD),
            citation("a.py", 1, 2, Verdict.VERIFIED),
            citation("c.py", 1, 1, Verdict.MISSING),
        ],
        [AnsweredResource(name="httpx", ref="0.28.1", commit="sha256:" + "d" * 64)],
    )
    assert lines == [
        "",
        "Sources",
        "  ✓ httpx/a.py:1-2     read  https://host/x",
        "  · httpx/long/b.py:7  exists, was not read",
        "  ✗ httpx/c.py:1       does not exist",
        "",
        "Read at",
        "  httpx  0.28.1  sha256:dddddddddddd",
    ]


def test_an_answer_without_citations_has_no_empty_list() -> None:
    assert source_lines([], []) == []


def test_a_commit_is_shortened() -> None:
    assert short_commit("0123456789abcdef") == "0123456789ab"


@pytest.mark.requirement("CLI-4")
def test_progress_is_silent_where_nobody_looks() -> None:
    stream = io.StringIO()
    line = ProgressLine(stream)
    line.show("Receiving objects")
    line.clear()
    assert stream.getvalue() == ""


@pytest.mark.parametrize(
    ("count", "words"),
    [(0, "0 bytes"), (999, "999 bytes"), (1500, "1.5 kB"), (3 * 10**12, "3000.0 GB")],
)
def test_sizes_are_written_for_people(count: int, words: str) -> None:
    assert size_for_people(count) == words
