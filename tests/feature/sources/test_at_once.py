"""Many callers, killed processes, remotes that hang: one clone, nothing left, nothing stuck."""

import json
import os
import signal
import subprocess
import sys
import threading
from datetime import timedelta

import anyio
import anyio.to_thread
import pytest

from firsthand.sources.errors import FetchFailed, FetchTimedOut
from firsthand.sources.progress import Progress
from firsthand.sources.store import Checkout
from tests.feature.sources.conftest import World
from tests.repositories import Commit, add_commits

ONE = Commit({b"README": b"one\n" * 1000, b"src/a.py": b"a = 1\n"})
TWO = Commit({b"README": b"two\n", b"src/b.py": b"b = 2\n"})

# A process of its own that adds one repository and prints the id of the checkout.
PROGRAM = """
import json, sys
from pathlib import Path
import anyio
from firsthand.sources.source import parse_source
from firsthand.sources.store import SourceStore
root, host, url = sys.argv[1:]
async def main():
    store = SourceStore(Path(root), allowed_private_hosts=frozenset({host}))
    checkout = await store.checkout(parse_source(url, allow_local=False))
    print(json.dumps({"id": checkout.id, "commit": checkout.commit}))
anyio.run(main)
"""


def start_process(world: World, name: str) -> subprocess.Popen[bytes]:
    arguments = [str(world.root), world.server.host, world.server.url_of(name)]
    return subprocess.Popen([sys.executable, "-c", PROGRAM, *arguments], stdout=subprocess.PIPE)


async def wait_for(event: threading.Event) -> None:
    assert await anyio.to_thread.run_sync(event.wait, 30.0)


@pytest.mark.requirement("SRC-3")
async def test_ten_callers_at_once_cause_one_clone_and_one_tree(world: World) -> None:
    world.repository("box", ONE)
    found: list[Checkout] = []
    heard: list[Progress] = []

    async def ask() -> None:
        found.append(await world.store.checkout(world.source("box"), progress=heard.append))

    with anyio.fail_after(60):
        async with anyio.create_task_group() as callers:
            for _ in range(10):
                callers.start_soon(ask)

    assert len({checkout.id for checkout in found}) == 1
    assert len(found) == 10
    assert world.server.count_transfers() == 1
    assert world.store.describe().checkouts == 1
    assert world.leftovers() == []


async def test_however_many_sources_are_asked_for_few_are_unpacked_at_once(world: World) -> None:
    bound = max(2, os.cpu_count() or 1)
    names = [f"box{number}" for number in range(bound + 4)]
    unpacking: set[str] = set()
    most = 0

    async def ask(name: str) -> None:
        def hear(progress: Progress) -> None:
            nonlocal most
            if progress.step == "Writing files":
                unpacking.add(name)
            elif progress.step == "Building the search index":
                unpacking.discard(name)
            most = max(most, len(unpacking))

        await world.store.checkout(world.source(name), progress=hear)

    for name in names:
        world.repository(name, Commit({b"%d.py" % number: b"a = 1\n" for number in range(500)}))
    with anyio.fail_after(120):
        async with anyio.create_task_group() as callers:
            for name in names:
                callers.start_soon(ask, name)

    assert 1 <= most <= bound
    assert world.store.describe().checkouts == len(names)


@pytest.mark.requirement("SRC-3")
async def test_two_processes_at_once_cause_one_clone_and_one_tree(world: World) -> None:
    world.repository("box", ONE)
    both = [start_process(world, "box") for _ in range(2)]
    said: list[object] = []
    with anyio.fail_after(60):
        for process in both:
            out, _ = await anyio.to_thread.run_sync(process.communicate)
            assert process.returncode == 0
            said.append(json.loads(out))
    assert said[0] == said[1]
    assert world.server.count_transfers() == 1
    assert world.store.describe().checkouts == 1
    assert world.leftovers() == []


@pytest.mark.requirement("SRC-15")
@pytest.mark.parametrize("known_before", [False, True])
async def test_a_process_killed_in_the_middle_of_a_clone_leaves_nothing(
    world: World, *, known_before: bool
) -> None:
    made = world.repository("box", ONE)
    if known_before:
        await world.store.checkout(world.source("box"))
        add_commits(made, [TWO])
        world.clock.move(timedelta(hours=1))
    gate = world.server.behaviour.gates["box"] = threading.Event()
    world.server.transfer_begun.clear()
    process = start_process(world, "box")
    with anyio.fail_after(60):
        await wait_for(world.server.transfer_begun)
        process.send_signal(signal.SIGKILL)
        await anyio.to_thread.run_sync(process.communicate)
        gate.set()

        store = world.new_store()
        await store.clean_up()
        assert world.leftovers() == []
        checkout = await store.checkout(world.source("box"))

    assert checkout.commit == made.commits[-1]
    assert (checkout.tree / "README").is_file()
    assert world.leftovers() == []
    assert store.describe().checkouts == len(made.commits)


@pytest.mark.requirement("SRC-15")
async def test_cleaning_up_leaves_the_work_of_the_living_alone(world: World) -> None:
    world.repository("box", ONE)
    gate = world.server.behaviour.gates["box"] = threading.Event()
    process = start_process(world, "box")
    with anyio.fail_after(60):
        await wait_for(world.server.transfer_begun)
        (world.root / "work" / "abandoned").mkdir()
        await world.new_store().clean_up()
        assert "abandoned" not in world.leftovers()
        gate.set()
        out, _ = await anyio.to_thread.run_sync(process.communicate)
    assert process.returncode == 0
    assert world.store.find(json.loads(out)["id"]) is not None


@pytest.mark.requirement("SRC-15")
async def test_a_caller_that_gives_up_leaves_nothing_and_frees_the_next(world: World) -> None:
    world.repository("box", ONE)
    gate = world.server.behaviour.gates["box"] = threading.Event()
    with anyio.fail_after(60):
        async with anyio.create_task_group() as callers:
            callers.start_soon(world.store.checkout, world.source("box"))
            await wait_for(world.server.transfer_begun)
            callers.cancel_scope.cancel()
        assert world.leftovers() == []
        gate.set()
        assert (await world.store.checkout(world.source("box"))).file_count == 2


@pytest.mark.requirement("SRC-18")
async def test_a_remote_that_never_answers_is_given_up(world: World) -> None:
    world.repository("box", ONE)
    world.server.behaviour.silent.add("box")
    with anyio.fail_after(60), pytest.raises(FetchTimedOut, match="within 1 seconds"):
        await world.new_store(resolve_seconds=1.0).checkout(world.source("box"))
    world.server.behaviour.silent.clear()
    world.server.behaviour.gates["box"] = threading.Event()
    with anyio.fail_after(60), pytest.raises(FetchTimedOut, match="within 1 seconds"):
        await world.new_store(fetch_seconds=1.0).checkout(world.source("box"))
    assert world.leftovers() == []


@pytest.mark.requirement("SRC-15", "SRC-18")
async def test_a_transfer_that_is_cut_off_is_an_error_and_can_be_repeated(world: World) -> None:
    world.repository("box", ONE)
    world.server.behaviour.cut_after["box"] = 120
    with anyio.fail_after(60), pytest.raises(FetchFailed, match=r"Fetching .* failed"):
        await world.store.checkout(world.source("box"))
    assert world.leftovers() == []
    assert list((world.root / "mirrors").iterdir()) == []
    world.server.behaviour.cut_after.clear()
    assert (await world.store.checkout(world.source("box"))).file_count == 2
