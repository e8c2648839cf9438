"""A query of what somebody owns says whose it is: a principal, a typed id, or a token's hash."""

import ast
from collections.abc import Iterator

from script.rules.file import File, Problem, parameters, words

_OWNED = {
    "projects",
    "resources",
    "instances",
    "threads",
    "messages",
    "runs",
    "run_events",
    "idempotency_keys",
    "model_calls",
}

# Queries over every owner, each with the reason why it may be one.
EVERY_OWNER: dict[str, str] = {
    "instances.list_all": "the reconciler compares all instances with what the provider has",
    "instances.list_idle": "the reconciler stops whoever is idle",
    "projects.list_unfetched": "the fetcher goes on, at its start, with what was left half-way",
}


def check(file: File) -> Iterator[Problem]:
    """Yield the store queries that anyone could point at anyone's rows, and ids that are bare."""
    if not file.is_product or "hub" not in file.parts:
        return
    for function in file.functions():
        yield from _bare_ids(file, function)
    if file.parts[-1] == "store.py":
        for node in file.tree.body:
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                yield from _query(file, node)


def _query(file: File, function: ast.FunctionDef) -> Iterator[Problem]:
    annotations = [words(p.annotation) for p in parameters(function)]
    if not any("Connection" in names for names in annotations):
        return
    if not _tables(function) & _OWNED:
        return
    if f"{file.parts[-2]}.{function.name}" in EVERY_OWNER:
        return
    if not any(_says_whose(p) for p in parameters(function)):
        yield file.problem(
            function,
            f"{function.name} queries an owned table, but takes neither a principal nor a typed "
            "id (or, for all owners, name it with its reason in script/rules/ownership.py)",
        )


def _tables(function: ast.FunctionDef) -> set[str]:
    # `schema.runs`, `runs.c.id`, `select(runs)`: the table's name stands somewhere in the body.
    names = {node.id for node in ast.walk(function) if isinstance(node, ast.Name)}
    return names | {node.attr for node in ast.walk(function) if isinstance(node, ast.Attribute)}


def _says_whose(parameter: ast.arg) -> bool:
    if parameter.arg.endswith("token_hash"):
        return True
    return any(
        word == "Principal" or word.endswith("Id") or word in _CARRIERS
        for word in words(parameter.annotation)
    )


# Entities and records that carry the id of a row already found by its owner.
_CARRIERS = {"Instance", "Run", "Thread", "Message", "Project", "Resource", "TokenOwner"}


def _bare_ids(file: File, function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[Problem]:
    if file.parts[-1] == "store.py":
        for parameter in parameters(function):
            if parameter.arg.endswith("_id") and "str" in words(parameter.annotation):
                yield file.problem(function, f"{parameter.arg} is a bare str: use its type in ids")
