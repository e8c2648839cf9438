"""How a command ends when it cannot do its work: exit code, one line, and a hint."""

from collections.abc import Generator
from contextlib import contextmanager
from enum import IntEnum


class ExitCode(IntEnum):
    """What the shell is told. 130 is the custom for a program ended by Ctrl-C."""

    DONE = 0
    FAILED = 1
    WRONG_USE = 2
    ALLOWANCE_USED_UP = 3
    INTERRUPTED = 130


class CommandFailed(Exception):
    """The command ends with this code; `message` says what happened, `hint` what to do next.

    `reported` says that a JSON object about it is on standard output already.
    """

    def __init__(
        self,
        message: str,
        hint: str | None = None,
        *,
        code: ExitCode = ExitCode.FAILED,
        reported: bool = False,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.code = code
        self.reported = reported


class Interrupted(Exception):
    """A person pressed Ctrl-C; what was running has been stopped."""


@contextmanager
def translated() -> Generator[None]:
    """Turn the expected errors of hub and sources into `CommandFailed`."""
    from firsthand.agent.errors import AgentError
    from firsthand.hub.errors import BadInput, FirsthandError
    from firsthand.sources.errors import InvalidSource, SourceError

    try:
        yield
    except InvalidSource as error:
        raise CommandFailed(error.message, error.hint, code=ExitCode.WRONG_USE) from error
    except SourceError as error:
        raise CommandFailed(error.message, error.hint) from error
    except AgentError as error:
        raise CommandFailed(error.message, error.hint) from error
    except BadInput as error:
        raise CommandFailed(error.detail, error.hint, code=ExitCode.WRONG_USE) from error
    except FirsthandError as error:
        raise CommandFailed(error.detail, error.hint) from error
