"""Runs the asynchronous part of a command to its end, or until Ctrl-C has stopped it."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from firsthand.cli.failures import CommandFailed, Interrupted, translated

T = TypeVar("T")


def run(body: Callable[[], Awaitable[T]]) -> T:
    """Run it in an event loop. Raises `CommandFailed`, or `Interrupted` after Ctrl-C."""
    import anyio

    try:
        with translated():
            try:
                return anyio.run(body)
            except BaseExceptionGroup as group:
                raise _first_of(group) from group
    except KeyboardInterrupt as error:
        raise Interrupted from error


def _first_of(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the error that people should hear of: groups come from tasks run side by side."""
    leaves: list[BaseException] = []
    pending: list[BaseException] = [group]
    while pending:
        error = pending.pop(0)
        if isinstance(error, BaseExceptionGroup):
            pending.extend(error.exceptions)  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]  # narrowed to an unknown member type
        else:
            leaves.append(error)
    return next((error for error in leaves if isinstance(error, CommandFailed)), leaves[0])
