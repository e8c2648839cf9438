"""Files of a checkout: bounded, inside the tree, and saying why something is not shown."""

from pathlib import Path

import pytest

from firsthand.hub.errors import NotFound
from firsthand.hub.web.files import MAX_BYTES, Folder, TextFile, excerpt, look, window


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    top = tmp_path / "tree"
    (top / "src").mkdir(parents=True)
    (top / "src" / "a.py").write_text("".join(f"line_{n} = {n}\n" for n in range(1, 101)))
    (top / "b.bin").write_bytes(b"a\0b")
    (top / "empty").touch()
    (top / "latin.txt").write_bytes(b"caf\xe9\r\nnext\r\n")
    (tmp_path / "secret").write_text("secret")
    (top / "out").symlink_to(tmp_path / "secret")
    (top / "loop").symlink_to("loop")
    (top / "in").symlink_to("src/a.py")
    return top


def test_a_folder_lists_folders_first(tree: Path) -> None:
    found = look(tree, "")
    assert isinstance(found, Folder)
    assert (found.entries[0].name, found.entries[0].folder) == ("src", True)
    assert found.left_off == 0


def test_a_file_has_its_lines(tree: Path) -> None:
    found = look(tree, "src/a.py")
    assert isinstance(found, TextFile)
    assert len(found.lines) == 100
    assert "line_7" in found.lines[6]
    assert isinstance(look(tree, "in"), TextFile)


@pytest.mark.parametrize(
    "path", ["../secret", "src/../../secret", "out", "loop", "nothing", "src/a.py/x", "a\0b"]
)
@pytest.mark.requirement("SRC-12")
def test_nothing_outside_the_tree_is_shown(tree: Path, path: str) -> None:
    with pytest.raises(NotFound):
        look(tree, path)
    assert excerpt(tree, path, 1, 2) == ""


def test_an_absolute_path_is_meant_within_the_tree(tree: Path) -> None:
    assert isinstance(look(tree, "/src/a.py"), TextFile)
    with pytest.raises(NotFound):
        look(tree, "/etc/hostname")


def test_what_cannot_be_shown_says_why(tree: Path) -> None:
    (tree / "large").write_bytes(b"x" * (MAX_BYTES + 1))
    notices = {name: look(tree, name) for name in ("b.bin", "empty", "large")}
    texts = {name: found.notice for name, found in notices.items() if isinstance(found, TextFile)}
    assert "binary" in (texts["b.bin"] or "")
    assert "empty" in (texts["empty"] or "")
    assert "2.0 MB" in (texts["large"] or "")


def test_broken_encodings_and_foreign_line_ends_are_readable(tree: Path) -> None:
    found = look(tree, "latin.txt")
    assert isinstance(found, TextFile)
    assert list(found.lines) == ["caf\N{REPLACEMENT CHARACTER}", "next"]


def test_an_excerpt_marks_its_range_in_a_little_context(tree: Path) -> None:
    html = excerpt(tree, "src/a.py", 10, 12)
    assert html.count('class="line on"') == 3
    assert html.count('class="line"') == 4
    assert 'data-n="8"' in html
    assert excerpt(tree, "src/a.py", 500, 600) == ""
    assert excerpt(tree, "src/a.py", 1, 100_000).count("line on") <= 100


def test_a_window_is_cut_to_what_there_is(tree: Path) -> None:
    found = look(tree, "src/a.py")
    assert isinstance(found, TextFile)
    lines = window(found.lines, -3, 1000, (99, 100))
    assert [line.number for line in lines] == list(range(1, 101))
    assert [line.number for line in lines if line.marked] == [99, 100]
