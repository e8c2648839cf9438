"""Projects and resources in the database. What is owned is reached through a principal only."""

from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, Row, delete, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from firsthand.hub.db.schema import projects, resources
from firsthand.hub.errors import Conflict, NotFound
from firsthand.hub.identity.principal import Principal
from firsthand.hub.ids import ProjectId, ResourceId, UserId
from firsthand.hub.projects.project import Project
from firsthand.hub.projects.resource import MOVES, Fetched, FetchState, Resource, ResourceSpec
from firsthand.sources.source import Source, SourceKind


def add_project(conn: Connection, project: Project) -> None:
    """Store a project. Raises `Conflict` if its owner uses the name already."""
    statement = insert(projects).values(
        id=project.id,
        owner_id=project.owner_id,
        name=project.name,
        created_at=project.created_at,
    )
    try:
        conn.execute(statement)
    except IntegrityError as error:
        raise Conflict(f"You already have a project {project.name!r}.") from error


def list_projects(conn: Connection, principal: Principal) -> list[Project]:
    """Return the principal's projects, the default one first."""
    rows = conn.execute(
        select(projects)
        .where(projects.c.owner_id == principal.user_id)
        .order_by(projects.c.created_at, projects.c.id)
    )
    return [_project(row) for row in rows]


def get_project(conn: Connection, principal: Principal, project: str | None = None) -> Project:
    """Return a project by id or name, or the default one. Raises `NotFound`."""
    mine = list_projects(conn, principal)
    found = [one for one in mine if project in {None, one.id}] or [
        one for one in mine if one.name == project
    ]
    if not found:
        raise NotFound(
            f"There is no project {project!r}." if project else "There is no project yet."
        )
    return found[0]


def add_resource(conn: Connection, resource: Resource) -> None:
    """Store a resource. Its project must come from `get_project`."""
    spec = resource.spec
    conn.execute(
        insert(resources).values(
            id=resource.id,
            project_id=resource.project_id,
            name=spec.name,
            kind=spec.source.kind.value,
            location=spec.source.location,
            ref=spec.source.ref,
            search_paths=msgspec.json.encode(spec.search_paths).decode(),
            notes=spec.notes,
            fetch_state=resource.state.value,
            created_at=resource.created_at,
        )
    )


def list_resources(conn: Connection, principal: Principal, project_id: ProjectId) -> list[Resource]:
    """Return the resources of one of the principal's projects, by name."""
    rows = conn.execute(
        _owned(principal).where(resources.c.project_id == project_id).order_by(resources.c.name)
    )
    return [_resource(row) for row in rows]


def get_resource(
    conn: Connection, principal: Principal, resource: str, project: str | None = None
) -> Resource:
    """Return a resource by id, or by its name in a project. Raises `NotFound`."""
    row = conn.execute(_owned(principal).where(resources.c.id == resource)).first()
    if row is None:
        project_id = get_project(conn, principal, project).id
        row = conn.execute(
            _owned(principal).where(
                resources.c.project_id == project_id, resources.c.name == resource
            )
        ).first()
    if row is None:
        raise NotFound(
            f"There is no resource {resource!r}.", hint="Add it first, or look at its spelling."
        )
    return _resource(row)


def remove_resource(conn: Connection, resource_id: ResourceId) -> None:
    """Remove a resource. The id must come from `get_resource`."""
    conn.execute(delete(resources).where(resources.c.id == resource_id))


def list_unfetched(conn: Connection) -> list[Resource]:
    """Return every user's resources whose fetch has not ended, for the fetcher at its start."""
    rows = conn.execute(
        select(resources)
        .where(
            or_(
                resources.c.fetch_state == FetchState.NEW.value,
                resources.c.fetch_state == FetchState.FETCHING.value,
            )
        )
        .order_by(resources.c.created_at, resources.c.id)
    )
    return [_resource(row) for row in rows]


def mark_fetching(conn: Connection, resource_id: ResourceId) -> bool:
    """Say that a fetch is under way. False if the resource is gone."""
    return _move(conn, resource_id, FetchState.FETCHING, {"fetch_message": None})


def mark_ready(
    conn: Connection, resource_id: ResourceId, fetched: Fetched, message: str | None = None
) -> bool:
    """Store what the fetch brought and what there is to say of it. False if no longer wanted."""
    values = {
        "fetch_message": message,
        "checkout_id": fetched.checkout_id,
        "resolved_ref": fetched.ref,
        "commit": fetched.commit,
        "committed_at": fetched.committed_at,
        "fetched_at": fetched.fetched_at,
        "size_bytes": fetched.size_bytes,
    }
    return _move(conn, resource_id, FetchState.READY, values)


def mark_failed(conn: Connection, resource_id: ResourceId, message: str) -> bool:
    """Store why the fetch failed; what was there before stays. False if no longer wanted."""
    return _move(conn, resource_id, FetchState.FAILED, {"fetch_message": message})


def _move(
    conn: Connection, resource_id: ResourceId, to: FetchState, values: dict[str, Any]
) -> bool:
    before = [state.value for state, moves in MOVES.items() if to in moves]
    moved = conn.execute(
        update(resources)
        .where(resources.c.id == resource_id, resources.c.fetch_state.in_(before))
        .values(fetch_state=to.value, **values)
    )
    return moved.rowcount == 1


def _owned(principal: Principal) -> Any:
    mine: ColumnElement[bool] = projects.c.owner_id == principal.user_id
    return select(resources).join(projects, projects.c.id == resources.c.project_id).where(mine)


def _project(row: Row[Any]) -> Project:
    return Project(ProjectId(row.id), UserId(row.owner_id), row.name, row.created_at)


def _resource(row: Row[Any]) -> Resource:
    fetched = None
    if row.checkout_id is not None:
        fetched = Fetched(
            checkout_id=row.checkout_id,
            ref=row.resolved_ref,
            commit=row.commit,
            committed_at=row.committed_at,
            fetched_at=row.fetched_at,
            size_bytes=row.size_bytes,
        )
    spec = ResourceSpec(
        name=row.name,
        source=Source(SourceKind(row.kind), row.location, row.ref),
        search_paths=msgspec.json.decode(row.search_paths, type=tuple[str, ...]),
        notes=row.notes,
    )
    return Resource(
        id=ResourceId(row.id),
        project_id=ProjectId(row.project_id),
        spec=spec,
        state=FetchState(row.fetch_state),
        message=row.fetch_message,
        fetched=fetched,
        created_at=row.created_at,
    )
