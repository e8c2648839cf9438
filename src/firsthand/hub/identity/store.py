"""Accounts, sessions and sign-in links in the database. Tokens are kept as hashes only."""

from collections.abc import Generator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, delete, exists, insert, select, update
from sqlalchemy.exc import IntegrityError

from firsthand.hub.db.schema import sessions, sign_in_links, users
from firsthand.hub.errors import Conflict
from firsthand.hub.identity.principal import Role
from firsthand.hub.identity.user import User
from firsthand.hub.ids import UserId


def add_user(conn: Connection, user: User) -> None:
    """Store a new account. Raises `Conflict` if the login is taken."""
    statement = insert(users).values(
        id=user.id,
        name=user.name,
        login=user.login,
        password_hash=user.password_hash,
        role=user.role.value,
        created_at=user.created_at,
    )
    with _login_may_be_taken():
        conn.execute(statement)


def get_user(conn: Connection, user_id: UserId) -> User | None:
    """Return the account, or nothing."""
    return _user(conn.execute(select(users).where(users.c.id == user_id)).first())


def find_user_by_login(conn: Connection, login: str) -> User | None:
    """Return the account with this login in plain form, or nothing."""
    return _user(conn.execute(select(users).where(users.c.login == login)).first())


def find_owner(conn: Connection) -> User | None:
    """Return the first person of this hub, or nothing before they came."""
    query = select(users).where(users.c.role == Role.OWNER.value).order_by(users.c.created_at)
    return _user(conn.execute(query).first())


def list_users(conn: Connection) -> list[User]:
    """Return all accounts, oldest first."""
    rows = conn.execute(select(users).order_by(users.c.created_at, users.c.id))
    return [user for row in rows if (user := _user(row)) is not None]


def set_login(conn: Connection, user_id: UserId, login: str, password_hash: str) -> None:
    """Store login and password. Raises `Conflict` if the login is taken."""
    statement = (
        update(users).where(users.c.id == user_id).values(login=login, password_hash=password_hash)
    )
    with _login_may_be_taken():
        conn.execute(statement)


def replace_hash(conn: Connection, user_id: UserId, old: str, new: str) -> None:
    """Store the same password under a new hash, unless it was changed meanwhile."""
    conn.execute(
        update(users)
        .where(users.c.id == user_id, users.c.password_hash == old)
        .values(password_hash=new)
    )


def owner_has_password(conn: Connection) -> bool:
    """Say whether an owner can sign in without a link."""
    query = select(
        exists().where(users.c.role == Role.OWNER.value, users.c.password_hash.is_not(None))
    )
    return bool(conn.execute(query).scalar())


def add_session(
    conn: Connection, token_hash: str, user_id: UserId, now: datetime, life: timedelta
) -> None:
    """Store a session and drop those that have ended."""
    conn.execute(delete(sessions).where(sessions.c.expires_at <= now))
    conn.execute(
        insert(sessions).values(
            token_hash=token_hash, user_id=user_id, created_at=now, expires_at=now + life
        )
    )


def find_session(conn: Connection, token_hash: str, now: datetime) -> tuple[User, datetime] | None:
    """Return the user of a live session and when it ends, or nothing."""
    row = conn.execute(
        select(users, sessions.c.expires_at)
        .join(sessions, sessions.c.user_id == users.c.id)
        .where(sessions.c.token_hash == token_hash, sessions.c.expires_at > now)
    ).first()
    user = _user(row)
    return None if row is None or user is None else (user, row.expires_at)


def extend_session(conn: Connection, token_hash: str, expires_at: datetime) -> None:
    """Let a session that was not ended meanwhile live until `expires_at`."""
    conn.execute(
        update(sessions).where(sessions.c.token_hash == token_hash).values(expires_at=expires_at)
    )


def remove_session(conn: Connection, token_hash: str) -> None:
    """End a session."""
    conn.execute(delete(sessions).where(sessions.c.token_hash == token_hash))


def remove_sessions_of(conn: Connection, user_id: UserId, *, but: str | None) -> None:
    """End all sessions of a user, except the one with the token hash `but`."""
    conn.execute(
        delete(sessions).where(sessions.c.user_id == user_id, sessions.c.token_hash != (but or ""))
    )


def add_link(conn: Connection, token_hash: str, now: datetime, life: timedelta) -> None:
    """Store a sign-in link and drop those that have ended."""
    conn.execute(delete(sign_in_links).where(sign_in_links.c.expires_at <= now))
    conn.execute(
        insert(sign_in_links).values(token_hash=token_hash, created_at=now, expires_at=now + life)
    )


def claim_link(conn: Connection, token_hash: str, now: datetime) -> bool:
    """Use up a link; only one caller ever wins."""
    claimed = conn.execute(
        update(sign_in_links)
        .where(
            sign_in_links.c.token_hash == token_hash,
            sign_in_links.c.used_at.is_(None),
            sign_in_links.c.expires_at > now,
        )
        .values(used_at=now)
    )
    return claimed.rowcount == 1


def remove_unused_links(conn: Connection) -> None:
    """Make every link worthless that nobody used."""
    conn.execute(delete(sign_in_links).where(sign_in_links.c.used_at.is_(None)))


@contextmanager
def _login_may_be_taken() -> Generator[None]:
    try:
        yield
    except IntegrityError as error:
        raise Conflict("This login is taken.", hint="Choose another one.") from error


def _user(row: Row[Any] | None) -> User | None:
    if row is None:
        return None
    return User(
        id=UserId(row.id),
        name=row.name,
        login=row.login,
        role=Role(row.role),
        created_at=row.created_at,
        password_hash=row.password_hash,
    )
