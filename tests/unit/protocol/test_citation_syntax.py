"""Citations are found wherever people and models write them, and nowhere else."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firsthand.protocol.citation_syntax import find_citations, write_citation

pytestmark = pytest.mark.requirement("AGT-13")


def found(text: str, *names: str) -> list[tuple[str, str, int, int]]:
    return [
        (mark.resource, mark.path, mark.start_line, mark.end_line)
        for mark in find_citations(text, names)
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("See [httpx/httpx/_client.py:10-20].", ("httpx", "httpx/_client.py", 10, 20)),
        ("See [httpx/setup.py:7].", ("httpx", "setup.py", 7, 7)),
        ("See [httpx/setup.py:L7-L9].", ("httpx", "setup.py", 7, 9)),
        ("See [httpx/setup.py:7\u20139].", ("httpx", "setup.py", 7, 9)),
        ("See `[httpx/setup.py:7]`.", ("httpx", "setup.py", 7, 7)),
        ("See [`httpx/setup.py:7-8`].", ("httpx", "setup.py", 7, 8)),
        ("See [@scope/pkg/lib/a.js:1-2].", ("@scope/pkg", "lib/a.js", 1, 2)),
        ("[demo/a file (copy).md:3]", ("demo", "a file (copy).md", 3, 3)),
        ("[demo/src/[id]/page.ts:3] [demo/b.ts:4]", ("demo", "b.ts", 4, 4)),
    ],
)
def test_a_citation_is_found(text: str, expected: tuple[str, str, int, int]) -> None:
    assert expected in found(text)


@pytest.mark.parametrize(
    "text",
    [
        "[a link](https://example.org/a:10)",
        "[ ] a task",
        "array[1:2] and array[a/b]",
        "[setup.py:7]",
        "[demo/a.py:0]",
        "[demo/a.py:9-3]",
        "```python\nx = [demo/a.py:3]\n```",
        "~~~\n[demo/a.py:3]\n```\n[demo/a.py:3]\n~~~",
        "```\n[demo/a.py:3] in a fence that never ends",
    ],
)
def test_no_citation_is_found(text: str) -> None:
    assert found(text) == []


def test_several_in_one_bracket() -> None:
    text = "Both [demo/a.py:1-2; demo/b.py:3, demo/c.py:4]."
    assert [path for _, path, _, _ in found(text)] == ["a.py", "b.py", "c.py"]
    marks = find_citations(text)
    assert text[marks[1].start : marks[1].end] == "demo/b.py:3"


def test_after_a_fence_citations_count_again() -> None:
    assert found("```\n[demo/a.py:1]\n```\n[demo/b.py:2]") == [("demo", "b.py", 2, 2)]


def test_known_names_win_longest_first() -> None:
    text = "[owner/repo/src/a.py:1]"
    assert found(text) == [("owner", "repo/src/a.py", 1, 1)]
    assert found(text, "owner", "owner/repo") == [("owner/repo", "src/a.py", 1, 1)]


def test_the_mark_covers_the_whole_citation() -> None:
    text = "It is so [demo/a.py:1-2], as said."
    (mark,) = find_citations(text)
    assert text[mark.start : mark.end] == "[demo/a.py:1-2]"


_names = st.from_regex(r"[a-z][a-z0-9._-]{0,20}", fullmatch=True)


@given(resource=_names, path=_names, start=st.integers(1, 10**6), length=st.integers(0, 500))
def test_what_is_written_is_found(resource: str, path: str, start: int, length: int) -> None:
    text = f"Before {write_citation(resource, path, start, start + length)} after."
    assert found(text) == [(resource, path, start, start + length)]


@given(st.text(alphabet="[]()`~:/-,;a1\n ", max_size=200))
def test_any_text_is_read_to_its_end(text: str) -> None:
    for mark in find_citations(text):
        assert 0 <= mark.start < mark.end <= len(text)
        assert 1 <= mark.start_line <= mark.end_line


def test_a_text_of_slashes_is_read_as_quickly_as_any_other() -> None:
    def seconds(character: str) -> float:
        begun = time.process_time()
        assert find_citations(("[" + character * 1_999 + "]") * 100) == []
        return time.process_time() - begun

    # Tried in every way, the slashes would take thousands of times as long.
    assert seconds("/") < 50 * seconds("a")
