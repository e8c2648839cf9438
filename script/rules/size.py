"""Modules and functions stay small enough to be read at once."""

from collections.abc import Iterator

from script.rules.file import File, Problem

MODULE_LINES = 450
FUNCTION_LINES = 60

# What may be longer, each with the reason.
LONGER: dict[str, str] = {
    "src/firsthand/hub/wiring.py": "one list of parts in the order in which they need each other",
    "tests/feature/sandboxes/probe.py": "runs alone inside a sandbox, where it can import nothing",
}


def check(file: File) -> Iterator[Problem]:
    """Yield modules and functions beyond the bound."""
    if not file.is_python or file.path in LONGER:
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
