"""Tests use real parts, wait for what happens instead of for time, and are never left out."""

import ast
from collections.abc import Iterator

from script.rules.file import File, Problem

_SLEEPS = {"time.sleep", "asyncio.sleep", "anyio.sleep"}
_LEFT_OUT = {
    "pytest.skip",
    "pytest.xfail",
    "pytest.importorskip",
    "pytest.mark.skip",
    "pytest.mark.skipif",
    "pytest.mark.xfail",
}
_PATCHES = {"monkeypatch.setattr", "monkeypatch.setitem", "monkeypatch.delattr"}


def check(file: File) -> Iterator[Problem]:
    """Yield sleeps, mocks and skips in tests."""
    if not file.is_python or file.parts[0] != "tests":
        return
    # A double may play somebody who is slow; a test itself never waits for time.
    is_test = file.parts[-1].startswith(("test_", "conftest"))
    for node in ast.walk(file.tree):
        if isinstance(node, ast.Attribute):
            yield from _attribute(file, node, is_test=is_test)
        elif isinstance(node, ast.ImportFrom | ast.Import) and _imports_mock(node):
            yield file.problem(node, "no mocks: use the real part or its in-memory twin")


def _attribute(file: File, node: ast.Attribute, *, is_test: bool) -> Iterator[Problem]:
    name = ast.unparse(node)
    if is_test and name in _SLEEPS:
        yield file.problem(node, f"{name}: wait for the event itself, with a bound")
    elif name in _LEFT_OUT:
        yield file.problem(node, f"{name}: a test runs or does not exist")
    elif name in _PATCHES:
        yield file.problem(node, f"{name}: hand the part in instead of patching it")


def _imports_mock(node: ast.ImportFrom | ast.Import) -> bool:
    module = node.module if isinstance(node, ast.ImportFrom) else None
    names = [alias.name for alias in node.names]
    return (
        module == "unittest.mock"
        or "unittest.mock" in names
        or (module == "unittest" and "mock" in names)
    )
