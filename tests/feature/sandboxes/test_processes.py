"""What becomes of a sandbox's processes when something outside of it goes wrong."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

import anyio
import anyio.lowlevel
import pytest

from firsthand.hub.errors import SettingsError
from firsthand.hub.ids import SandboxId, new_sandbox_id
from firsthand.hub.sandboxes.bubblewrap.provider import BubblewrapProvider
from firsthand.hub.sandboxes.provider import (
    SandboxFailed,
    SandboxLimits,
    SandboxSpec,
    SandboxState,
)
from tests.contract.sandboxes import stand_in

STAND_IN = Path(stand_in.__file__)
HUB_TO_KILL = Path(__file__).with_name("hub_to_kill.py")


@pytest.fixture
def data() -> Iterator[Path]:
    # Not pytest's folder: socket paths have to be short.
    with TemporaryDirectory(prefix="fh-") as folder:
        yield Path(folder)


@pytest.fixture
async def hub(data: Path) -> AsyncIterator[BubblewrapProvider]:
    hub = new_hub(data)
    yield hub
    await end(hub)


async def end(hub: BubblewrapProvider) -> None:
    for sandbox_id in await hub.list_sandboxes():
        await hub.destroy(sandbox_id)
    await hub.close()


def new_hub(data: Path, *, warm: int = 0) -> BubblewrapProvider:
    return BubblewrapProvider(
        data / "sandboxes",
        checkouts=data / "trees",
        warm=warm,
        agent_command=[sys.executable, "-I", "-B", str(STAND_IN)],
        readable=[STAND_IN],
    )


async def make_running(hub: BubblewrapProvider) -> SandboxId:
    spec = SandboxSpec(new_sandbox_id())
    await hub.create(spec)
    await hub.start(spec.sandbox_id)
    await ask(hub, spec.sandbox_id)
    return spec.sandbox_id


async def ask(hub: BubblewrapProvider, sandbox_id: SandboxId, path: str = "/") -> None:
    """Ask the agent; the socket listens before the agent does, so one attempt is enough."""
    endpoint = await hub.endpoint(sandbox_id)
    assert endpoint.socket is not None
    with anyio.fail_after(30):
        async with await anyio.connect_unix(endpoint.socket) as stream:
            await stream.send(f"GET {quote(path)} HTTP/1.1\r\nHost: agent\r\n\r\n".encode())
            assert await stream.receive()


async def until(happened: Callable[[], bool]) -> None:
    with anyio.fail_after(30):
        while not happened():
            await anyio.lowlevel.checkpoint()


def process_one(run: Path) -> int:
    return json.loads((run / "info.json").read_bytes())["child-pid"]


def run_of(data: Path, sandbox_id: SandboxId) -> Path:
    return data / "sandboxes" / sandbox_id / "run"


def status_of(pid: int) -> dict[str, str]:
    """Return what the kernel says of a process; nothing if there is none of this number."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return {}
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def parent_of(pid: int) -> int:
    return int(status_of(pid)["PPid"])


def chain(data: Path, sandbox_id: SandboxId) -> list[int]:
    """The agent and the processes around it, from the inside outward."""
    pids = [process_one(run_of(data, sandbox_id))]
    while parent_of(pids[-1]) not in {1, os.getpid()}:
        pids.append(parent_of(pids[-1]))
    return pids


def is_dead(pid: int) -> bool:
    """A zombie is dead. If its parent was killed, another has to reap it, in its own time."""
    return status_of(pid).get("State", "Z").startswith("Z")


@pytest.mark.requirement("BOX-7")
async def test_it_outlives_a_hub_that_is_killed(data: Path, hub: BubblewrapProvider) -> None:
    sandbox_id = new_sandbox_id()
    killed = await asyncio.create_subprocess_exec(
        sys.executable,
        str(HUB_TO_KILL),
        str(data),
        sandbox_id,
        str(STAND_IN),
        stdout=asyncio.subprocess.PIPE,
    )
    assert killed.stdout is not None
    with anyio.fail_after(60):
        assert await killed.stdout.readline() == b"started\n"
        killed.kill()
        await killed.wait()
    assert await hub.list_sandboxes() == {sandbox_id: SandboxState.RUNNING}
    await ask(hub, sandbox_id, "/say/still here")
    assert "still here" in await hub.read_log(sandbox_id)
    await hub.stop(sandbox_id)
    assert is_dead(process_one(run_of(data, sandbox_id)))


async def test_nothing_is_left_of_a_stopped_sandbox(data: Path, hub: BubblewrapProvider) -> None:
    sandbox_id = await make_running(hub)
    every = chain(data, sandbox_id)
    assert parent_of(every[-1]) == os.getpid()
    await hub.stop(sandbox_id)
    await hub.state(sandbox_id)
    # Neither a process nor a zombie.
    assert [status_of(pid) for pid in every] == [{}] * len(every)


async def test_whichever_process_is_killed_none_is_forgotten(
    data: Path, hub: BubblewrapProvider
) -> None:
    sandbox_id = await make_running(hub)
    for depth in range(len(chain(data, sandbox_id))):
        every = chain(data, sandbox_id)
        os.kill(every[depth], signal.SIGKILL)
        await until(lambda every=every, depth=depth: is_dead(every[depth]))
        if await hub.state(sandbox_id) is SandboxState.RUNNING:
            await hub.stop(sandbox_id)
        await until(lambda every=every: all(map(is_dead, every)))
        assert await hub.state(sandbox_id) is SandboxState.STOPPED
        await hub.start(sandbox_id)
        await ask(hub, sandbox_id)


async def test_a_recorded_process_that_is_another_by_now_is_not_touched(
    data: Path, hub: BubblewrapProvider
) -> None:
    sandbox_id = await make_running(hub)
    await hub.stop(sandbox_id)
    bystander = await asyncio.create_subprocess_exec("sleep", "60")
    record = run_of(data, sandbox_id) / "info.json"
    record.write_text(json.dumps({"child-pid": bystander.pid}))
    assert await hub.state(sandbox_id) is SandboxState.STOPPED
    await hub.stop(sandbox_id)
    await hub.destroy(sandbox_id)
    assert bystander.returncode is None
    bystander.kill()
    await bystander.wait()


@pytest.mark.requirement("BOX-9")
async def test_an_agent_that_cannot_start_says_why_in_the_log(data: Path) -> None:
    hub = BubblewrapProvider(
        data / "sandboxes", checkouts=data / "trees", agent_command=["/no/such/program"]
    )
    spec = SandboxSpec(new_sandbox_id())
    await hub.create(spec)
    await hub.start(spec.sandbox_id)
    with anyio.fail_after(30):
        while await hub.state(spec.sandbox_id) is SandboxState.RUNNING:
            await anyio.lowlevel.checkpoint()
    assert "/no/such/program" in await hub.read_log(spec.sandbox_id)
    await end(hub)


async def test_the_log_stays_small_and_keeps_its_end(data: Path, hub: BubblewrapProvider) -> None:
    sandbox_id = await make_running(hub)
    log = run_of(data, sandbox_id) / "log"
    with log.open("a") as file:
        file.write("much\n" * 400_000)
    assert await hub.state(sandbox_id) is SandboxState.RUNNING
    await ask(hub, sandbox_id, "/say/the end")
    assert log.stat().st_size < 300_000
    assert (await hub.read_log(sandbox_id)).endswith("much\nthe end\n")


async def test_the_gateways_folder_is_closed_to_others(data: Path, hub: BubblewrapProvider) -> None:
    sandbox_id = await make_running(hub)
    home = data / "sandboxes" / sandbox_id
    assert home.stat().st_mode & 0o077 == 0
    assert (home / "gateway").stat().st_mode & 0o067 == 0


async def test_wrong_requests_are_refused(data: Path, hub: BubblewrapProvider) -> None:
    with pytest.raises(SandboxFailed):
        await hub.create(SandboxSpec(new_sandbox_id(), runtime="btca"))
    with pytest.raises(SandboxFailed):
        await hub.create(SandboxSpec(SandboxId("../elsewhere")))
    with pytest.raises(SettingsError, match="FIRSTHAND_DATA_DIR"):
        new_hub(data / ("deep" * 20))


# The sandboxes that were started in advance.


def members(data: Path) -> list[Path]:
    return [p for p in data.glob("sandboxes/warm/*/*") if not p.name.startswith(".")]


@pytest.fixture
async def warm_hub(data: Path) -> AsyncIterator[BubblewrapProvider]:
    hub = new_hub(data, warm=1)
    yield hub
    await end(hub)
    assert not members(data)


async def test_a_start_takes_what_was_started_in_advance(
    data: Path, warm_hub: BubblewrapProvider
) -> None:
    await make_running(warm_hub)
    await until(lambda: len(members(data)) == 1)
    (member,) = members(data)
    agent = process_one(member / "run")
    sandbox_id = await make_running(warm_hub)
    assert process_one(run_of(data, sandbox_id)) == agent
    await until(lambda: members(data) not in ([], [member]))
    await warm_hub.stop(sandbox_id)
    assert is_dead(agent)


async def test_one_that_died_in_advance_is_not_taken(
    data: Path, warm_hub: BubblewrapProvider
) -> None:
    await make_running(warm_hub)
    await until(lambda: len(members(data)) == 1)
    agent = process_one(members(data)[0] / "run")
    os.kill(agent, signal.SIGKILL)
    await until(lambda: is_dead(agent))
    sandbox_id = await make_running(warm_hub)
    assert process_one(run_of(data, sandbox_id)) != agent


async def test_a_hub_killed_while_it_took_one_leaves_nothing_behind(
    data: Path, warm_hub: BubblewrapProvider
) -> None:
    sandbox_id = await make_running(warm_hub)
    await until(lambda: len(members(data)) == 1)
    await warm_hub.stop(sandbox_id)
    agent = process_one(members(data)[0] / "run")
    members(data)[0].rename(data / "sandboxes" / sandbox_id / "claim")
    await warm_hub.start(sandbox_id)
    await ask(warm_hub, sandbox_id)
    assert is_dead(agent)


async def test_the_next_hub_ends_what_another_started_in_advance(
    data: Path, warm_hub: BubblewrapProvider
) -> None:
    sandbox_id = await make_running(warm_hub)
    await until(lambda: len(members(data)) == 1)
    (member,) = members(data)
    agent = process_one(member / "run")
    next_hub = new_hub(data, warm=1)
    await next_hub.start(sandbox_id)
    await until(lambda: is_dead(agent) and members(data) not in ([], [member]))
    await next_hub.close()


async def test_one_of_other_limits_is_not_taken(data: Path, warm_hub: BubblewrapProvider) -> None:
    await make_running(warm_hub)
    await until(lambda: len(members(data)) == 1)
    agent = process_one(members(data)[0] / "run")
    spec = SandboxSpec(new_sandbox_id(), limits=SandboxLimits(processes=99))
    await warm_hub.create(spec)
    await warm_hub.start(spec.sandbox_id)
    await ask(warm_hub, spec.sandbox_id)
    assert process_one(run_of(data, spec.sandbox_id)) != agent
    await until(lambda: is_dead(agent) and len(members(data)) == 1)


async def test_after_a_restart_there_is_one_before_anybody_asks(
    data: Path, hub: BubblewrapProvider
) -> None:
    await hub.create(SandboxSpec(new_sandbox_id()))
    next_hub = new_hub(data, warm=1)
    await next_hub.list_sandboxes()
    await until(lambda: len(members(data)) == 1)
    await next_hub.close()
    assert members(data) == []
