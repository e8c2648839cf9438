"""The sandbox providers that must keep the contract, and a place for each test to use one."""

import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from firsthand.hub.sandboxes.bubblewrap.provider import BubblewrapProvider
from firsthand.hub.sandboxes.in_memory.provider import (
    AgentPlace,
    InMemoryProvider,
    SandboxBacking,
)
from firsthand.hub.sandboxes.provider import SandboxProvider

from .stand_in import StandIn

STAND_IN = Path(__file__).with_name("stand_in.py")


@dataclass
class Host:
    """One host with its data folder; `new_hub` gives what a hub that starts on it has."""

    checkouts: Path
    make: Callable[[], SandboxProvider]
    hubs: list[SandboxProvider] = field(default_factory=list[SandboxProvider])

    def new_hub(self) -> SandboxProvider:
        hub = self.make()
        self.hubs.append(hub)
        return hub

    async def clear(self) -> None:
        last = self.new_hub()
        for sandbox_id in await last.list_sandboxes():
            await last.destroy(sandbox_id)
        for hub in self.hubs:
            await hub.close()


@pytest.fixture(params=["bubblewrap", "warm bubblewrap", "in_memory"])
async def host(request: pytest.FixtureRequest) -> AsyncIterator[Host]:
    # Not pytest's folder: socket paths have to be short.
    with TemporaryDirectory(prefix="fh-") as folder:
        checkouts = Path(folder, "trees")
        checkouts.mkdir()
        backing = SandboxBacking(Path(folder))

        async def serve(place: AgentPlace) -> None:
            seconds = place.idle_limit.total_seconds()
            await StandIn(
                place.listener, place.gateway, place.checkouts, seconds, place.say
            ).serve()

        def make() -> SandboxProvider:
            if request.param == "in_memory":
                return InMemoryProvider(backing, checkouts=checkouts, serve=serve)
            return BubblewrapProvider(
                Path(folder, "sandboxes"),
                checkouts=checkouts,
                warm=1 if request.param == "warm bubblewrap" else 0,
                agent_command=[sys.executable, "-I", "-B", str(STAND_IN)],
                readable=[STAND_IN],
            )

        host = Host(checkouts, make)
        yield host
        await host.clear()
