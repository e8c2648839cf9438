"""The sandbox port with agents that run in this process, each on a Unix socket of its own.

Complete as to life cycle; it keeps nothing apart from anything. Tests of what lies above the port
use it where bubblewrap would only cost time.
"""

import asyncio
import shutil
import socket
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from firsthand.hub.ids import SandboxId
from firsthand.hub.sandboxes.provider import (
    AgentEndpoint,
    SandboxFailed,
    SandboxSpec,
    SandboxState,
)

_LOG_MAX_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class AgentPlace:
    """What an agent in this process is given: the same things as one in a real sandbox.

    `listener` already listens. `say` writes a line to the sandbox's log.
    """

    listener: socket.socket
    gateway: Path
    checkouts: Path
    idle_limit: timedelta
    say: Callable[[str], None]


# Runs one agent until it ends by itself or is cancelled; leaves the listener to its caller.
ServeAgent = Callable[[AgentPlace], Coroutine[object, object, None]]


@dataclass
class _Sandbox:
    spec: SandboxSpec
    log: str = ""
    task: "asyncio.Task[None] | None" = None

    def say(self, line: str) -> None:
        self.log = (self.log + line + "\n")[-_LOG_MAX_BYTES:]

    @property
    def state(self) -> SandboxState:
        alive = self.task is not None and not self.task.done()
        return SandboxState.RUNNING if alive else SandboxState.STOPPED


@dataclass
class SandboxBacking:
    """What outlives a provider object, as processes and folders outlive a hub."""

    root: Path
    sandboxes: dict[SandboxId, _Sandbox] = field(default_factory=dict[SandboxId, _Sandbox])


class InMemoryProvider:
    """A hub's view of a `SandboxBacking`; a second one over the same backing is the next hub."""

    name = "in_memory"

    def __init__(self, backing: SandboxBacking, *, checkouts: Path, serve: ServeAgent) -> None:
        self._backing = backing
        self._checkouts = checkouts
        self._serve = serve

    async def create(self, spec: SandboxSpec) -> None:
        """Make the sandbox, stopped. Does nothing if it exists with this id."""
        self._backing.sandboxes.setdefault(spec.sandbox_id, _Sandbox(spec))
        self._home(spec.sandbox_id).mkdir(parents=True, exist_ok=True)

    async def start(self, sandbox_id: SandboxId) -> None:
        """Start the agent as a task. Does nothing if it runs."""
        sandbox = self._get(sandbox_id)
        if sandbox.state is SandboxState.RUNNING:
            return
        sandbox.log = ""
        path = self._home(sandbox_id) / "s"
        path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(path))
        listener.listen()
        sandbox.task = asyncio.create_task(self._run(sandbox, listener))

    async def _run(self, sandbox: _Sandbox, listener: socket.socket) -> None:
        place = AgentPlace(
            listener=listener,
            gateway=self._home(sandbox.spec.sandbox_id) / "g",
            checkouts=self._checkouts,
            idle_limit=sandbox.spec.idle_limit,
            say=sandbox.say,
        )
        with listener:
            try:
                await self._serve(place)
            except Exception as error:  # noqa: BLE001 - the outermost frame of the agent's task
                sandbox.say(f"{type(error).__name__}: {error}")

    async def stop(self, sandbox_id: SandboxId) -> None:
        """Cancel the agent and wait for its end. Does nothing if stopped."""
        sandbox = self._backing.sandboxes.get(sandbox_id)
        if sandbox is None or sandbox.task is None:
            return
        sandbox.task.cancel()
        await asyncio.wait([sandbox.task])

    async def destroy(self, sandbox_id: SandboxId) -> None:
        """Stop it and remove all that it had. Does nothing if missing."""
        await self.stop(sandbox_id)
        if self._backing.sandboxes.pop(sandbox_id, None) is not None:
            shutil.rmtree(self._home(sandbox_id))

    async def state(self, sandbox_id: SandboxId) -> SandboxState:
        """Look at the agent's task."""
        sandbox = self._backing.sandboxes.get(sandbox_id)
        return SandboxState.MISSING if sandbox is None else sandbox.state

    async def list_sandboxes(self) -> Mapping[SandboxId, SandboxState]:
        """All sandboxes of the backing."""
        return {sandbox_id: found.state for sandbox_id, found in self._backing.sandboxes.items()}

    async def endpoint(self, sandbox_id: SandboxId) -> AgentEndpoint:
        """Where the agent listens."""
        return AgentEndpoint(socket=self._home(sandbox_id) / "s")

    async def gateway_socket(self, sandbox_id: SandboxId) -> Path | None:
        """Where the hub serves the gateway for this sandbox."""
        return self._home(sandbox_id) / "g"

    async def storage_bytes(self, sandbox_id: SandboxId) -> int:
        """Return the size of its log, all that it stores."""
        return len(self._get(sandbox_id).log.encode())

    async def read_log(self, sandbox_id: SandboxId, *, max_bytes: int = 16_384) -> str:
        """The end of what the agent said, kept after its end."""
        log = self._get(sandbox_id).log.encode()
        return log[-max_bytes:].decode(errors="replace")

    def path_inside(self, tree: Path) -> str:
        """Inside is outside."""
        return str(tree)

    async def close(self) -> None:
        """Let go; agents go on running as long as the backing's event loop does."""

    def _home(self, sandbox_id: SandboxId) -> Path:
        return self._backing.root / sandbox_id

    def _get(self, sandbox_id: SandboxId) -> _Sandbox:
        sandbox = self._backing.sandboxes.get(sandbox_id)
        if sandbox is None:
            raise SandboxFailed(
                f"The sandbox {sandbox_id} does not exist.", hint="Provision the instance again."
            )
        return sandbox
