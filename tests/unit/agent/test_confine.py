"""No path leads out of a checkout, however it is written and whatever links there are."""

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firsthand.agent.errors import ToolError
from firsthand.agent.tools.confine import OutsideCheckout, find

pytestmark = pytest.mark.requirement("AGT-7")


@pytest.mark.parametrize(
    ("path", "real"),
    [
        ("", ""),
        (".", ""),
        ("src/client.py", "src/client.py"),
        ("./src//client.py", "src/client.py"),
        ("src/deep/../client.py", "src/client.py"),
        ("link.py", "src/client.py"),
    ],
)
def test_paths_inside_are_found(tree: Path, path: str, real: str) -> None:
    with find(tree, path) as found:
        assert found.real == real


@pytest.mark.parametrize(
    "path",
    [
        "../outside/secret.txt",
        "src/../../outside/secret.txt",
        "/etc/passwd",
        "up.txt",
        "absolute.txt",
        "folder",
        "folder/secret.txt",
    ],
)
def test_paths_outside_are_refused(tree: Path, path: str) -> None:
    with pytest.raises(OutsideCheckout):
        find(tree, path)


@pytest.mark.parametrize("path", ["nothing", "src/client.py/x", "round", "a\0b", "x" * 5_000])
def test_what_cannot_be_is_an_error_of_the_tool(tree: Path, path: str) -> None:
    with pytest.raises(ToolError):
        find(tree, path)


def test_a_found_file_is_read_even_when_its_name_changes(tree: Path, tmp_path: Path) -> None:
    with find(tree, "src/client.py") as found:
        (tree / "src" / "client.py").unlink()
        (tree / "src" / "client.py").symlink_to(tmp_path / "outside" / "secret.txt")
        fd = found.open()
    with os.fdopen(fd, "rb") as file:
        assert b"the secret" not in file.read()


def test_no_descriptor_is_left_open(tree: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    for path in ["src/client.py", "link.py", "folder/secret.txt", "nothing", "round", ""]:
        try:
            with find(tree, path):
                pass
        except ToolError:
            pass
    assert len(list(Path("/proc/self/fd").iterdir())) == before


_PARTS = st.sampled_from(
    ["..", ".", "", "src", "deep", "link.py", "folder", "up.txt", "round", "secret.txt", "~"]
)


@settings(max_examples=300, deadline=None)
@given(parts=st.lists(_PARTS, max_size=8))
def test_any_walk_ends_inside_or_is_refused(
    tmp_path_factory: pytest.TempPathFactory, parts: list[str]
) -> None:
    root = tmp_path_factory.getbasetemp() / "walk"
    tree = root / "tree"
    if not tree.exists():
        (tree / "src" / "deep").mkdir(parents=True)
        (root / "secret.txt").write_text("secret")
        (tree / "link.py").symlink_to("src/deep")
        (tree / "folder").symlink_to("..")
        (tree / "up.txt").symlink_to("../secret.txt")
        (tree / "round").symlink_to("src/../round")
    try:
        with find(tree, "/".join(parts)) as found:
            inside = (tree / found.real).resolve()
            assert inside == tree.resolve() or tree.resolve() in inside.parents
    except ToolError:
        pass
