"""The hub's heart put together for tests: an owner, a member and a stranger, real database, real
workflows, in-memory sandboxes with scripted agents.

A second `World` over the same folder and backing is the next process of the hub.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import Connection, insert, select

from firsthand.hub.db.engine import Database
from firsthand.hub.db.schema import projects, resources, users
from firsthand.hub.feeds import Feeds
from firsthand.hub.feeds.topics import instance_topic, run_topic
from firsthand.hub.identity.principal import Principal, Role, scopes_of
from firsthand.hub.ids import InstanceId, RunId, SandboxId, UserId
from firsthand.hub.instances import store as instances_store
from firsthand.hub.instances.instance import Instance, InstanceState
from firsthand.hub.instances.instances import Instances
from firsthand.hub.instances.lifecycle import Lifecycle
from firsthand.hub.instances.reconcile import Reconciler, ReconcileSettings
from firsthand.hub.instances.surroundings import Surroundings
from firsthand.hub.sandboxes.in_memory.provider import InMemoryProvider, SandboxBacking
from firsthand.hub.sandboxes.provider import (
    AgentEndpoint,
    SandboxFailed,
    SandboxProvider,
    SandboxSpec,
    SandboxState,
)
from firsthand.hub.threads.ask import Ask, AskParts
from firsthand.hub.threads.journal import Journal
from firsthand.hub.threads.relay import Relay, RelayParts
from firsthand.hub.threads.run import Run
from firsthand.hub.workflows import Workflows
from firsthand.protocol.events import NumberedEvent, TextDelta
from firsthand.protocol.questions import Dialect, ModelChoice, RunLimits
from firsthand.sources.errors import SourceError
from firsthand.sources.progress import Progress
from firsthand.sources.source import Source
from firsthand.sources.store import Checkout
from tests.scripted_agent import Gate, ScriptedAgent

OWNER = Principal(UserId("us_owner"), "Olive", Role.OWNER, scopes_of(Role.OWNER))
MEMBER = Principal(UserId("us_member"), "Mo", Role.MEMBER, scopes_of(Role.MEMBER))
STRANGER = Principal(UserId("us_stranger"), "Sam", Role.MEMBER, scopes_of(Role.MEMBER))
EVERYBODY = (OWNER, MEMBER, STRANGER)

SCRIPTED = ModelChoice(dialect=Dialect.SCRIPTED, provider="test", model="scripted")


@dataclass
class ManualClock:
    """A clock that goes on by a millisecond a look, and further when told."""

    now: datetime = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        self.now += timedelta(milliseconds=1)
        return self.now

    def advance(self, by: timedelta) -> None:
        self.now += by


class RecordingProvider:
    """In-memory sandboxes that count calls, fail or wait where a test says so."""

    def __init__(self, inner: SandboxProvider) -> None:
        self._inner = inner
        self.calls: list[str] = []
        # How often the next calls of a name fail.
        self.failing: dict[str, int] = {}
        self.gates: dict[str, Gate] = {}
        self.name = inner.name

    def count(self, name: str) -> int:
        return self.calls.count(name)

    async def _meet(self, name: str) -> None:
        self.calls.append(name)
        gate = self.gates.get(name)
        if gate is not None:
            gate.reached.set()
            await gate.opened.wait()
        left = self.failing.get(name, 0)
        if left:
            self.failing[name] = left - 1
            raise SandboxFailed(f"{name} was told to fail")

    async def create(self, spec: SandboxSpec) -> None:
        await self._meet("create")
        await self._inner.create(spec)

    async def start(self, sandbox_id: SandboxId) -> None:
        await self._meet("start")
        await self._inner.start(sandbox_id)

    async def stop(self, sandbox_id: SandboxId) -> None:
        await self._meet("stop")
        await self._inner.stop(sandbox_id)

    async def destroy(self, sandbox_id: SandboxId) -> None:
        await self._meet("destroy")
        await self._inner.destroy(sandbox_id)

    async def state(self, sandbox_id: SandboxId) -> SandboxState:
        return await self._inner.state(sandbox_id)

    async def list_sandboxes(self) -> Mapping[SandboxId, SandboxState]:
        return await self._inner.list_sandboxes()

    async def endpoint(self, sandbox_id: SandboxId) -> AgentEndpoint:
        await self._meet("endpoint")
        return await self._inner.endpoint(sandbox_id)

    async def gateway_socket(self, sandbox_id: SandboxId) -> Path | None:
        return await self._inner.gateway_socket(sandbox_id)

    async def storage_bytes(self, sandbox_id: SandboxId) -> int:
        await self._meet("storage_bytes")
        return await self._inner.storage_bytes(sandbox_id)

    async def read_log(self, sandbox_id: SandboxId, *, max_bytes: int = 16_384) -> str:
        return await self._inner.read_log(sandbox_id, max_bytes=max_bytes)

    def path_inside(self, tree: Path) -> str:
        return self._inner.path_inside(tree)

    async def close(self) -> None:
        await self._inner.close()


@dataclass
class RecordingGateway:
    """Notes for which sandboxes the model gateway is served."""

    served: dict[SandboxId, Path] = field(default_factory=dict[SandboxId, Path])

    async def serve(self, sandbox_id: SandboxId, socket: Path) -> None:
        self.served[sandbox_id] = socket

    async def unserve(self, sandbox_id: SandboxId) -> None:
        self.served.pop(sandbox_id, None)


@dataclass
class FoundCheckouts:
    """Checkouts that are simply there; fails or waits for sources that a test names."""

    root: Path
    asked: list[Source] = field(default_factory=list[Source])
    errors: dict[str, SourceError] = field(default_factory=dict[str, SourceError])
    gates: dict[str, Gate] = field(default_factory=dict[str, Gate])

    async def check_address(self, source: Source) -> None:
        """Let everything through."""

    async def checkout(
        self,
        source: Source,
        *,
        max_age: timedelta | None = None,
        progress: Callable[[Progress], None] | None = None,
    ) -> Checkout:
        self.asked.append(source)
        if progress is not None:
            progress(Progress("Receiving objects", 1, 2))
            progress(Progress("Receiving objects", 2, 2))
        gate = self.gates.get(source.location)
        if gate is not None:
            gate.reached.set()
            await gate.opened.wait()
        error = self.errors.get(source.location)
        if error is not None:
            raise error
        return Checkout(
            id="token",
            source=source,
            ref=source.ref or "main",
            commit="c" * 40,
            committed_at=None,
            fetched_at=datetime(2026, 1, 1, tzinfo=UTC),
            tree=self.root / "token" / "tree",
            index=None,
            size_bytes=1,
            file_count=1,
            link_template=None,
        )


@dataclass
class World:
    """One process of the hub."""

    db: Database
    feeds: Feeds
    workflows: Workflows
    provider: RecordingProvider
    gateway: RecordingGateway
    checkouts: FoundCheckouts
    clock: ManualClock
    agent: ScriptedAgent
    lifecycle: Lifecycle
    instances: Instances
    reconciler: Reconciler
    ask: Ask
    journal: Journal
    relay: Relay

    async def instance(self, principal: Principal = OWNER) -> Instance:
        return await self.instances.status(principal)

    async def instance_id(self, principal: Principal = OWNER) -> InstanceId:
        return (await self.instance(principal)).id

    async def until_state(self, *states: InstanceState, principal: Principal = OWNER) -> Instance:
        """Wait until the instance is in one of these states."""
        instance_id = await self.instance_id(principal)
        async with (
            asyncio.timeout(20),
            self.feeds.subscribe([instance_topic(instance_id)]) as subscription,
        ):
            while (instance := await self.instance(principal)).state not in states:
                await subscription.changed()
            return instance

    async def events(self, run: Run, principal: Principal = OWNER) -> list[NumberedEvent]:
        """Follow a run to its end."""
        async with asyncio.timeout(20):
            async with aclosing(self.journal.follow(principal, run.id)) as events:
                return [event async for event in events]

    async def ended(self, run: Run, principal: Principal = OWNER) -> Run:
        """Wait for a run's end."""
        await self.events(run, principal)
        return await self.journal.run(principal, run.id)

    async def until_text(self, run_id: RunId, text: str) -> None:
        """Wait until the journal holds this much of the answer."""
        async with (
            asyncio.timeout(20),
            self.feeds.subscribe([run_topic(run_id)]) as subscription,
        ):
            while text_of(await self.journal.read(OWNER, run_id)) != text:
                await subscription.changed()

    async def running(self, principal: Principal = OWNER) -> Instance:
        """Bring the instance to run."""
        await self.instances.ensure_running(await self.instance_id(principal))
        return await self.instance(principal)

    async def stopped(self, principal: Principal = OWNER) -> Instance:
        """Bring the instance to rest."""
        await self.running(principal)
        await self.instances.stop(principal)
        return await self.until_state(InstanceState.STOPPED, principal=principal)


def text_of(events: Sequence[NumberedEvent]) -> str:
    """The answer that these events amount to."""
    return "".join(e.event.delta for e in events if isinstance(e.event, TextDelta))


@dataclass
class Ground:
    """What outlives a process of the hub: files and sandboxes."""

    root: Path
    agent: ScriptedAgent
    clock: ManualClock = field(default_factory=ManualClock)
    # How long the hub lets an agent go on.
    limits: RunLimits = field(default_factory=RunLimits)
    end_grace: timedelta = timedelta(minutes=1)
    cancel_grace: timedelta = timedelta(seconds=5)
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep

    def __post_init__(self) -> None:
        self.backing = SandboxBacking(self.root / "sb")

    @asynccontextmanager
    async def hub(
        self, *, settings: ReconcileSettings | None = None, resume: bool = True
    ) -> AsyncGenerator[World]:
        """Start a hub over this ground, and shut it down orderly at the end."""
        db = Database.open(f"sqlite:///{self.root / 'hub.sqlite'}")
        try:
            await db.write(lambda c: _settle(c, self.clock()))
            world = self._world(db, settings)
            await world.workflows.launch()
            try:
                if resume:
                    await world.reconciler.start()
                    await world.relay.resume_unfinished()
                yield world
            finally:
                await world.reconciler.close()
                await world.workflows.shutdown()
        finally:
            await db.close()

    def _world(self, db: Database, settings: ReconcileSettings | None) -> World:
        feeds, workflows = Feeds(), Workflows(self.root / "workflows.sqlite")
        gateway, checkouts = RecordingGateway(), FoundCheckouts(self.root / "trees")
        provider = RecordingProvider(
            InMemoryProvider(self.backing, checkouts=checkouts.root, serve=self.agent.serve)
        )
        around = Surroundings(db, feeds, provider, workflows, self.clock, gateway)
        lifecycle = Lifecycle(around)
        instances = Instances(around, lifecycle)
        settings = settings or ReconcileSettings(idle_after=timedelta(days=1))
        relay_parts = RelayParts(
            db=db,
            feeds=feeds,
            workflows=workflows,
            instances=instances,
            checkouts=checkouts,
            clock=self.clock,
            path_inside=provider.path_inside,
            link_of=lambda run_id, made: f"hub:/{run_id}/{made.id}/{{path}}#{{start}}-{{end}}",
            limits=self.limits,
            end_grace=self.end_grace,
            cancel_grace=self.cancel_grace,
            pause=self.pause,
        )
        return World(
            db=db,
            feeds=feeds,
            workflows=workflows,
            provider=provider,
            gateway=gateway,
            checkouts=checkouts,
            clock=self.clock,
            agent=self.agent,
            lifecycle=lifecycle,
            instances=instances,
            reconciler=Reconciler(around, lifecycle, settings),
            ask=Ask(AskParts(db, feeds, workflows, self.clock, lambda: SCRIPTED)),
            journal=Journal(db, feeds),
            relay=Relay(relay_parts),
        )

    async def clear(self) -> None:
        """End what still runs in sandboxes."""
        for sandbox in self.backing.sandboxes.values():
            if sandbox.task is not None:
                sandbox.task.cancel()
                await asyncio.wait([sandbox.task])


def _settle(connection: Connection, now: datetime) -> None:
    """Three people, each with a project of one repository, and an instance."""
    if connection.execute(select(users.c.id)).first():
        return
    for principal in EVERYBODY:
        user = principal.user_id
        connection.execute(
            insert(users).values(id=user, name=principal.name, role=principal.role, created_at=now)
        )
        connection.execute(
            insert(projects).values(id=f"pr_{user}", owner_id=user, name="default", created_at=now)
        )
        connection.execute(
            insert(resources).values(
                id=f"re_{user}",
                project_id=f"pr_{user}",
                name="repo",
                kind="git",
                location="https://host.example/owner/repo",
                created_at=now,
            )
        )
        instances_store.add_instance(connection, user, now)
