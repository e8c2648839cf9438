"""What instances work with: their collaborators and what every sandbox is given."""

from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Protocol

from firsthand.hub.clock import Clock
from firsthand.hub.db.engine import Database
from firsthand.hub.feeds import Feeds
from firsthand.hub.ids import SandboxId
from firsthand.hub.sandboxes.provider import SandboxLimits, SandboxProvider
from firsthand.hub.workflows import Workflows


class GatewayDoor(Protocol):
    """Where a sandbox reaches the model: a socket that the hub serves."""

    async def serve(self, sandbox_id: SandboxId, socket: Path) -> None:
        """Listen there; does nothing if already listening."""
        ...

    async def unserve(self, sandbox_id: SandboxId) -> None:
        """Stop listening."""
        ...


@dataclass(frozen=True, slots=True)
class SandboxSettings:
    """What every new sandbox is given."""

    limits: SandboxLimits = field(default_factory=SandboxLimits)
    # Longer than the reconciler's round, which is a word from the hub.
    agent_idle_limit: timedelta = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What instances work with."""

    db: Database
    feeds: Feeds
    provider: SandboxProvider
    workflows: Workflows
    clock: Clock
    gateway: GatewayDoor
    sandbox: SandboxSettings = field(default_factory=SandboxSettings)
