"""An instance and its life cycle: the table of moves, and which operation is allowed where.

The table is data. Whoever moves an instance does so through the store, which checks the expected
state and generation in the same write.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType

from firsthand.hub.ids import InstanceId, SandboxId, UserId
from firsthand.protocol.message import Message


class InstanceState(StrEnum):
    """Where an instance is in its life."""

    UNPROVISIONED = "unprovisioned"
    PROVISIONING = "provisioning"
    STOPPED = "stopped"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    UPDATING = "updating"
    ERROR = "error"


_S = InstanceState

MOVES = MappingProxyType(
    {
        _S.UNPROVISIONED: frozenset({_S.PROVISIONING}),
        _S.PROVISIONING: frozenset({_S.STOPPED, _S.RUNNING, _S.ERROR}),
        _S.STOPPED: frozenset({_S.STARTING, _S.UPDATING, _S.PROVISIONING}),
        _S.STARTING: frozenset({_S.RUNNING, _S.ERROR}),
        _S.RUNNING: frozenset({_S.STOPPING, _S.UPDATING, _S.ERROR}),
        _S.STOPPING: frozenset({_S.STOPPED, _S.ERROR}),
        _S.UPDATING: frozenset({_S.RUNNING, _S.STOPPED, _S.ERROR}),
        _S.ERROR: frozenset({_S.STARTING, _S.PROVISIONING, _S.STOPPING}),
    }
)


class Operation(StrEnum):
    """What can be done to an instance; each is a durable workflow of this name."""

    PROVISION = "provision"
    WAKE = "wake"
    STOP = "stop"
    UPDATE = "update"
    RESET = "reset"


# The state that an operation passes through. Whoever finds an instance there knows what is, or
# should be, under way.
PASSES_THROUGH = MappingProxyType(
    {
        Operation.PROVISION: _S.PROVISIONING,
        Operation.WAKE: _S.STARTING,
        Operation.STOP: _S.STOPPING,
        Operation.UPDATE: _S.UPDATING,
        Operation.RESET: _S.PROVISIONING,
    }
)

# Where an operation may begin. `provision` makes the first sandbox, `reset` replaces one.
BEGINS_IN = MappingProxyType(
    {
        Operation.PROVISION: frozenset({_S.UNPROVISIONED, _S.ERROR}),
        Operation.WAKE: frozenset({_S.STOPPED, _S.ERROR}),
        Operation.STOP: frozenset({_S.RUNNING, _S.ERROR}),
        Operation.UPDATE: frozenset({_S.STOPPED, _S.RUNNING}),
        Operation.RESET: frozenset({_S.STOPPED, _S.ERROR}),
    }
)

PASSING_STATES = frozenset(PASSES_THROUGH.values())

_WORDS = MappingProxyType(
    {
        _S.UNPROVISIONED: "not set up yet",
        _S.PROVISIONING: "being set up",
        _S.STOPPED: "stopped",
        _S.STARTING: "waking up",
        _S.RUNNING: "running",
        _S.STOPPING: "stopping",
        _S.UPDATING: "being updated",
        _S.ERROR: "in error",
    }
)


class Package(Message, frozen=True, kw_only=True):
    """A package of the instance's runtime: what is installed and the newest known."""

    name: str
    installed: str | None = None
    latest: str | None = None


class Step(Message, frozen=True, kw_only=True):
    """A step of the operation under way or last ended, in words for people."""

    name: str
    started_at: datetime
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Instance:
    """A user's agent host as the database holds it."""

    id: InstanceId
    user_id: UserId
    state: InstanceState
    generation: int
    step: str | None
    steps: tuple[Step, ...]
    error_message: str | None
    runtime: str
    packages: tuple[Package, ...]
    update_available: bool
    last_version_check: datetime | None
    sandbox_id: SandboxId | None
    storage_used_bytes: int
    last_active_at: datetime | None
    state_changed_at: datetime
    provisioned_at: datetime | None
    created_at: datetime

    @property
    def is_passing(self) -> bool:
        """Whether an operation is under way."""
        return self.state in PASSING_STATES


def may_begin(operation: Operation, instance: Instance) -> bool:
    """Tell whether the operation is allowed now; waking needs a sandbox to wake."""
    if instance.state not in BEGINS_IN[operation]:
        return False
    return operation is not Operation.WAKE or instance.sandbox_id is not None


def describe(state: InstanceState) -> str:
    """Return the state in words that follow "the instance is"."""
    return _WORDS[state]
