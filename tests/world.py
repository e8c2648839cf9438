"""The one fixture world: an owner, a member and a stranger, on a real SQLite file.

The member has things of their own; the stranger has an account and nothing else, and must never
see what is the member's. Time stands still until a test moves it. Sources are in memory.
"""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from argon2 import PasswordHasher

from firsthand.hub.db.engine import Connection, Database
from firsthand.hub.feeds import Feeds
from firsthand.hub.identity import Identity, Principal
from firsthand.hub.identity.identity import NewUserHook
from firsthand.hub.identity.passwords import Passwords
from firsthand.hub.ids import UserId
from firsthand.hub.projects import Projects
from firsthand.sources.errors import AddressRefused, SourceError
from firsthand.sources.progress import Progress
from firsthand.sources.source import Source
from firsthand.sources.store import Checkout

START = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
PASSWORD = "correct horse battery"
# The cheapest that argon2 allows: its strength is not what tests are about.
CHEAP_PASSWORDS = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


class StandingClock:
    """A clock that a test moves."""

    def __init__(self, now: datetime = START) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **by: float) -> None:
        self.now += timedelta(**by)


class InMemoryCheckouts:
    """The part of the source store that the hub uses, without disk and network.

    Everything exists, unless `failures` says otherwise. While `gate` is closed, fetches wait.
    """

    def __init__(self, clock: StandingClock) -> None:
        self._clock = clock
        self.gate = asyncio.Event()
        self.gate.set()
        self.begun = asyncio.Event()
        self.asked: list[tuple[Source, timedelta | None]] = []
        self.failures: dict[str, Exception] = {}

    async def check_address(self, source: Source) -> None:
        if "private" in source.location:
            raise AddressRefused(f"{source.location} lies on a private network.")

    async def checkout(
        self,
        source: Source,
        *,
        max_age: timedelta | None = None,
        progress: Callable[[Progress], None] | None = None,
    ) -> Checkout:
        self.asked.append((source, max_age))
        if progress is not None:
            progress(Progress("Receiving objects", 1, 2))
        self.begun.set()
        await self.gate.wait()
        if (failure := self.failures.get(str(source))) is not None:
            raise failure
        commit = hashlib.sha256(str(source).encode()).hexdigest()[:40]
        return Checkout(
            id=commit[:22],
            source=source,
            ref=source.ref or "main",
            commit=commit,
            committed_at=START - timedelta(days=1),
            fetched_at=self._clock(),
            tree=Path("/nowhere/tree"),
            index=None,
            size_bytes=1000,
            file_count=10,
            link_template=None,
        )

    def fail(self, text: str, error: SourceError) -> None:
        self.failures[text] = error


@dataclass(frozen=True, slots=True)
class World:
    folder: Path
    clock: StandingClock
    database: Database
    feeds: Feeds
    checkouts: InMemoryCheckouts
    projects: Projects
    identity: Identity
    owner: Principal
    member: Principal
    stranger: Principal


def database_url(folder: Path) -> str:
    return f"sqlite:///{folder / 'firsthand.sqlite'}"


def make_identity(
    database: Database, on_new_user: NewUserHook, clock: Callable[[], datetime]
) -> Identity:
    return Identity(
        database,
        on_new_user=on_new_user,
        clock=clock,
        passwords=Passwords(CHEAP_PASSWORDS),
    )


@asynccontextmanager
async def open_world(
    folder: Path, *, on_new_user: NewUserHook | None = None
) -> AsyncGenerator[World]:
    """Open the world in a folder, empty or left by another one.

    `on_new_user` makes what else a user must have.
    """
    clock, feeds = StandingClock(), Feeds()
    database = Database.open(database_url(folder))
    checkouts = InMemoryCheckouts(clock)
    projects = Projects(database, feeds, checkouts, clock=clock)

    def make_all(conn: Connection, user_id: UserId) -> None:
        projects.make_default_project(conn, user_id)
        if on_new_user is not None:
            on_new_user(conn, user_id)

    identity = make_identity(database, make_all, clock)
    try:
        owner = await identity.by_session(
            await identity.use_owner_link(await identity.new_owner_link())
        )
        people = [await _person(identity, owner, name) for name in ("Member", "Stranger")]
        yield World(
            folder=folder,
            clock=clock,
            database=database,
            feeds=feeds,
            checkouts=checkouts,
            projects=projects,
            identity=identity,
            owner=owner,
            member=people[0],
            stranger=people[1],
        )
    finally:
        await projects.close()
        await database.close()


async def _person(identity: Identity, owner: Principal, name: str) -> Principal:
    login = name.lower()
    for user in await identity.list_users(owner):
        if user.login == login:
            return user.as_principal()
    user = await identity.create_member(owner, name=name, login=login, password=PASSWORD)
    return user.as_principal()
