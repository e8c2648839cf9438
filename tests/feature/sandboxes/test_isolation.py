"""Nothing gets out of a bubblewrap sandbox: a program inside tries, and every attempt fails."""

import json
import os
import socket
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio
import msgspec
import pytest

import firsthand
from firsthand.hub.ids import new_sandbox_id
from firsthand.hub.sandboxes.bubblewrap.provider import BubblewrapProvider
from firsthand.hub.sandboxes.bubblewrap.syscalls import MACHINES
from firsthand.hub.sandboxes.provider import SandboxLimits, SandboxSpec, SandboxState

from .probe import attempts

PROBE = Path(__file__).with_name("probe.py")
KEY = "sk-known-to-the-hub-alone"
LIMITS = SandboxLimits(
    memory_bytes=256 * 1024 * 1024,
    processes=32,
    open_files=64,
    file_size_bytes=8 * 1024 * 1024,
)
NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")


class Probed(msgspec.Struct):
    identity: tuple[int, int, list[int], str]
    reads: str
    attempts: dict[str, str | None]
    calls: dict[str, str | None]


@pytest.fixture(scope="module")
def probed() -> Iterator[Probed]:
    # Not pytest's folder: socket paths have to be short.
    with (
        TemporaryDirectory(prefix="fh-") as folder,
        TemporaryDirectory(prefix="fh-facts-") as facts,
        TemporaryDirectory(prefix=".fh-", dir=Path.home()) as home,
        pytest.MonkeyPatch.context() as environment,
    ):
        environment.setenv("OPENAI_API_KEY", KEY)
        Path(home, "secret").write_text("x")
        yield anyio.run(run_probe, Path(folder), Path(facts, "f.json"), Path(home, "secret"))


async def run_probe(data: Path, facts: Path, home_secret: Path) -> Probed:
    checkouts = data / "trees"
    tree = checkouts / "unguessable" / "tree"
    tree.mkdir(parents=True)
    (tree / "file").write_text("for whoever knows the name")
    (data / "database.sqlite").write_text("x")
    facts.write_text("{}")
    hub = BubblewrapProvider(
        data / "sandboxes",
        checkouts=checkouts,
        agent_command=[sys.executable, "-I", "-B", str(PROBE), str(facts)],
        readable=[PROBE, facts],
    )
    own, other = (SandboxSpec(new_sandbox_id(), limits=LIMITS) for _ in range(2))
    try:
        await hub.create(other)
        await hub.create(own)
        abstract = f"fh-{own.sandbox_id}"
        gateway = await hub.gateway_socket(own.sandbox_id)
        agent = await hub.endpoint(other.sandbox_id)
        with (
            socket.create_server(("127.0.0.1", 0)) as server,
            listening("\0" + abstract),
            listening(str(gateway)),
        ):
            known = facts_of_this_host() | {
                "abstract_socket": abstract,
                "data": str(data),
                "database": str(data / "database.sqlite"),
                "home_secret": str(home_secret),
                "other_agent": str(agent.socket),
                "other_sandbox": str(data / "sandboxes" / other.sandbox_id),
                "port": server.getsockname()[1],
                "tree_inside": hub.path_inside(tree),
            }
            facts.write_text(json.dumps(known))
            await hub.start(own.sandbox_id)
            with anyio.fail_after(60):
                while await hub.state(own.sandbox_id) is SandboxState.RUNNING:
                    await anyio.lowlevel.checkpoint()
        log = await hub.read_log(own.sandbox_id)
        assert log.startswith("{"), log
        return msgspec.json.decode(log, type=Probed)
    finally:
        await hub.destroy(own.sandbox_id)
        await hub.destroy(other.sandbox_id)
        await hub.close()


def listening(address: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen()
    return listener


def facts_of_this_host() -> dict[str, object]:
    machine = MACHINES[os.uname().machine]
    return {
        **asdict(LIMITS),
        "clone": machine.clone,
        "clone3": machine.clone3,
        "denied": machine.denied,
        "first_foreign": machine.first_foreign,
        "hub_pid": os.getpid(),
        "key": KEY,
        "last": machine.last,
        "namespaces": {kind: str(Path(f"/proc/self/ns/{kind}").readlink()) for kind in NAMESPACES},
        "package": str(Path(firsthand.__file__).parent),
    }


@pytest.mark.requirement("BOX-6")
def test_it_runs_as_nobody_on_a_host_without_a_name(probed: Probed) -> None:
    uid, gid, groups, hostname = probed.identity
    assert (uid, gid, hostname) == (65534, 65534, "sandbox")
    assert set(groups) <= {65534}


def test_it_reads_a_checkout_whose_name_it_knows(probed: Probed) -> None:
    assert probed.reads == "for whoever knows the name"


@pytest.mark.requirement("BOX-1", "BOX-2", "BOX-3", "BOX-4", "BOX-5", "BOX-6")
@pytest.mark.requirement("BOX-1", "BOX-2", "BOX-3", "BOX-4", "BOX-5", "BOX-6", "HUB-10")
@pytest.mark.parametrize("name", attempts)
def test_it_cannot(probed: Probed, name: str) -> None:
    assert probed.attempts[name] is not None, f"A sandbox could {name.replace('_', ' ')}."


@pytest.mark.requirement("BOX-6")
@pytest.mark.requirement("BOX-6")
@pytest.mark.parametrize("name", MACHINES[os.uname().machine].denied)
def test_the_kernel_refuses_the_call(probed: Probed, name: str) -> None:
    assert probed.calls[name] == "EPERM"
