"""What a rule sees: one tracked file, parsed once, and how it reports."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath


@dataclass(frozen=True, slots=True)
class Problem:
    """A broken rule at a line, in words that say what to do instead."""

    path: str
    line: int
    message: str

    def __str__(self) -> str:
        """Return it in the form that editors understand."""
        return f"{self.path}:{self.line}: {self.message}"


@dataclass(frozen=True)
class File:
    """A tracked text file; `path` is relative to the project, with forward slashes."""

    path: str
    text: str

    @property
    def parts(self) -> tuple[str, ...]:
        """The folders and the name."""
        return PurePosixPath(self.path).parts

    @property
    def is_python(self) -> bool:
        """Whether `tree` may be asked for."""
        return self.path.endswith(".py")

    @property
    def is_product(self) -> bool:
        """Whether it is Python of the product itself, not of tests or scripts."""
        return self.is_python and self.path.startswith("src/")

    @cached_property
    def lines(self) -> list[str]:
        """The lines without their ends."""
        return self.text.splitlines()

    @cached_property
    def tree(self) -> ast.Module:
        """The parsed module."""
        return ast.parse(self.text, self.path)

    def functions(self) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
        """Every function, methods and inner ones included."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield node

    def problem(self, node: ast.AST | int, message: str) -> Problem:
        """Return a problem at a node or line of this file."""
        line = node if isinstance(node, int) else getattr(node, "lineno", 1)
        return Problem(self.path, line, message)


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[ast.arg]:
    """Return all named parameters of a function."""
    return [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]


def words(annotation: ast.expr | None) -> set[str]:
    """Return the plain names in an annotation: `Sequence[RunId] | None` gives both names."""
    if annotation is None:
        return set()
    names = {node.id for node in ast.walk(annotation) if isinstance(node, ast.Name)}
    return names | {node.attr for node in ast.walk(annotation) if isinstance(node, ast.Attribute)}
