"""A module is named after what it is; some words say nothing."""

import ast
from collections.abc import Iterator

from script.rules.file import File, Problem

_EMPTY_WORDS = {
    "base",
    "common",
    "helper",
    "helpers",
    "manager",
    "managers",
    "misc",
    "service",
    "services",
    "shared",
    "types",
    "util",
    "utils",
}
_EMPTY_ENDINGS = ("Manager", "Service", "Helper", "Helpers", "Utils")


def check(file: File) -> Iterator[Problem]:
    """Yield modules, folders and classes with names that say nothing."""
    if not file.is_python:
        return
    for part in (*file.parts[:-1], file.parts[-1].removesuffix(".py")):
        if set(part.split("_")) & _EMPTY_WORDS:
            yield file.problem(1, f"the name {part!r} says nothing: name it after what it is")
    for node in ast.walk(file.tree):
        if isinstance(node, ast.ClassDef) and node.name.endswith(_EMPTY_ENDINGS):
            yield file.problem(node, f"the name {node.name!r} says nothing: name it after its job")
