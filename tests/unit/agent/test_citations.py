"""Citations are checked against the files and against what was read."""

import time
from pathlib import Path

import pytest

from firsthand.agent.citations import check_citations
from firsthand.agent.tools.checkouts import Checkouts
from firsthand.agent.tools.reading import ReadLog
from firsthand.protocol.events import Citation, Verdict
from tests.unit.agent.conftest import checkout

pytestmark = pytest.mark.requirement("AGT-13")


def check(tree: Path, text: str, log: ReadLog | None = None) -> list[Citation]:
    return check_citations(text, Checkouts([checkout(tree)]), log or ReadLog())


def test_verdicts(tree: Path) -> None:
    log = ReadLog()
    log.add("demo", "src/client.py", 1, 8)
    log.add("demo", "src/client.py", 9, 10)
    verdicts = {
        (citation.path, citation.start_line): citation.verdict
        for citation in check(
            tree,
            "[demo/src/client.py:2-10] [demo/src/client.py:9-11] [demo/src/client.py:12-14] "
            "[demo/src/nothing.py:1] [demo/up.txt:1] [other/a.py:1] [demo/src:1]",
            log,
        )
    }
    assert verdicts == {
        ("src/client.py", 2): Verdict.VERIFIED,
        ("src/client.py", 9): Verdict.UNREAD,
        ("src/client.py", 12): Verdict.MISSING,
        ("src/nothing.py", 1): Verdict.MISSING,
        ("up.txt", 1): Verdict.MISSING,
        ("src", 1): Verdict.MISSING,
        ("other/a.py", 1): Verdict.MISSING,
    }


def test_a_link_leads_to_the_lines_at_the_commit(tree: Path) -> None:
    (tree / "a b#.py").write_text("x\n")
    first, second = check(tree, "[demo/a b#.py:1] [demo/nothing.py:1]")
    assert first.url == "https://example.org/demo/blob/c/a%20b%23.py#L1-L1"
    assert first.commit == "c" * 40
    assert second.url is None


def test_each_is_told_once_and_in_order(tree: Path) -> None:
    citations = check(tree, "[demo/README.md:3] [demo/src/client.py:1] [demo/README.md:3]")
    assert [citation.path for citation in citations] == ["README.md", "src/client.py"]


def test_the_name_of_the_only_checkout_may_be_left_out(tree: Path) -> None:
    (citation,) = check(tree, "[src/client.py:1-2]")
    assert (citation.resource, citation.path) == ("demo", "src/client.py")
    assert citation.verdict is Verdict.UNREAD


def test_reading_through_a_link_counts_for_the_file(tree: Path) -> None:
    log = ReadLog()
    log.add("demo", "src/client.py", 1, 2)
    assert check(tree, "[demo/link.py:1-2]", log)[0].verdict is Verdict.VERIFIED


def test_a_large_file_is_read_once_however_often_it_is_cited(tree: Path) -> None:
    (tree / "large.txt").write_text("some line of it\n" * 1_000_000)

    def seconds(count: int) -> float:
        text = " ".join(f"[demo/large.txt:{999_000 + n}]" for n in range(1, count + 1))
        begun = time.process_time()
        assert {citation.verdict for citation in check(tree, text)} == {Verdict.UNREAD}
        return time.process_time() - begun

    assert seconds(100) < 20 * seconds(1)
