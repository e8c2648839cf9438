import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from firsthand.sources.index.build import build_index
from firsthand.sources.index.layout import IndexUnusable, is_current
from firsthand.sources.index.search import SearchIndex

pytestmark = pytest.mark.requirement("SRC-17")

SESSIONS = '''\
"""Sessions keep settings between requests."""


class Session:
    """Keeps cookies and connections."""

    def send(self, request):
        """Send a prepared request."""
        return self.adapter.send(request)

    def resolve_redirects(self, response):
        """Follow redirects until the limit is reached."""
        while response.is_redirect:
            response = self.send(response.next)
        return response
'''


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    files = {
        "src/pkg/sessions.py": SESSIONS,
        "src/pkg/adapters.py": "class HTTPAdapter:\n    def send(self, request):\n        pass\n",
        "src/pkg/vendor/sessions.py": SESSIONS,
        "tests/test_sessions.py": "def test_send():\n    assert Session().send(1)\n",
        "docs/quickstart.md": "# Quickstart\n\nCookies are kept in a jar.\n",
        "bad.py": "caf\xe9 = 'broken'\n",
    }
    for name, text in files.items():
        path = tmp_path / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode("latin-1"))
    (tmp_path / "tree" / "logo.bin").write_bytes(b"\0" * 100)
    (tmp_path / "tree" / "escape").symlink_to("/etc")
    return tmp_path / "tree"


@pytest.fixture
def index(tree: Path, tmp_path: Path) -> Path:
    build_index(tree, tmp_path / "index")
    return tmp_path / "index"


def test_the_defining_passage_comes_first(tree: Path, index: Path) -> None:
    best = SearchIndex(index, tree).search("How are redirects followed?")[0]

    assert best.path == "src/pkg/sessions.py"
    assert (best.start_line, best.end_line) == (1, 15)


def test_an_identifier_is_found_by_its_parts_and_as_a_whole(tree: Path, index: Path) -> None:
    search = SearchIndex(index, tree)

    for words in ("HTTPAdapter", "http adapter", "HttpAdapter"):
        assert search.search(words)[0].path == "src/pkg/adapters.py"


def test_prefixes_confine_the_search(tree: Path, index: Path) -> None:
    search = SearchIndex(index, tree)

    paths = {hit.path for hit in search.search("send cookies", path_prefixes=["tests", "docs/"])}

    assert paths == {"tests/test_sessions.py", "docs/quickstart.md"}
    assert search.search("send", path_prefixes=["src/pk"]) == []
    assert (
        search.search("send", path_prefixes=["src/pkg/adapters.py"])[0].symbol == "HTTPAdapter.send"
    )


def test_odd_searches_give_an_empty_or_ordinary_answer(tree: Path, index: Path) -> None:
    search = SearchIndex(index, tree)

    assert search.search("") == []
    assert search.search("?!%") == []
    assert search.search("send", limit=0) == []
    assert len(search.search("send", limit=2)) == 2
    assert search.search('zzz:"qqq OR ((vvv \x00') == []
    assert search.search("send " * 20_000)


def test_symbols_are_found_by_plain_and_qualified_name(tree: Path, index: Path) -> None:
    search = SearchIndex(index, tree)

    found = search.find_symbols("Session.send")
    assert [s.path for s in found] == ["src/pkg/sessions.py", "src/pkg/vendor/sessions.py"]
    assert found[0].start_line == 7
    assert {s.qualified_name for s in search.find_symbols("send")} == {
        "Session.send",
        "HTTPAdapter.send",
    }
    assert search.find_symbols("redirects resolve")[0].name == "resolve_redirects"
    assert search.find_symbols("Session::send()")[0].qualified_name == "Session.send"
    assert search.find_symbols("") == []
    assert search.find_symbols("zzz") == []


def test_an_index_without_files_answers(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    stats = build_index(tmp_path / "empty", tmp_path / "index")

    assert stats.files == 0
    assert SearchIndex(tmp_path / "index", tmp_path / "empty").search("anything") == []
    assert SearchIndex(tmp_path / "index", tmp_path / "empty").find_symbols("anything") == []


def test_the_command_builds_an_index_that_is_current(tree: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "firsthand.sources.index", str(tree), str(tmp_path / "made")]

    done = subprocess.run(command, check=True, capture_output=True, timeout=60)

    assert b'"files":6' in done.stdout
    assert is_current(tmp_path / "made")


def test_an_incomplete_or_foreign_index_is_told_apart(tree: Path, index: Path) -> None:
    assert is_current(index)
    (index / "format.json").write_text('{"version": 0, "stats": {}}')
    assert not is_current(index)
    (index / "format.json").unlink()
    assert not is_current(index)
    with pytest.raises(IndexUnusable):
        SearchIndex(index, tree).search("send")


@pytest.fixture
def read_only(index: Path) -> Iterator[Path]:
    for folder, _, files in os.walk(index):
        for name in files:
            (Path(folder) / name).chmod(0o444)
        Path(folder).chmod(0o555)
    yield index
    for folder, _, _ in os.walk(index):
        Path(folder).chmod(0o755)


def test_searching_writes_nothing_beside_the_index(tree: Path, read_only: Path) -> None:
    before = sorted(path.name for path in read_only.rglob("*"))

    assert SearchIndex(read_only, tree).search("send")

    assert sorted(path.name for path in read_only.rglob("*")) == before
