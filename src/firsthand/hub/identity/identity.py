"""Use cases of accounts: come in by link or password, stay by session, leave.

Everything that a new user needs beside the account is made by a hook in the same transaction, so
that this package need not know of projects and instances.
"""

import secrets
from collections.abc import Callable
from datetime import timedelta
from typing import NamedTuple

from firsthand.hub.clock import Clock, utc_now
from firsthand.hub.db.engine import Connection, Database
from firsthand.hub.errors import NotAllowed, NotSignedIn
from firsthand.hub.identity import store
from firsthand.hub.identity.passwords import Passwords
from firsthand.hub.identity.principal import Principal, Role, Scope
from firsthand.hub.identity.slow_down import SlowDown
from firsthand.hub.identity.user import (
    LOGIN_CHARS,
    User,
    check_login,
    check_name,
    check_password,
    plain_login,
)
from firsthand.hub.ids import UserId, hash_token, new_token, new_user_id

# The cookie in which every entrance finds the token of a session.
SESSION_COOKIE = "firsthand_session"
SESSION_LIFE = timedelta(days=30)
LINK_LIFE = timedelta(hours=24)
# A session in use is prolonged at most once a day, so that reading a page rarely writes.
_PROLONG_AFTER = timedelta(days=1)
_WRONG = "Login and password do not belong together."

NewUserHook = Callable[[Connection, UserId], None]


def _nobody_waits() -> None:
    """Tell nobody of a new user."""


class SignedIn(NamedTuple):
    """A fresh session: the token goes into a cookie and nowhere else."""

    token: str
    principal: Principal


class Identity:
    """The only maker of principals."""

    def __init__(
        self,
        database: Database,
        *,
        on_new_user: NewUserHook,
        after_new_user: Callable[[], None] = _nobody_waits,
        clock: Clock = utc_now,
        passwords: Passwords | None = None,
    ) -> None:
        self._database = database
        self._on_new_user = on_new_user
        # Called when one may have been committed: a hint, safe to give too often.
        self._after_new_user = after_new_user
        self._clock = clock
        self._passwords = passwords or Passwords()
        self._slow_down = SlowDown(clock)
        self._local_token_hash: str | None = None

    # Sessions

    async def sign_in(self, login: str, password: str, *, address: str = "") -> SignedIn:
        """Open a session. `address` is where the attempt comes from, to slow down guessing.

        Raises `NotSignedIn` if login and password do not belong together, `TooMany` to who guesses.
        """
        plain = plain_login(login)
        if len(plain) > LOGIN_CHARS:
            # Nobody's, and nothing to remember: memory is bounded by the length of a login.
            raise NotSignedIn(_WRONG)
        self._slow_down.begin(plain, address)
        user = await self._database.read(lambda conn: store.find_user_by_login(conn, plain))
        stored = user.password_hash if user else None
        if not await self._passwords.matches(password, stored) or user is None or stored is None:
            raise NotSignedIn(_WRONG)
        self._slow_down.succeeded(plain, address)
        if self._passwords.is_outdated(stored):
            renewed = await self._passwords.hash(password)
            await self._database.write(
                lambda conn: store.replace_hash(conn, user.id, stored, renewed)
            )
        return await self._database.write(lambda conn: self._open_session(conn, user))

    async def sign_out(self, token: str) -> None:
        """End the session; does nothing if it is over."""
        await self._database.write(lambda conn: store.remove_session(conn, hash_token(token)))

    async def by_session(self, token: str) -> Principal:
        """Return who holds this session. Raises `NotSignedIn` if it is over or never was."""
        now, token_hash = self._clock(), hash_token(token)
        found = await self._database.read(lambda conn: store.find_session(conn, token_hash, now))
        if found is None:
            raise NotSignedIn("The session is over.", hint="Sign in again.")
        user, expires_at = found
        if now + SESSION_LIFE - expires_at >= _PROLONG_AFTER:
            await self._database.write(
                lambda conn: store.extend_session(conn, token_hash, now + SESSION_LIFE)
            )
        return user.as_principal()

    # The owner

    async def owner_has_password(self) -> bool:
        """Say whether the owner can sign in without a link."""
        return await self._database.read(store.owner_has_password)

    async def new_owner_link(self) -> str:
        """Return the token of a link that signs the owner in, once, within a day."""
        token, now = new_token(), self._clock()
        await self._database.write(
            lambda conn: store.add_link(conn, hash_token(token), now, LINK_LIFE)
        )
        return token

    async def use_owner_link(self, token: str) -> str:
        """Return the token of a session of the owner, who is made if this is the first time.

        Raises `NotSignedIn` if the link was used, is too old or never was.
        """

        def use(conn: Connection) -> str:
            if not store.claim_link(conn, hash_token(token), self._clock()):
                raise NotSignedIn(
                    "This link was used already or is too old.",
                    hint="Start Firsthand again to get a new one, or sign in with your password.",
                )
            return self._open_session(conn, self._owner(conn)).token

        session = await self._database.write(use)
        self._after_new_user()
        return session

    def new_local_token(self) -> str:
        """Return the token by which programs of the same system user act as the owner.

        It holds as long as this process; a second call ends the first token.
        """
        token = new_token()
        self._local_token_hash = hash_token(token)
        return token

    async def by_local_token(self, token: str) -> Principal:
        """Return the owner to who holds the local token. Raises `NotSignedIn`."""
        expected = self._local_token_hash
        if expected is None or not secrets.compare_digest(hash_token(token), expected):
            raise NotSignedIn("This token is not valid.")
        owner = await self._database.read(store.find_owner)
        if owner is None:
            owner = await self._database.write(self._owner)
            self._after_new_user()
        return owner.as_principal()

    # Accounts

    async def get_user(self, principal: Principal) -> User:
        """Return the principal's own account. Raises `NotSignedIn` if it was removed."""
        user = await self._database.read(lambda conn: store.get_user(conn, principal.user_id))
        if user is None:
            raise NotSignedIn("This account no longer exists.")
        return user

    async def set_password(
        self,
        principal: Principal,
        login: str,
        password: str,
        *,
        current: str | None = None,
        session: str | None = None,
    ) -> None:
        """Set login and password. Ends all sessions but `session`, and unused owner links.

        `current` is the present password, needed if there is one. Raises `BadInput`,
        `NotAllowed` if `current` is wrong, and `Conflict` if the login is taken.
        """
        plain, checked = check_login(login), check_password(password)
        user = await self.get_user(principal)
        if user.password_hash is not None and not await self._passwords.matches(
            current or "", user.password_hash
        ):
            raise NotAllowed("The present password is not right.")
        hashed = await self._passwords.hash(checked)

        def change(conn: Connection) -> None:
            store.set_login(conn, user.id, plain, hashed)
            kept = hash_token(session) if session else None
            store.remove_sessions_of(conn, user.id, but=kept)
            if user.role is Role.OWNER:
                store.remove_unused_links(conn)

        await self._database.write(change)

    async def create_member(
        self, principal: Principal, *, name: str, login: str, password: str
    ) -> User:
        """Make an account. Raises `NotAllowed`, `BadInput`, `Conflict` if the login is taken."""
        principal.require(Scope.ADMIN)
        plain, shown = check_login(login), check_name(name)
        hashed = await self._passwords.hash(check_password(password))
        user = User(new_user_id(), shown, plain, Role.MEMBER, self._clock(), hashed)
        await self._database.write(lambda conn: self._add(conn, user))
        self._after_new_user()
        return user

    async def list_users(self, principal: Principal) -> list[User]:
        """Return all accounts, oldest first. Raises `NotAllowed`."""
        principal.require(Scope.ADMIN)
        return await self._database.read(store.list_users)

    def _owner(self, conn: Connection) -> User:
        owner = store.find_owner(conn)
        if owner is None:
            owner = User(new_user_id(), "Owner", None, Role.OWNER, self._clock())
            self._add(conn, owner)
        return owner

    def _add(self, conn: Connection, user: User) -> None:
        store.add_user(conn, user)
        self._on_new_user(conn, user.id)

    def _open_session(self, conn: Connection, user: User) -> SignedIn:
        token = new_token()
        store.add_session(conn, hash_token(token), user.id, self._clock(), SESSION_LIFE)
        return SignedIn(token, user.as_principal())
