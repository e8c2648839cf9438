"""Builds a hub from its settings. The only place that picks adapters and knows all the parts."""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial

from firsthand.hub.api.problems import status_of
from firsthand.hub.api.routes import ApiDeps
from firsthand.hub.clock import Clock, utc_now
from firsthand.hub.db.engine import Connection, Database
from firsthand.hub.feeds import Feeds
from firsthand.hub.identity import Identity
from firsthand.hub.ids import UserId
from firsthand.hub.instances import store as instances_store
from firsthand.hub.instances.instances import Instances
from firsthand.hub.instances.lifecycle import Lifecycle
from firsthand.hub.instances.reconcile import Reconciler, ReconcileSettings
from firsthand.hub.instances.surroundings import Surroundings
from firsthand.hub.model_gateway.gateway import ModelGateway
from firsthand.hub.model_gateway.provider import EXTRACTIVE, provider_of
from firsthand.hub.projects.projects import Projects
from firsthand.hub.sandboxes.bubblewrap.provider import BubblewrapProvider
from firsthand.hub.sandboxes.provider import SandboxProvider
from firsthand.hub.settings import Settings
from firsthand.hub.threads.ask import Ask, AskParts
from firsthand.hub.threads.journal import Journal
from firsthand.hub.threads.relay import Relay, RelayParts
from firsthand.hub.web.answers import reading_link
from firsthand.hub.web.deps import WebDeps
from firsthand.hub.workflows import Workflows
from firsthand.protocol.questions import ModelChoice
from firsthand.sources.store import SourceStore


@dataclass(frozen=True, slots=True)
class Hub:
    """An open hub: what its entrances need."""

    identity: Identity
    api: ApiDeps
    web: WebDeps


@asynccontextmanager
async def open_hub(
    settings: Settings,
    *,
    public_url: str,
    provider: SandboxProvider | None = None,
    model: ModelChoice | None = None,
    clock: Clock = utc_now,
) -> AsyncGenerator[Hub]:
    """Open everything, adopt what an earlier hub left, and close it again at the end.

    `provider` and `model` take the place of what the settings choose. Sandboxes outlive the
    hub. Raises `SettingsError`.
    """
    async with AsyncExitStack() as stack:
        db = Database.open(settings.database_url)
        stack.push_async_callback(db.close)
        sources = SourceStore(
            settings.data_dir / "sources", allowed_private_hosts=settings.allowed_private_hosts
        )
        await sources.clean_up()
        if provider is None:
            # One sandbox is kept ready, so that a wake need not wait for Python to start.
            provider = BubblewrapProvider(
                settings.data_dir / "sandboxes", checkouts=sources.trees, warm=1
            )
        stack.push_async_callback(provider.close)
        model_provider = provider_of(settings.model)
        gateway = ModelGateway(db, clock, model_provider)
        stack.push_async_callback(gateway.close)
        feeds = Feeds()
        workflows = Workflows(settings.data_dir / "workflows.sqlite")
        around = Surroundings(
            db=db,
            feeds=feeds,
            provider=provider,
            workflows=workflows,
            clock=clock,
            gateway=gateway,
        )
        lifecycle = Lifecycle(around)
        instances = Instances(around, lifecycle)
        reconciler = Reconciler(around, lifecycle, ReconcileSettings(idle_after=settings.idle_stop))
        projects = Projects(db, feeds, sources, clock=clock)

        def on_new_user(connection: Connection, user_id: UserId) -> None:
            projects.make_default_project(connection, user_id)
            instances_store.add_instance(connection, user_id, clock(), runtime=settings.runtime)

        identity = Identity(
            db, on_new_user=on_new_user, after_new_user=reconciler.hint, clock=clock
        )
        choice = model or (model_provider.choice if model_provider else EXTRACTIVE)
        ask = Ask(
            AskParts(
                db=db,
                feeds=feeds,
                workflows=workflows,
                clock=clock,
                model_for=lambda: choice,
            )
        )
        relay = Relay(
            RelayParts(
                db=db,
                feeds=feeds,
                workflows=workflows,
                instances=instances,
                checkouts=sources,
                clock=clock,
                path_inside=provider.path_inside,
                link_of=partial(reading_link, public_url),
            )
        )
        journal = Journal(db, feeds)
        await workflows.launch()
        stack.push_async_callback(workflows.shutdown)
        await reconciler.start()
        stack.push_async_callback(reconciler.close)
        await relay.resume_unfinished()
        await projects.start()
        stack.push_async_callback(projects.close)
        yield Hub(
            identity=identity,
            api=ApiDeps(db, identity, projects, instances, ask, journal),
            web=WebDeps(
                database=db,
                feeds=feeds,
                identity=identity,
                projects=projects,
                instances=instances,
                ask=ask,
                journal=journal,
                checkouts=sources,
                status_of=status_of,
                public_url=public_url,
                clock=clock,
            ),
        )
