"""Accounts: who comes in, how long they stay, and who stays out."""

import anyio
import pytest

from firsthand.hub.db.engine import Connection
from firsthand.hub.errors import BadInput, Conflict, NotAllowed, NotSignedIn
from firsthand.hub.identity import Role, Scope
from firsthand.hub.ids import UserId
from tests.world import PASSWORD, World, make_identity


@pytest.mark.requirement("HUB-1")
async def test_the_owners_link_works_once(world: World) -> None:
    link = await world.identity.new_owner_link()
    session = await world.identity.use_owner_link(link)
    assert await world.identity.by_session(session) == world.owner
    with pytest.raises(NotSignedIn, match="used already"):
        await world.identity.use_owner_link(link)


@pytest.mark.requirement("HUB-1")
async def test_of_many_who_use_a_link_at_once_one_gets_in(world: World) -> None:
    link = await world.identity.new_owner_link()
    sessions: list[str] = []
    refused: list[NotSignedIn] = []

    async def use() -> None:
        try:
            sessions.append(await world.identity.use_owner_link(link))
        except NotSignedIn as error:
            refused.append(error)

    async with anyio.create_task_group() as group:
        for _ in range(10):
            group.start_soon(use)
    assert (len(sessions), len(refused)) == (1, 9)


async def test_a_link_ends_after_a_day(world: World) -> None:
    link = await world.identity.new_owner_link()
    world.clock.advance(hours=24)
    with pytest.raises(NotSignedIn):
        await world.identity.use_owner_link(link)
    with pytest.raises(NotSignedIn):
        await world.identity.use_owner_link("never was")


async def test_two_links_lead_to_one_owner(world: World) -> None:
    first, second = await world.identity.new_owner_link(), await world.identity.new_owner_link()
    one = await world.identity.by_session(await world.identity.use_owner_link(first))
    two = await world.identity.by_session(await world.identity.use_owner_link(second))
    assert one.user_id == two.user_id == world.owner.user_id
    owners = [user for user in await world.identity.list_users(one) if user.role is Role.OWNER]
    assert len(owners) == 1


async def test_if_what_a_new_user_needs_cannot_be_made_there_is_no_user(world: World) -> None:
    def fail(_conn: Connection, _user_id: UserId) -> None:
        raise LookupError("no project today")

    identity = make_identity(world.database, fail, world.clock)
    before = await identity.list_users(world.owner)
    with pytest.raises(LookupError):
        await identity.create_member(world.owner, name="New", login="new", password=PASSWORD)
    assert await identity.list_users(world.owner) == before


@pytest.mark.requirement("HUB-2")
async def test_sign_in_and_out(world: World) -> None:
    token, principal = await world.identity.sign_in(" Member ", PASSWORD)
    assert principal == world.member
    assert await world.identity.by_session(token) == world.member
    await world.identity.sign_out(token)
    with pytest.raises(NotSignedIn):
        await world.identity.by_session(token)
    await world.identity.sign_out(token)


@pytest.mark.parametrize(
    ("login", "password"),
    [
        ("member", "wrong password"),
        ("nobody", PASSWORD),
        ("", ""),
        ("member", PASSWORD + "\0"),
        ("member", "\ud800"),
        ("mem\0ber", PASSWORD),
    ],
)
async def test_a_wrong_login_or_password_is_refused_alike(
    world: World, login: str, password: str
) -> None:
    with pytest.raises(NotSignedIn, match="do not belong together"):
        await world.identity.sign_in(login, password)


async def test_who_has_no_password_cannot_sign_in(world: World) -> None:
    with pytest.raises(NotSignedIn):
        await world.identity.sign_in("", "")
    assert not await world.identity.owner_has_password()


@pytest.mark.requirement("HUB-2")
async def test_passwords_are_stored_as_argon2id_and_tokens_as_hashes(world: World) -> None:
    token, _ = await world.identity.sign_in("member", PASSWORD)

    def everything(conn: Connection) -> str:
        return "\n".join(
            str(row)
            for table in ("users", "sessions", "sign_in_links")
            for row in conn.exec_driver_sql(f"SELECT * FROM {table}")
        )

    stored = await world.database.read(everything)
    assert "$argon2id$" in stored
    assert PASSWORD not in stored
    assert token not in stored
    user = await world.identity.get_user(world.member)
    assert "argon2" not in repr(user)


async def test_a_password_hashed_at_another_cost_is_hashed_anew(world: World) -> None:
    from argon2 import PasswordHasher

    from firsthand.hub.identity import Identity
    from firsthand.hub.identity.passwords import Passwords

    dearer = Passwords(PasswordHasher(time_cost=2, memory_cost=8, parallelism=1))
    identity = Identity(
        world.database, on_new_user=lambda _c, _u: None, clock=world.clock, passwords=dearer
    )
    before = (await identity.get_user(world.member)).password_hash
    await identity.sign_in("member", PASSWORD)
    after = (await identity.get_user(world.member)).password_hash
    assert after is not None
    assert after != before
    assert not dearer.is_outdated(after)
    assert (await identity.sign_in("member", PASSWORD)).principal == world.member


async def test_a_session_lives_as_long_as_it_is_used(world: World) -> None:
    token, _ = await world.identity.sign_in("member", PASSWORD)
    for _ in range(4):
        world.clock.advance(days=29)
        assert await world.identity.by_session(token) == world.member
    world.clock.advance(days=30)
    with pytest.raises(NotSignedIn):
        await world.identity.by_session(token)


async def test_setting_a_password_ends_other_sessions_and_links(world: World) -> None:
    link = await world.identity.new_owner_link()
    mine = await world.identity.use_owner_link(await world.identity.new_owner_link())
    other = await world.identity.use_owner_link(await world.identity.new_owner_link())
    await world.identity.set_password(world.owner, "Owner@Example.org", PASSWORD, session=mine)
    assert await world.identity.owner_has_password()
    assert await world.identity.by_session(mine) == world.owner
    with pytest.raises(NotSignedIn):
        await world.identity.by_session(other)
    with pytest.raises(NotSignedIn):
        await world.identity.use_owner_link(link)
    assert (await world.identity.sign_in("owner@example.org", PASSWORD)).principal == world.owner


async def test_a_password_is_changed_only_by_who_knows_it(world: World) -> None:
    for current in (None, "", "wrong"):
        with pytest.raises(NotAllowed):
            await world.identity.set_password(
                world.member, "member", "another password", current=current
            )
    await world.identity.set_password(world.member, "m2", "another password", current=PASSWORD)
    assert (await world.identity.sign_in("m2", "another password")).principal == world.member
    with pytest.raises(NotSignedIn):
        await world.identity.sign_in("member", PASSWORD)


async def test_a_login_that_is_taken_is_a_conflict(world: World) -> None:
    with pytest.raises(Conflict, match="taken"):
        await world.identity.set_password(world.owner, "MEMBER", PASSWORD)
    with pytest.raises(Conflict, match="taken"):
        await world.identity.create_member(
            world.owner, name="Twin", login="member", password=PASSWORD
        )


@pytest.mark.requirement("HUB-15")
@pytest.mark.parametrize(
    ("login", "password", "limit"),
    [
        ("", PASSWORD, "254"),
        ("x" * 255, PASSWORD, "254"),
        ("two words", PASSWORD, "spaces"),
        ("bell\a", PASSWORD, "254"),
        ("member2", "short", "10 to 1024"),
        ("member2", "x" * 1025, "10 to 1024"),
    ],
)
async def test_limits_are_named(world: World, login: str, password: str, limit: str) -> None:
    with pytest.raises(BadInput, match=limit):
        await world.identity.set_password(world.owner, login, password)


async def test_only_who_may_makes_members(world: World) -> None:
    with pytest.raises(NotAllowed, match="admin"):
        await world.identity.create_member(world.member, name="X", login="x", password=PASSWORD)
    with pytest.raises(NotAllowed):
        await world.identity.list_users(world.stranger)
    assert Scope.ADMIN in world.owner.scopes
    assert Scope.ADMIN not in world.member.scopes


async def test_the_local_token_is_the_owners(world: World) -> None:
    with pytest.raises(NotSignedIn):
        await world.identity.by_local_token("")
    token = world.identity.new_local_token()
    assert await world.identity.by_local_token(token) == world.owner
    for wrong in ("", token[:-1], token + "x", "ü"):
        with pytest.raises(NotSignedIn):
            await world.identity.by_local_token(wrong)
    newer = world.identity.new_local_token()
    with pytest.raises(NotSignedIn):
        await world.identity.by_local_token(token)
    assert await world.identity.by_local_token(newer) == world.owner
