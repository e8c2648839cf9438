"""What every sandbox provider promises to the hub above it."""

from datetime import timedelta

import aiohttp
import anyio
import pytest

from firsthand.hub.ids import SandboxId, new_sandbox_id
from firsthand.hub.sandboxes.provider import (
    SandboxFailed,
    SandboxProvider,
    SandboxSpec,
    SandboxState,
)

from .conftest import Host

pytestmark = pytest.mark.requirement("BOX-8")


async def make_running(hub: SandboxProvider, *, idle_seconds: float = 60) -> SandboxId:
    spec = SandboxSpec(new_sandbox_id(), idle_limit=timedelta(seconds=idle_seconds))
    await hub.create(spec)
    await hub.start(spec.sandbox_id)
    return spec.sandbox_id


async def ask(hub: SandboxProvider, sandbox_id: SandboxId, path: str = "/") -> object:
    """Ask the agent, as often as it takes for it to listen."""
    endpoint = await hub.endpoint(sandbox_id)
    connector = aiohttp.UnixConnector(str(endpoint.socket))
    async with aiohttp.ClientSession(connector=connector) as session:
        with anyio.fail_after(20):
            while True:
                try:
                    async with session.get(f"http://agent{path}") as answer:
                        return await answer.json()
                except aiohttp.ClientConnectionError:
                    state = await hub.state(sandbox_id)
                    assert state is SandboxState.RUNNING, await hub.read_log(sandbox_id)
                    await anyio.lowlevel.checkpoint()


async def until_stopped(hub: SandboxProvider, sandbox_id: SandboxId) -> None:
    with anyio.fail_after(20):
        while await hub.state(sandbox_id) is not SandboxState.STOPPED:
            await anyio.lowlevel.checkpoint()


async def test_what_was_never_made_is_missing(host: Host) -> None:
    hub = host.new_hub()
    nobody = new_sandbox_id()
    assert await hub.state(nobody) is SandboxState.MISSING
    assert await hub.list_sandboxes() == {}
    await hub.stop(nobody)
    await hub.destroy(nobody)
    with pytest.raises(SandboxFailed):
        await hub.start(nobody)


@pytest.mark.requirement("BOX-8")
async def test_a_sandbox_goes_through_its_life(host: Host) -> None:
    hub = host.new_hub()
    spec = SandboxSpec(new_sandbox_id())
    await hub.create(spec)
    assert await hub.state(spec.sandbox_id) is SandboxState.STOPPED
    await hub.start(spec.sandbox_id)
    assert await ask(hub, spec.sandbox_id) == {"status": "ok"}
    assert await hub.list_sandboxes() == {spec.sandbox_id: SandboxState.RUNNING}
    await hub.stop(spec.sandbox_id)
    assert await hub.state(spec.sandbox_id) is SandboxState.STOPPED
    await hub.start(spec.sandbox_id)
    assert await ask(hub, spec.sandbox_id) == {"status": "ok"}
    await hub.destroy(spec.sandbox_id)
    assert await hub.state(spec.sandbox_id) is SandboxState.MISSING
    assert await hub.list_sandboxes() == {}


async def test_every_operation_may_be_repeated(host: Host) -> None:
    hub = host.new_hub()
    spec = SandboxSpec(new_sandbox_id())
    await hub.create(spec)
    await hub.create(spec)
    await hub.start(spec.sandbox_id)
    await ask(hub, spec.sandbox_id, "/say/before")
    await hub.start(spec.sandbox_id)
    await hub.create(spec)
    await ask(hub, spec.sandbox_id, "/say/after")
    log = await hub.read_log(spec.sandbox_id)
    assert log.split("\n")[-3:] == ["before", "after", ""]
    await hub.stop(spec.sandbox_id)
    await hub.stop(spec.sandbox_id)
    await hub.destroy(spec.sandbox_id)
    await hub.destroy(spec.sandbox_id)
    assert await hub.state(spec.sandbox_id) is SandboxState.MISSING


@pytest.mark.requirement("BOX-7")
@pytest.mark.requirement("BOX-7", "BOX-8")
async def test_the_next_hub_adopts_what_runs(host: Host) -> None:
    first = host.new_hub()
    sandbox_id = await make_running(first)
    await ask(first, sandbox_id, "/say/to the first hub")
    await first.close()
    second = host.new_hub()
    assert await second.list_sandboxes() == {sandbox_id: SandboxState.RUNNING}
    await second.start(sandbox_id)
    await ask(second, sandbox_id, "/say/to the second hub")
    log = await second.read_log(sandbox_id)
    assert "to the first hub\nto the second hub\n" in log
    await second.stop(sandbox_id)
    assert await second.state(sandbox_id) is SandboxState.STOPPED


async def test_it_ends_when_nobody_speaks_to_it(host: Host) -> None:
    hub = host.new_hub()
    sandbox_id = await make_running(hub, idle_seconds=0.2)
    await until_stopped(hub, sandbox_id)
    assert "nobody asked" in await hub.read_log(sandbox_id)


async def test_an_agent_that_ends_is_seen_as_stopped(host: Host) -> None:
    hub = host.new_hub()
    sandbox_id = await make_running(hub)
    await ask(hub, sandbox_id, "/exit")
    await until_stopped(hub, sandbox_id)
    await hub.start(sandbox_id)
    assert await ask(hub, sandbox_id) == {"status": "ok"}


@pytest.mark.requirement("BOX-9")
@pytest.mark.requirement("BOX-9")
async def test_the_log_is_read_from_its_end(host: Host) -> None:
    hub = host.new_hub()
    sandbox_id = await make_running(hub)
    await ask(hub, sandbox_id, "/say/the very last words")
    assert await hub.read_log(sandbox_id, max_bytes=11) == "last words\n"
    await hub.stop(sandbox_id)
    assert (await hub.read_log(sandbox_id)).endswith("the very last words\n")
    assert await hub.storage_bytes(sandbox_id) > 0


async def test_a_tree_of_the_store_is_readable_inside(host: Host) -> None:
    hub = host.new_hub()
    tree = host.checkouts / "token" / "tree"
    tree.mkdir(parents=True)
    (tree / "hello.txt").write_text("written outside")
    sandbox_id = await make_running(hub)
    name = hub.path_inside(tree / "hello.txt")
    assert await ask(hub, sandbox_id, f"/read/{name}") == "written outside"


@pytest.mark.parametrize("served_before_start", [True, False])
async def test_the_agent_reaches_the_gateway_of_every_hub(
    host: Host, served_before_start: bool
) -> None:
    words = "nobody yet"

    async def greet(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            await stream.send(words.encode())

    hub = host.new_hub()
    spec = SandboxSpec(new_sandbox_id())
    await hub.create(spec)
    if not served_before_start:
        await hub.start(spec.sandbox_id)
    for words in ("the first hub", "the next hub"):
        socket = await hub.gateway_socket(spec.sandbox_id)
        assert socket is not None
        async with (
            await anyio.create_unix_listener(socket, mode=0o666) as listener,
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(listener.serve, greet)
            await hub.start(spec.sandbox_id)
            assert await ask(hub, spec.sandbox_id, "/gateway") == words
            tasks.cancel_scope.cancel()


async def test_sandboxes_live_side_by_side(host: Host) -> None:
    hub = host.new_hub()
    one = await make_running(hub)
    other = await make_running(hub)
    await ask(hub, one, "/say/only one")
    await ask(hub, other)
    assert "only one" not in await hub.read_log(other)
    await hub.stop(one)
    assert await hub.list_sandboxes() == {
        one: SandboxState.STOPPED,
        other: SandboxState.RUNNING,
    }
    assert await ask(hub, other) == {"status": "ok"}
