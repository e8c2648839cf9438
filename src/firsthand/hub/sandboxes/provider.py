"""The port to whatever runs sandboxes.

Above it: instances, which decide when a sandbox lives. Below it: one mechanism that keeps
processes apart. An adapter knows nothing of users, instances' states, questions or models;
it keeps sandboxes by id, remembers them across restarts of the hub, and tells the truth about
them. Every operation may be repeated, and two calls for one sandbox never overlap: the caller
sees to that, an adapter need not.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from firsthand.hub.errors import Unavailable
from firsthand.hub.ids import SandboxId


class SandboxState(StrEnum):
    """What the provider really has."""

    MISSING = "missing"
    STOPPED = "stopped"
    RUNNING = "running"


@dataclass(frozen=True, slots=True)
class SandboxLimits:
    """Bounds on everything inside one sandbox together."""

    memory_bytes: int = 1024 * 1024 * 1024
    processes: int = 256
    open_files: int = 1024
    file_size_bytes: int = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class SandboxSpec:
    """What a sandbox is made of; fixed for its life.

    `idle_limit` is how long the agent lives without a word from a hub.
    """

    sandbox_id: SandboxId
    runtime: str = "native"
    limits: SandboxLimits = field(default_factory=SandboxLimits)
    idle_limit: timedelta = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class AgentEndpoint:
    """Where the agent of a running sandbox is reached: a Unix socket, or a URL with a secret."""

    socket: Path | None = None
    url: str | None = None
    secret: str | None = None


class SandboxFailed(Unavailable):
    """The provider could not do it. `detail` holds its reason and the end of its log."""

    title = "The sandbox failed"


class SandboxProvider(Protocol):
    """Makes, starts, stops and removes sandboxes. All methods raise `SandboxFailed`."""

    @property
    def name(self) -> str:
        """The word in `FIRSTHAND_SANDBOX` that chooses this adapter."""
        ...

    async def create(self, spec: SandboxSpec) -> None:
        """Make the sandbox, stopped. Does nothing if it exists with this id."""
        ...

    async def start(self, sandbox_id: SandboxId) -> None:
        """Start the agent's process and return at once; its health is asked by the caller."""
        ...

    async def stop(self, sandbox_id: SandboxId) -> None:
        """End every process inside and return when none is left. Does nothing if stopped."""
        ...

    async def destroy(self, sandbox_id: SandboxId) -> None:
        """Stop it and remove all that it had. Does nothing if missing."""
        ...

    async def state(self, sandbox_id: SandboxId) -> SandboxState:
        """Ask what is really there, never a remembered answer."""
        ...

    async def list_sandboxes(self) -> Mapping[SandboxId, SandboxState]:
        """All sandboxes of this hub's data folder, with their true states."""
        ...

    async def endpoint(self, sandbox_id: SandboxId) -> AgentEndpoint:
        """Where the agent listens. Valid while the sandbox runs."""
        ...

    async def gateway_socket(self, sandbox_id: SandboxId) -> Path | None:
        """The Unix socket on which the hub must serve the model gateway for this sandbox.

        `None` where the agent reaches the gateway in another way.
        """
        ...

    async def storage_bytes(self, sandbox_id: SandboxId) -> int:
        """Disk used by this sandbox alone, shared checkouts not counted."""
        ...

    async def read_log(self, sandbox_id: SandboxId, *, max_bytes: int = 16_384) -> str:
        """The end of what the sandbox's processes printed, kept after they ended."""
        ...

    def path_inside(self, tree: Path) -> str:
        """How a path of the shared checkout store is called inside a sandbox."""
        ...

    async def close(self) -> None:
        """Let go of the adapter's own resources; sandboxes go on running."""
        ...
