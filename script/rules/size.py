"""Modules and functions stay small enough to be read at once."""

from collections.abc import Iterator

from script.rules.file import File, Problem

MODULE_LINES = 450
FUNCTION_LINES = 60


def check(file: File) -> Iterator[Problem]:
    """Yield modules and functions beyond the bound."""
    if not file.is_python:
        return
    if len(file.lines) > MODULE_LINES:
        yield file.problem(1, f"{len(file.lines)} lines, at most {MODULE_LINES}: split it")
    if "migrations" in file.parts:
        return  # A migration is one list of statements, written once and never changed.
    for function in file.functions():
        length = (function.end_lineno or function.lineno) - function.lineno + 1
        if length > FUNCTION_LINES:
            yield file.problem(
                function, f"{function.name} has {length} lines, at most {FUNCTION_LINES}: split it"
            )
