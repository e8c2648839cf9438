"""What can go wrong, as one tree by what the caller can do about it.

FirsthandError                 title, detail and, where something can be done, a hint
├── BadInput                   send something else (422)
├── NotSignedIn                sign in (401)
├── NotAllowed                 ask someone who may (403)
├── NotFound                   it does not exist for this principal (404)
├── Conflict                   the state does not allow it now; look again (409)
├── AllowanceUsedUp            buy, wait, or ask the operator (402)
├── TooMany                    wait and try again (429)
├── Unavailable                a part that we depend on is not there now; try again (503)
└── SettingsError              the operator must mend a setting; stops the start

Entrances turn these into answers in one place (`api/problems.py`); everything else that escapes
is a defect and answers 500.
"""


class FirsthandError(Exception):
    """An expected failure. `detail` says what happened, `hint` what to do next."""

    title = "Something went wrong"

    def __init__(self, detail: str, *, hint: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.hint = hint


class BadInput(FirsthandError):
    """What was sent cannot be accepted; the detail names the limit or the field."""

    title = "The input cannot be accepted"


class NotSignedIn(FirsthandError):
    """Nobody is signed in, or the credential is not valid."""

    title = "Sign in first"


class NotAllowed(FirsthandError):
    """The principal is known but may not do this."""

    title = "Not allowed"


class NotFound(FirsthandError):
    """Absent, or another user's: the two cannot be told apart."""

    title = "Not found"


class Conflict(FirsthandError):
    """The present state does not allow the operation."""

    title = "Not possible in this state"


class AllowanceUsedUp(FirsthandError):
    """The plan has nothing left for this."""

    title = "Allowance used up"


class TooMany(FirsthandError):
    """Too many attempts."""

    title = "Too many requests"


class Unavailable(FirsthandError):
    """A sandbox, model or remote that is needed is not there now."""

    title = "Not available now"


class SettingsError(FirsthandError):
    """A setting is wrong, half-set or missing; the detail names it."""

    title = "A setting is wrong"
