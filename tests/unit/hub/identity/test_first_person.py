"""The first person of a hub, who comes by link or by the command line of the same machine."""

from pathlib import Path

import pytest

from firsthand.hub.db.engine import Connection, Database
from firsthand.hub.identity import Role
from firsthand.hub.ids import UserId
from tests.world import StandingClock, database_url, make_identity


@pytest.mark.requirement("HUB-1")
async def test_the_first_use_of_a_link_makes_the_owner_and_what_they_need(tmp_path: Path) -> None:
    made: list[UserId] = []

    def note(_conn: Connection, user_id: UserId) -> None:
        made.append(user_id)

    database = Database.open(database_url(tmp_path))
    identity = make_identity(database, note, StandingClock())
    first = await identity.use_owner_link(await identity.new_owner_link())
    owner = await identity.by_session(first)
    assert owner.role is Role.OWNER
    assert made == [owner.user_id]
    await identity.use_owner_link(await identity.new_owner_link())
    assert made == [owner.user_id]
    await database.close()


async def test_the_local_token_makes_the_owner_too(tmp_path: Path) -> None:
    made: list[UserId] = []
    database = Database.open(database_url(tmp_path))
    identity = make_identity(database, lambda _conn, user: made.append(user), StandingClock())
    owner = await identity.by_local_token(identity.new_local_token())
    by_link = await identity.by_session(
        await identity.use_owner_link(await identity.new_owner_link())
    )
    assert owner == by_link
    assert made == [owner.user_id]
    await database.close()
