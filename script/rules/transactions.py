"""A transaction is a plain function of a connection: nothing is awaited in it or leaves it."""

import ast
from collections.abc import Iterator

from script.rules.file import File, Problem, parameters

# Receivers of `.write(fn)` and `.read(fn)` that mean the database.
_DATABASES = {"db", "_db", "database", "_database"}
# Effects that must wait until the commit, and pauses that would hold the one writer.
_EFFECTS = {"publish", "sleep", "run_until_complete", "create_task", "start_soon"}


def check(file: File) -> Iterator[Problem]:
    """Yield every coroutine used as a transaction and every effect inside one."""
    if not file.is_product or "hub" not in file.parts:
        return
    coroutines = set(_coroutines(file.tree))
    for node in ast.walk(file.tree):
        if isinstance(node, ast.Call) and _is_transaction(node):
            yield from _handed_over(file, node, coroutines)
    for function in file.functions():
        if any(_is_connection(p) for p in parameters(function)):
            if isinstance(function, ast.AsyncFunctionDef):
                yield file.problem(
                    function, f"{function.name} takes a connection, so it must not be async"
                )
            yield from _effects(file, function)


def _coroutines(tree: ast.Module) -> Iterator[str]:
    """Yield async functions as they are spoken of: plainly, or with `self.` where methods."""
    for node in ast.walk(tree):
        before = "self." if isinstance(node, ast.ClassDef) else ""
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.AsyncFunctionDef):
                yield before + child.name


def _is_connection(parameter: ast.arg) -> bool:
    # Not `Callable[[Connection], T]`, which is how the database itself takes a transaction.
    annotation = parameter.annotation
    return annotation is not None and ast.unparse(annotation).split(".")[-1] == "Connection"


def _is_transaction(call: ast.Call) -> bool:
    function = call.func
    if not isinstance(function, ast.Attribute) or function.attr not in {"write", "read"}:
        return False
    receiver = function.value
    name = receiver.attr if isinstance(receiver, ast.Attribute) else getattr(receiver, "id", "")
    return name in _DATABASES


def _handed_over(file: File, call: ast.Call, coroutines: set[str]) -> Iterator[Problem]:
    for argument in call.args:
        name = ast.unparse(argument)
        if name in coroutines:
            yield file.problem(call, f"{name} is async and cannot be a transaction")
        if isinstance(argument, ast.Lambda):
            yield from _effects(file, argument)


def _effects(file: File, body: ast.AST) -> Iterator[Problem]:
    for node in ast.walk(body):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if name in _EFFECTS:
                yield file.problem(node, f"{name}() inside a transaction: do it after the commit")
