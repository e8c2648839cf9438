"""Removing and walking folders that others have filled."""

import os
import subprocess
from collections.abc import Generator
from pathlib import Path

import pytest

from firsthand.sources.mirrors import remove_leftovers
from firsthand.sources.work import WorkFolders, delete_tree, walk_files

# Beyond Python's own limit on nested calls, which is 1,000.
_DEEP = 1_500

pytestmark = pytest.mark.requirement("SRC-12")


@pytest.fixture
def place(tmp_path: Path) -> Generator[Path]:
    yield tmp_path
    # What a failure leaves is nested too deep for pytest to remove.
    subprocess.run(["rm", "-rf", "--", str(tmp_path)], check=True)


def _nest(folder: Path, file: str) -> None:
    """Make a file that lies deeper than any path can name."""
    folder.mkdir(parents=True)
    inner = os.open(folder, os.O_RDONLY)
    for _ in range(_DEEP):
        os.mkdir("abc", dir_fd=inner)
        outer, inner = inner, os.open("abc", os.O_RDONLY, dir_fd=inner)
        os.close(outer)
    os.close(os.open(file, os.O_WRONLY | os.O_CREAT, dir_fd=inner))
    os.close(inner)


async def test_a_deeply_nested_tree_is_removed_and_the_folder_let_go(place: Path) -> None:
    (place / "work").mkdir()
    folders = WorkFolders(place / "work", place / "lock")
    async with folders.new() as folder:
        _nest(folder / "tree", "file")
    assert list((place / "work").iterdir()) == []

    _nest(place / "work" / "abandoned", "file")
    assert await folders.remove_abandoned() == 1
    assert list((place / "work").iterdir()) == []


def test_read_only_folders_and_links_are_removed_and_nothing_behind_a_link(place: Path) -> None:
    kept = place / "kept"
    kept.mkdir()
    tree = place / "tree"
    (tree / "a" / "b").mkdir(parents=True)
    (tree / "a" / "b" / "file").touch()
    (tree / "a" / "link").symlink_to(kept)
    (tree / "a" / "b").chmod(0o555)
    (tree / "a").chmod(0o555)

    delete_tree(tree)

    assert not tree.exists()
    assert kept.is_dir()


def test_files_are_found_at_any_depth_and_never_behind_a_link(place: Path) -> None:
    refs = place / "mirror.git" / "refs"
    refs.mkdir(parents=True)
    (refs / "link").symlink_to(place)
    deep = refs
    for _ in range(_DEEP):
        deep /= "a"
    subprocess.run(["mkdir", "-p", "--", str(deep)], check=True)
    (deep / "main").touch()
    (deep / "main.lock").touch()

    assert {path.name for path in walk_files(refs)} == {"main", "main.lock"}
    remove_leftovers(place / "mirror.git")
    assert {path.name for path in walk_files(refs)} == {"main"}
