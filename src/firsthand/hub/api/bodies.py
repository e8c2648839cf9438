"""What the HTTP interface sends and takes, as typed messages: camelCase, times in UTC."""

from datetime import datetime

from firsthand.hub.instances.instance import Instance, Package, Step
from firsthand.hub.projects.resource import Resource
from firsthand.protocol.message import Message
from firsthand.protocol.questions import RunState
from firsthand.sources.progress import Progress


class ProgressBody(Message, frozen=True, kw_only=True):
    """How far a fetch has come; `total` is `null` while it is not known."""

    step: str
    done: int | None = None
    total: int | None = None
    detail: str | None = None


class ResourceBody(Message, frozen=True, kw_only=True):
    """A resource and what the host holds of it. `state` is new, fetching, ready or failed."""

    name: str
    kind: str
    source: str
    ref: str | None
    search_paths: tuple[str, ...]
    notes: str
    state: str
    message: str | None
    progress: ProgressBody | None
    resolved_ref: str | None
    commit: str | None
    committed_at: datetime | None
    fetched_at: datetime | None
    size_bytes: int | None
    created_at: datetime


class ResourceList(Message, frozen=True, kw_only=True):
    """All resources of a project."""

    resources: list[ResourceBody]


class NewResource(Message, frozen=True, kw_only=True):
    """Body of `POST /api/v1/resources`."""

    source: str
    name: str | None = None
    ref: str | None = None
    search_paths: tuple[str, ...] = ()
    notes: str = ""
    project: str | None = None


class InstanceBody(Message, frozen=True, kw_only=True):
    """The instance with its cached resources."""

    id: str
    state: str
    generation: int
    step: str | None
    steps: tuple[Step, ...]
    error_message: str | None
    runtime: str
    packages: tuple[Package, ...]
    update_available: bool
    last_version_check: datetime | None
    storage_used_bytes: int
    last_active_at: datetime | None
    provisioned_at: datetime | None
    created_at: datetime
    resources: list[ResourceBody]


class ChatRequest(Message, frozen=True, kw_only=True):
    """Body of `POST /chat/stream`. Without `resources` all of the project are read."""

    message: str
    thread_id: str | None = None
    resources: list[str] | None = None
    project: str | None = None


class RunBody(Message, frozen=True, kw_only=True):
    """A run's state. `error…` are set when it failed."""

    id: str
    thread_id: str
    message_id: str
    state: RunState
    last_number: int
    error_tag: str | None
    error_message: str | None
    error_hint: str | None
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None


class HealthBody(Message, frozen=True, kw_only=True):
    """Answer of `GET /healthz`."""

    ok: bool
    service: str
    version: str


def resource_body(resource: Resource, progress: Progress | None) -> ResourceBody:
    """Return how a resource is told."""
    spec, fetched = resource.spec, resource.fetched
    return ResourceBody(
        name=spec.name,
        kind=spec.source.kind.value,
        source=str(spec.source),
        ref=spec.source.ref,
        search_paths=spec.search_paths,
        notes=spec.notes,
        state=resource.state.value,
        message=resource.message,
        progress=None
        if progress is None
        else ProgressBody(
            step=progress.step, done=progress.done, total=progress.total, detail=progress.detail
        ),
        resolved_ref=fetched.ref if fetched else None,
        commit=fetched.commit if fetched else None,
        committed_at=fetched.committed_at if fetched else None,
        fetched_at=fetched.fetched_at if fetched else None,
        size_bytes=fetched.size_bytes if fetched else None,
        created_at=resource.created_at,
    )


def instance_body(
    instance: Instance, resources: list[ResourceBody], *, checkout_bytes: int
) -> InstanceBody:
    """Return how an instance is told; its storage is its own and that of its checkouts."""
    return InstanceBody(
        id=instance.id,
        state=instance.state.value,
        generation=instance.generation,
        step=instance.step,
        steps=instance.steps,
        error_message=instance.error_message,
        runtime=instance.runtime,
        packages=instance.packages,
        update_available=instance.update_available,
        last_version_check=instance.last_version_check,
        storage_used_bytes=instance.storage_used_bytes + checkout_bytes,
        last_active_at=instance.last_active_at,
        provisioned_at=instance.provisioned_at,
        created_at=instance.created_at,
        resources=resources,
    )
