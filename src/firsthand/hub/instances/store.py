"""Rows of instances. Every move is one conditional write; the caller looks at whether it won."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, RowMapping, and_, exists, insert, select, update

from firsthand.hub.db.schema import instances, runs
from firsthand.hub.errors import NotFound
from firsthand.hub.identity.principal import Principal
from firsthand.hub.ids import InstanceId, SandboxId, UserId, new_instance_id
from firsthand.hub.instances.instance import (
    MOVES,
    Instance,
    InstanceState,
    Package,
    Step,
)
from firsthand.protocol.questions import RunState

_UNFINISHED_RUNS = (RunState.QUEUED, RunState.STARTING, RunState.RUNNING)


class IllegalMove(AssertionError):
    """The table of moves has no such move: a defect of the caller, not a lost race."""


def add_instance(
    connection: Connection, user_id: UserId, now: datetime, *, runtime: str = "native"
) -> InstanceId:
    """Give a new user their instance, in the transaction that makes the user."""
    instance_id = new_instance_id()
    connection.execute(
        insert(instances).values(
            id=instance_id,
            user_id=user_id,
            state=InstanceState.UNPROVISIONED,
            runtime=runtime,
            state_changed_at=now,
            created_at=now,
        )
    )
    return instance_id


def get_own(connection: Connection, principal: Principal) -> Instance:
    """Return the principal's instance. Raises `NotFound`."""
    return _one(connection, instances.c.user_id == principal.user_id)


def get(connection: Connection, instance_id: InstanceId) -> Instance:
    """Return the instance; the id must come from a row of its user. Raises `NotFound`."""
    return _one(connection, instances.c.id == instance_id)


def id_of_user(connection: Connection, user_id: UserId) -> InstanceId:
    """Return the id of a user's instance. Raises `NotFound`."""
    return _one(connection, instances.c.user_id == user_id).id


def _one(connection: Connection, condition: Any) -> Instance:
    row = connection.execute(select(instances).where(condition)).mappings().one_or_none()
    if row is None:
        raise NotFound("There is no such instance.")
    return _entity(row)


def list_all(connection: Connection) -> list[Instance]:
    """All instances, for the reconciler."""
    rows = connection.execute(select(instances).order_by(instances.c.created_at)).mappings()
    return [_entity(row) for row in rows]


def list_idle(connection: Connection, active_before: datetime) -> list[Instance]:
    """Running instances without activity since then and without an unfinished run."""
    rows = connection.execute(select(instances).where(_idle(active_before))).mappings()
    return [_entity(row) for row in rows]


def is_idle(connection: Connection, instance_id: InstanceId, active_before: datetime) -> bool:
    """Tell whether `list_idle` would name this instance."""
    query = select(instances.c.id).where(instances.c.id == instance_id, _idle(active_before))
    return connection.execute(query).first() is not None


def _idle(active_before: datetime) -> ColumnElement[bool]:
    busy = exists().where(runs.c.user_id == instances.c.user_id, runs.c.state.in_(_UNFINISHED_RUNS))
    return and_(
        instances.c.state == InstanceState.RUNNING,
        instances.c.state_changed_at < active_before,
        (instances.c.last_active_at < active_before) | instances.c.last_active_at.is_(None),
        ~busy,
    )


def move(
    connection: Connection,
    instance_id: InstanceId,
    *,
    expected: InstanceState,
    generation: int,
    to: InstanceState,
    now: datetime,
    also: Mapping[str, Any] | None = None,
) -> bool:
    """Move the instance if it still is where the caller saw it; tell whether that was so.

    Raises `IllegalMove` for what the table does not have.
    """
    if to not in MOVES[expected]:
        raise IllegalMove(f"{expected} may not become {to}")
    result = connection.execute(
        update(instances)
        .where(
            instances.c.id == instance_id,
            instances.c.state == expected,
            instances.c.generation == generation,
        )
        .values(
            {"state": to, "generation": generation + 1, "state_changed_at": now, **(also or {})}
        )
    )
    return result.rowcount == 1


def mark_step(
    connection: Connection, instance_id: InstanceId, generation: int, steps: Sequence[Step]
) -> bool:
    """Show where the operation of this generation is; tell whether it still is the one."""
    current = next((step.name for step in steps if step.ended_at is None), None)
    result = connection.execute(
        update(instances)
        .where(instances.c.id == instance_id, instances.c.generation == generation)
        .values(step=current, steps=encode_steps(steps))
    )
    return result.rowcount == 1


def mark_active(connection: Connection, user_id: UserId, now: datetime) -> None:
    """The user did something that needs their instance."""
    connection.execute(
        update(instances).where(instances.c.user_id == user_id).values(last_active_at=now)
    )


def mark_storage(connection: Connection, instance_id: InstanceId, storage_bytes: int) -> None:
    """Note how much disk the instance uses."""
    connection.execute(
        update(instances)
        .where(instances.c.id == instance_id)
        .values(storage_used_bytes=storage_bytes)
    )


def encode_steps(steps: Sequence[Step]) -> str:
    """Return the column's form of steps."""
    return msgspec.json.encode(list(steps)).decode()


def encode_packages(packages: Sequence[Package]) -> str:
    """Return the column's form of packages."""
    return msgspec.json.encode(list(packages)).decode()


def _entity(row: RowMapping) -> Instance:
    fields: dict[str, Any] = dict(row)
    fields["state"] = InstanceState(fields["state"])
    fields["steps"] = msgspec.json.decode(fields["steps"], type=tuple[Step, ...])
    fields["packages"] = msgspec.json.decode(fields["packages"], type=tuple[Package, ...])
    sandbox_id = fields["sandbox_id"]
    fields["sandbox_id"] = SandboxId(sandbox_id) if sandbox_id else None
    return Instance(**fields)
