"""An account, and the rules for its name, login and password."""

import unicodedata
from dataclasses import dataclass, field
from datetime import datetime

from firsthand.hub.errors import BadInput
from firsthand.hub.identity.principal import Principal, Role, scopes_of
from firsthand.hub.ids import UserId

NAME_CHARS = 128
LOGIN_CHARS = 254
PASSWORD_MIN_CHARS = 10
# Bounds the work of hashing, far above what a person chooses.
PASSWORD_MAX_CHARS = 1024


@dataclass(frozen=True, slots=True)
class User:
    """A person with an account here. Without a login they come in by a link only."""

    id: UserId
    name: str
    login: str | None
    role: Role
    created_at: datetime
    password_hash: str | None = field(default=None, repr=False)

    def as_principal(self) -> Principal:
        """Mint the principal of this user with everything their role allows."""
        return Principal(self.id, self.name, self.role, scopes_of(self.role))


def check_name(name: str) -> str:
    """Return the name for display, tidied, or raise `BadInput`."""
    tidied = " ".join(name.split())
    if not 1 <= len(tidied) <= NAME_CHARS or not tidied.isprintable():
        raise BadInput(f"A name has 1 to {NAME_CHARS} printable characters.")
    return tidied


def plain_login(login: str) -> str:
    """Return the form in which logins are compared: NFKC, lower case, no space around."""
    return unicodedata.normalize("NFKC", login).strip().lower()


def check_login(login: str) -> str:
    """Return a login in plain form, or raise `BadInput`."""
    plain = plain_login(login)
    if not 1 <= len(plain) <= LOGIN_CHARS or not plain.isprintable() or " " in plain:
        raise BadInput(
            f"A login has 1 to {LOGIN_CHARS} characters and no spaces.",
            hint="An e-mail address or a short name will do.",
        )
    return plain


def check_password(password: str) -> str:
    """Return the password, or raise `BadInput`. Length is all that is asked (NIST SP 800-63B)."""
    if not PASSWORD_MIN_CHARS <= len(password) <= PASSWORD_MAX_CHARS:
        raise BadInput(
            f"A password has {PASSWORD_MIN_CHARS} to {PASSWORD_MAX_CHARS} characters.",
            hint="A few words with spaces between them are easy to remember.",
        )
    return password
