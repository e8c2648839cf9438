"""Only the outermost loops catch everything, and each says in its line why it may."""

import ast
import re
from collections.abc import Iterator

from script.rules.file import File, Problem

# The loops beyond which nobody could handle an error; they record it.
OUTERMOST = {
    "src/firsthand/agent/http/routes.py",
    "src/firsthand/agent/runs/loop.py",
    "src/firsthand/cli/main.py",
    "src/firsthand/hub/db/engine.py",
    "src/firsthand/hub/instances/lifecycle.py",
    "src/firsthand/hub/instances/reconcile.py",
    "src/firsthand/hub/projects/fetching.py",
    "src/firsthand/hub/sandboxes/in_memory/provider.py",
    "src/firsthand/hub/threads/relay.py",
    "src/firsthand/hub/workflows/engine.py",
}
_EVERYTHING = {"Exception", "BaseException"}
_REASON = re.compile(r"noqa: BLE001\s*(-|#)\s*\S+")


def check(file: File) -> Iterator[Problem]:
    """Yield every handler of everything outside those loops, or without a reason."""
    if not file.is_product:
        return
    for node in ast.walk(file.tree):
        if isinstance(node, ast.ExceptHandler) and _catches_everything(node):
            yield from _problems(file, node)


def _catches_everything(handler: ast.ExceptHandler) -> bool:
    if handler.type is None:
        return True
    return any(
        isinstance(node, ast.Name) and node.id in _EVERYTHING for node in ast.walk(handler.type)
    )


def _problems(file: File, handler: ast.ExceptHandler) -> Iterator[Problem]:
    if _raises_again(handler):
        return
    if file.path not in OUTERMOST:
        yield file.problem(
            handler,
            "catches everything: name the exceptions, or list this outermost loop in "
            "script/rules/exceptions.py",
        )
    if not _REASON.search(file.lines[handler.lineno - 1]):
        yield file.problem(handler, "catches everything: say why, `# noqa: BLE001 - the reason`")


def _raises_again(handler: ast.ExceptHandler) -> bool:
    last = handler.body[-1]
    return isinstance(last, ast.Raise)
