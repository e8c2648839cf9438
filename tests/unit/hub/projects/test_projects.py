"""Projects and resources: kept apart by user, named once, and fetched in the background."""

from datetime import timedelta

import anyio
import anyio.lowlevel
import pytest

from firsthand.hub.errors import BadInput, Conflict, NotAllowed, NotFound
from firsthand.hub.feeds.topics import project_topic
from firsthand.hub.identity import Principal, Scope
from firsthand.hub.ids import ResourceId
from firsthand.hub.projects import FetchState, Projects, Resource
from firsthand.sources.errors import SourceNotFound
from tests.world import World


async def _settled(world: World, resource: Resource, principal: Principal) -> Resource:
    with anyio.fail_after(10):
        await world.projects.fetch_ended(resource.id)
    return await world.projects.get_resource(principal, resource.id)


async def test_everyone_begins_with_one_project(world: World) -> None:
    for principal in (world.owner, world.member, world.stranger):
        (project,) = await world.projects.list_projects(principal)
        assert project.owner_id == principal.user_id
        assert await world.projects.get_project(principal) == project


async def test_a_resource_is_stored_at_once_and_then_fetched(world: World) -> None:
    world.checkouts.gate.clear()
    added = await world.projects.add_resource(
        world.member, "pypi:httpx", search_paths=["src"], notes="for tests"
    )
    assert (added.name, added.state) == ("httpx", FetchState.NEW)
    with anyio.fail_after(10):
        await world.checkouts.begun.wait()
    (listed,) = await world.projects.list_resources(world.member)
    assert listed.state is FetchState.FETCHING
    progress = world.projects.progress_of(listed)
    assert progress is not None
    assert (progress.step, progress.done, progress.total) == ("Receiving objects", 1, 2)

    world.checkouts.gate.set()
    ready = await _settled(world, added, world.member)
    assert ready.state is FetchState.READY
    assert ready.spec == added.spec
    assert ready.message is None
    assert ready.fetched is not None
    assert ready.fetched.ref == "main"
    assert ready.fetched.fetched_at == world.clock.now
    assert world.projects.progress_of(ready) is None


async def test_each_change_is_heard(world: World) -> None:
    project = await world.projects.get_project(world.member)
    async with world.feeds.subscribe([project_topic(project.id)]) as reader:
        seen: list[FetchState] = []
        await world.projects.add_resource(world.member, "npm:zod")
        with anyio.fail_after(10):
            while FetchState.READY not in seen:
                await reader.changed()
                (resource,) = await world.projects.list_resources(world.member)
                seen.append(resource.state)
        await world.projects.remove_resource(world.member, "zod")
        with anyio.fail_after(10):
            await reader.changed()


async def test_a_fetch_that_fails_says_why_and_what_to_do(world: World) -> None:
    world.checkouts.fail("pypi:httpx", SourceNotFound("No such package.", "Look at its spelling."))
    added = await world.projects.add_resource(world.member, "pypi:httpx")
    failed = await _settled(world, added, world.member)
    assert failed.state is FetchState.FAILED
    assert failed.message == "No such package. Look at its spelling."

    world.checkouts.failures.clear()
    again = await world.projects.sync_resource(world.member, "httpx")
    assert again.state is FetchState.FETCHING
    ready = await _settled(world, added, world.member)
    assert (ready.state, ready.message) == (FetchState.READY, None)


async def test_a_defect_in_fetching_is_recorded_and_does_not_leave_it_hanging(world: World) -> None:
    world.checkouts.failures["pypi:httpx"] = ZeroDivisionError("a defect")
    added = await world.projects.add_resource(world.member, "pypi:httpx")
    failed = await _settled(world, added, world.member)
    assert failed.state is FetchState.FAILED
    assert failed.message is not None
    assert "a defect" not in failed.message


async def test_a_later_fetch_that_fails_keeps_what_was_there(world: World) -> None:
    added = await world.projects.add_resource(world.member, "pypi:httpx")
    before = await _settled(world, added, world.member)
    world.checkouts.fail("pypi:httpx", SourceNotFound("Gone."))
    await world.projects.sync_resource(world.member, added.id)
    after = await _settled(world, added, world.member)
    assert after.state is FetchState.FAILED
    assert after.fetched == before.fetched
    assert world.checkouts.asked[-1][1] == timedelta()


async def test_asked_again_in_the_middle_it_fetches_once_more_afterwards(world: World) -> None:
    world.checkouts.gate.clear()
    added = await world.projects.add_resource(world.member, "pypi:httpx")
    with anyio.fail_after(10):
        await world.checkouts.begun.wait()
    for _ in range(3):
        await world.projects.sync_resource(world.member, added.id)
    world.checkouts.gate.set()
    ready = await _settled(world, added, world.member)
    assert ready.state is FetchState.READY
    assert [max_age for _, max_age in world.checkouts.asked] == [None, timedelta()]


async def test_a_removed_resource_is_no_longer_fetched(world: World) -> None:
    world.checkouts.gate.clear()
    added = await world.projects.add_resource(world.member, "pypi:httpx")
    with anyio.fail_after(10):
        await world.checkouts.begun.wait()
        await world.projects.remove_resource(world.member, "httpx")
        await world.projects.fetch_ended(added.id)
    assert await world.projects.list_resources(world.member) == []
    with pytest.raises(NotFound):
        await world.projects.remove_resource(world.member, "httpx")


async def test_fetches_of_a_hub_that_ended_are_taken_up_again(world: World) -> None:
    world.checkouts.gate.clear()
    added = await world.projects.add_resource(world.member, "pypi:httpx")
    with anyio.fail_after(10):
        await world.checkouts.begun.wait()
        await world.projects.close()
    left = await world.projects.get_resource(world.member, added.id)
    assert left.state is FetchState.FETCHING

    world.checkouts.gate.set()
    later = Projects(world.database, world.feeds, world.checkouts, clock=world.clock)
    await later.start()
    with anyio.fail_after(10):
        await later.fetch_ended(added.id)
    taken_up = await later.get_resource(world.member, added.id)
    assert taken_up.state is FetchState.READY
    await later.close()


async def test_only_a_few_are_fetched_at_once_and_never_all_for_one_person(world: World) -> None:
    world.checkouts.gate.clear()

    async def add(principal: Principal) -> list[Resource]:
        texts = [f"pypi:{principal.name}-package{number}" for number in range(10)]
        return [await world.projects.add_resource(principal, text) for text in texts]

    async def until_asked(number: int, added: list[Resource]) -> None:
        with anyio.fail_after(10):
            while len(world.checkouts.asked) < number:
                await anyio.lowlevel.checkpoint()
        waiting = [world.projects.progress_of(resource) for resource in added]
        told = [one.step for one in waiting if one]
        assert told.count("Waiting for other fetches") == len(added) - number
        assert len(world.checkouts.asked) == number

    mine = await add(world.member)
    await until_asked(3, mine)
    theirs = await add(world.stranger)
    await until_asked(4, [*mine, *theirs])
    world.checkouts.gate.set()
    for principal, added in ((world.member, mine), (world.stranger, theirs)):
        for resource in added:
            assert (await _settled(world, resource, principal)).state is FetchState.READY


async def test_names_are_found_or_refused(world: World) -> None:
    async def add(text: str, **more: str) -> str:
        return (await world.projects.add_resource(world.member, text, **more)).name

    assert await add("pypi:httpx") == "httpx"
    assert await add("pypi:httpx@0.28.1") == "httpx-2"
    assert await add("pypi:httpx", name="mine") == "mine"
    with pytest.raises(Conflict, match="already in the project, as 'httpx'"):
        await add("pypi:httpx")
    with pytest.raises(Conflict, match="already a resource 'mine'") as caught:
        await add("npm:zod", name="mine")
    assert caught.value.hint is not None
    assert "mine-2" in caught.value.hint


async def test_many_at_once_get_different_names(world: World) -> None:
    names: list[str] = []

    async def add(number: int) -> None:
        added = await world.projects.add_resource(
            world.member, f"https://host.example/owner{number}/tool"
        )
        names.append(added.name)

    async with anyio.create_task_group() as group:
        for number in range(8):
            group.start_soon(add, number)
    assert sorted(names) == ["tool", *(f"tool-{number}" for number in range(2, 9))]


@pytest.mark.requirement("HUB-3")
async def test_what_is_anothers_does_not_exist(world: World) -> None:
    added = await world.projects.add_resource(world.member, "pypi:httpx")
    project = await world.projects.get_project(world.member)
    assert await world.projects.list_resources(world.stranger) == []
    for resource in (added.id, "httpx", ResourceId("re_unknown")):
        with pytest.raises(NotFound):
            await world.projects.get_resource(world.stranger, resource)
        with pytest.raises(NotFound):
            await world.projects.sync_resource(world.stranger, resource)
        with pytest.raises(NotFound):
            await world.projects.remove_resource(world.stranger, resource)
    for call in (
        world.projects.list_resources(world.stranger, project.id),
        world.projects.get_project(world.stranger, project.id),
        world.projects.add_resource(world.stranger, "npm:zod", project=project.id),
        world.projects.get_resource(world.owner, added.id, project=project.id),
    ):
        with pytest.raises(NotFound):
            await call
    assert len(await world.projects.list_resources(world.member)) == 1


async def test_projects_keep_their_resources_apart(world: World) -> None:
    world.clock.advance(seconds=1)
    second = await world.projects.create_project(world.member, " Side  project ")
    assert second.name == "Side project"
    await world.projects.add_resource(world.member, "pypi:httpx")
    await world.projects.add_resource(world.member, "pypi:httpx", project="Side project")
    in_second = await world.projects.get_resource(world.member, "httpx", project=second.id)
    assert in_second.project_id == second.id
    await world.projects.remove_resource(world.member, "httpx", project="Side project")
    assert len(await world.projects.list_resources(world.member)) == 1
    with pytest.raises(Conflict, match="already have a project"):
        await world.projects.create_project(world.member, "Side project")
    await world.projects.create_project(world.stranger, "Side project")
    with pytest.raises(BadInput, match="64"):
        await world.projects.create_project(world.member, "x" * 65)


async def test_a_credential_that_may_only_read_cannot_change(world: World) -> None:
    reader = Principal(
        world.member.user_id, world.member.name, world.member.role, frozenset({Scope.READ})
    )
    await world.projects.list_resources(reader)
    with pytest.raises(NotAllowed, match="manage"):
        await world.projects.add_resource(reader, "pypi:httpx")
    with pytest.raises(NotAllowed):
        await world.projects.remove_resource(reader, "httpx")
    with pytest.raises(NotAllowed):
        await world.projects.sync_resource(reader, "httpx")


async def test_paths_of_this_machine_are_refused_unless_allowed(world: World) -> None:
    with pytest.raises(BadInput):
        await world.projects.add_resource(world.member, "/etc")
