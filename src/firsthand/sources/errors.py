"""What can go wrong with a source, as one tree by what the person who named it can do.

SourceError               message and, where something can be done, a hint
├── InvalidSource         the text is no source; write it otherwise
├── SourceNotFound        nothing is there, or nothing that the public may read
├── RefNotFound           the source is there, the branch, tag, commit or version is not
├── AuthenticationRequired  it asks for a password
├── EmptySource           it holds no commit or no file
├── SourceTooLarge        it passes a limit; the message names the limit
├── AddressRefused        it lies on a network that must not be reached
├── FetchTimedOut         no answer in time; try again
├── FetchFailed           the transfer failed; try again
└── ToolMissing           a program is missing on this machine; install it
"""


class SourceError(Exception):
    """An expected failure. `message` says what happened, `hint` what to do next."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class InvalidSource(SourceError):
    """The text does not name a source."""


class SourceNotFound(SourceError):
    """Nothing is there under this name."""


class RefNotFound(SourceError):
    """The source has no such branch, tag, commit or version."""


class AuthenticationRequired(SourceError):
    """The remote asks for a password."""


class EmptySource(SourceError):
    """There is nothing to read in it."""


class SourceTooLarge(SourceError):
    """A size limit is passed."""


class AddressRefused(SourceError):
    """The host lies on a private, loopback, link-local or reserved network."""


class FetchTimedOut(SourceError):
    """The remote or a step on this machine took longer than its time limit."""


class FetchFailed(SourceError):
    """The transfer or the unpacking failed."""


class ToolMissing(SourceError):
    """A program that is needed is not installed."""
