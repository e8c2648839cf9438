"""Resources fetched by the real source store, by several users, across a killed hub."""

import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from firsthand.hub.errors import BadInput
from firsthand.hub.identity import Principal
from firsthand.hub.projects import FetchState, Projects, Resource
from firsthand.sources.store import SourceStore
from tests.world import World, open_world


# Whole hubs stand on the `world` of the folder above; here nothing but projects is wanted.
@pytest.fixture(name="world")
async def small_world(tmp_path: Path) -> AsyncGenerator[World]:
    async with open_world(tmp_path / "data") as opened:
        yield opened


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "tool"
    folder.mkdir()
    (folder / "tool.py").write_text("def answer():\n    return 42\n")
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "GIT_AUTHOR_NAME": "A",
        "GIT_AUTHOR_EMAIL": "a@example.org",
        "GIT_COMMITTER_NAME": "A",
        "GIT_COMMITTER_EMAIL": "a@example.org",
    }
    for command in ("init -q -b trunk", "add .", "commit -q -m First"):
        subprocess.run(["git", *command.split()], cwd=folder, env=environment, check=True)
    return folder


@asynccontextmanager
async def _real_projects(world: World, sources: Path) -> AsyncGenerator[Projects]:
    projects = Projects(world.database, world.feeds, SourceStore(sources), allow_local=True)
    try:
        yield projects
    finally:
        await projects.close()


async def _fetched(projects: Projects, principal: Principal, resource: Resource) -> Resource:
    with anyio.fail_after(60):
        await projects.fetch_ended(resource.id)
    return await projects.get_resource(principal, resource.id)


@pytest.mark.requirement("SRC-3")
async def test_two_people_who_add_the_same_share_one_tree(
    world: World, repository: Path, tmp_path: Path
) -> None:
    async with _real_projects(world, tmp_path / "sources") as projects:
        mine = await projects.add_resource(world.member, str(repository))
        theirs = await projects.add_resource(world.stranger, str(repository), name="theirs")
        one = await _fetched(projects, world.member, mine)
        two = await _fetched(projects, world.stranger, theirs)
    assert (one.state, one.message) == (FetchState.READY, None)
    assert one.name == "tool"
    assert one.fetched is not None
    assert two.fetched is not None
    assert one.fetched.ref == "trunk"
    assert one.fetched.checkout_id == two.fetched.checkout_id
    assert len(list((tmp_path / "sources" / "trees").iterdir())) == 1


async def test_a_missing_ref_is_told_with_a_hint(
    world: World, repository: Path, tmp_path: Path
) -> None:
    async with _real_projects(world, tmp_path / "sources") as projects:
        added = await projects.add_resource(world.member, str(repository), ref="no-such-branch")
        failed = await _fetched(projects, world.member, added)
    assert failed.state is FetchState.FAILED
    assert failed.message is not None
    assert "no-such-branch" in failed.message
    assert failed.fetched is None


_HUB = """
import sys, anyio
from pathlib import Path
from tests.world import open_world

async def main():
    async with open_world(Path(sys.argv[1])) as world:
        world.checkouts.gate.clear()
        added = await world.projects.add_resource(world.owner, "pypi:httpx")
        await world.checkouts.begun.wait()
        print(added.id, flush=True)
        await anyio.sleep_forever()

anyio.run(main)
"""


def _begin_and_kill(folder: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _HUB, str(folder)], stdout=subprocess.PIPE, text=True
    ) as hub:
        assert hub.stdout is not None
        assert hub.stdout.readline().startswith("re_")
        os.kill(hub.pid, signal.SIGKILL)


async def test_a_fetch_of_a_killed_hub_is_taken_up_at_the_next_start(tmp_path: Path) -> None:
    await anyio.to_thread.run_sync(_begin_and_kill, tmp_path / "data")
    async with open_world(tmp_path / "data") as world:
        (resource,) = await world.projects.list_resources(world.owner)
        assert resource.state is FetchState.FETCHING
        await world.projects.start()
        ready = await _fetched(world.projects, world.owner, resource)
    assert ready.state is FetchState.READY


@pytest.mark.requirement("SRC-6", "HUB-15")
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "10.1.2.3", "[::1]", "169.254.169.254"])
async def test_an_address_that_may_not_be_asked_is_refused_at_once(
    world: World, tmp_path: Path, host: str
) -> None:
    async with _real_projects(world, tmp_path / "sources") as projects:
        with pytest.raises(BadInput) as refused:
            await projects.add_resource(world.owner, f"https://{host}/owner/secret")
        assert "FIRSTHAND_ALLOWED_PRIVATE_HOSTS" in (refused.value.hint or "")
        assert await projects.list_resources(world.owner) == []


async def test_a_host_that_cannot_be_found_now_is_stored_and_told_by_its_fetch(
    world: World, tmp_path: Path
) -> None:
    async with _real_projects(world, tmp_path / "sources") as projects:
        added = await projects.add_resource(world.owner, "https://host.invalid/owner/name")
        fetched = await _fetched(projects, world.owner, added)
        assert fetched.state is FetchState.FAILED
        assert "host.invalid" in (fetched.message or "")
