"""Use cases of projects and resources."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from firsthand.hub.clock import Clock, utc_now
from firsthand.hub.db.engine import Connection, Database
from firsthand.hub.errors import BadInput, Conflict
from firsthand.hub.feeds import Feeds
from firsthand.hub.feeds.topics import project_topic, user_topic
from firsthand.hub.identity.principal import Principal, Scope
from firsthand.hub.ids import ProjectId, ResourceId, UserId, new_project_id, new_resource_id
from firsthand.hub.projects import store
from firsthand.hub.projects.fetching import Checkouts, Fetcher
from firsthand.hub.projects.project import DEFAULT_NAME, Project, check_project_name
from firsthand.hub.projects.resource import (
    FetchState,
    Resource,
    ResourceSpec,
    free_name,
    make_spec,
)
from firsthand.sources.errors import SourceError
from firsthand.sources.progress import Progress


class Projects:
    """All use cases. `start` it once the database is open, and `close` it before that closes.

    Wherever a `project` can be named it is an id or a name; none means the default project.
    """

    def __init__(
        self,
        database: Database,
        feeds: Feeds,
        checkouts: Checkouts,
        *,
        clock: Clock = utc_now,
        allow_local: bool = False,
    ) -> None:
        self._database = database
        self._feeds = feeds
        self._checkouts = checkouts
        self._clock = clock
        self._allow_local = allow_local
        self._fetcher = Fetcher(database, feeds, checkouts, clock)

    async def start(self) -> None:
        """Take up the fetches that an earlier process left behind."""
        await self._fetcher.resume()

    async def close(self) -> None:
        """Stop fetching; the next start goes on."""
        await self._fetcher.close()

    def make_default_project(self, conn: Connection, user_id: UserId) -> None:
        """Give a new user their first project, in the transaction that makes the user."""
        store.add_project(conn, Project(new_project_id(), user_id, DEFAULT_NAME, self._clock()))

    async def list_projects(self, principal: Principal) -> list[Project]:
        """Return the principal's projects, the default one first."""
        principal.require(Scope.READ)
        return await self._database.read(lambda conn: store.list_projects(conn, principal))

    async def get_project(self, principal: Principal, project: str | None = None) -> Project:
        """Return one project. Raises `NotFound`."""
        principal.require(Scope.READ)
        return await self._database.read(lambda conn: store.get_project(conn, principal, project))

    async def create_project(self, principal: Principal, name: str) -> Project:
        """Make a project. Raises `BadInput`, and `Conflict` if the name is taken."""
        principal.require(Scope.MANAGE)
        project = Project(
            new_project_id(), principal.user_id, check_project_name(name), self._clock()
        )
        await self._database.write(lambda conn: store.add_project(conn, project))
        self._feeds.publish([user_topic(principal.user_id)])
        return project

    async def add_resource(
        self,
        principal: Principal,
        text: str,
        *,
        name: str | None = None,
        ref: str | None = None,
        search_paths: Sequence[str] = (),
        notes: str = "",
        project: str | None = None,
    ) -> Resource:
        """Store a resource and begin to fetch it; returns before that has ended.

        Without a `name` a free one is found. Raises `BadInput` naming the limit, `NotFound` if
        there is no such project, and `Conflict` if the name is taken or nothing would be new.
        """
        principal.require(Scope.MANAGE)
        spec = make_spec(
            text,
            name=name,
            ref=ref,
            search_paths=search_paths,
            notes=notes,
            allow_local=self._allow_local,
        )
        try:
            await self._checkouts.check_address(spec.source)
        except SourceError as error:
            raise BadInput(error.message, hint=error.hint) from error
        named = bool(name and name.strip())

        def add(conn: Connection) -> Resource:
            project_id = store.get_project(conn, principal, project).id
            present = store.list_resources(conn, principal, project_id)
            resource = self._new(project_id, _settled(spec, present, named=named))
            store.add_resource(conn, resource)
            return resource

        resource = await self._database.write(add)
        self._feeds.publish([project_topic(resource.project_id)])
        self._fetcher.start(resource)
        return resource

    async def list_resources(
        self, principal: Principal, project: str | None = None
    ) -> list[Resource]:
        """Return the resources of a project by name. Raises `NotFound`."""
        principal.require(Scope.READ)

        def listed(conn: Connection) -> list[Resource]:
            found = store.get_project(conn, principal, project)
            return store.list_resources(conn, principal, found.id)

        return await self._database.read(listed)

    async def get_resource(
        self, principal: Principal, resource: str, *, project: str | None = None
    ) -> Resource:
        """Return a resource by id or name. Raises `NotFound`."""
        principal.require(Scope.READ)
        return await self._database.read(
            lambda conn: store.get_resource(conn, principal, resource, project)
        )

    async def remove_resource(
        self, principal: Principal, resource: str, *, project: str | None = None
    ) -> None:
        """Remove a resource by id or name; answers that cite it stay. Raises `NotFound`."""
        principal.require(Scope.MANAGE)

        def remove(conn: Connection) -> Resource:
            found = store.get_resource(conn, principal, resource, project)
            store.remove_resource(conn, found.id)
            return found

        removed = await self._database.write(remove)
        await self._fetcher.cancel(removed.id)
        self._feeds.publish([project_topic(removed.project_id)])

    async def sync_resource(
        self, principal: Principal, resource: str, *, project: str | None = None
    ) -> Resource:
        """Begin to fetch a resource again, whatever its age. Raises `NotFound`."""
        principal.require(Scope.MANAGE)

        def mark(conn: Connection) -> Resource:
            found = store.get_resource(conn, principal, resource, project)
            store.mark_fetching(conn, found.id)
            return replace(found, state=FetchState.FETCHING, message=None)

        marked = await self._database.write(mark)
        self._fetcher.start(marked, max_age=timedelta())
        self._feeds.publish([project_topic(marked.project_id)])
        return marked

    def progress_of(self, resource: Resource) -> Progress | None:
        """Return how far the fetch of a resource has come, or nothing if none is under way."""
        return self._fetcher.progress(resource.id)

    async def fetch_ended(self, resource_id: ResourceId) -> None:
        """Return when the resource is not, or no longer, being fetched by this process."""
        await self._fetcher.ended(resource_id)

    def _new(self, project_id: ProjectId, spec: ResourceSpec) -> Resource:
        return Resource(
            id=new_resource_id(),
            project_id=project_id,
            spec=spec,
            state=FetchState.NEW,
            message=None,
            fetched=None,
            created_at=self._clock(),
        )


def _settled(spec: ResourceSpec, present: Sequence[Resource], *, named: bool) -> ResourceSpec:
    """Return the spec under a name that is free. Raises `Conflict`."""
    names = [resource.name for resource in present]
    free = free_name(spec.name, names)
    if named:
        if free != spec.name:
            raise Conflict(
                f"There is already a resource {spec.name!r} in this project.",
                hint=f"Choose another name, such as {free!r}.",
            )
        return spec
    for resource in present:
        if resource.spec.source == spec.source and resource.spec.search_paths == spec.search_paths:
            raise Conflict(
                f"This source is already in the project, as {resource.name!r}.",
                hint="Give a name of your own to add it once more.",
            )
    return replace(spec, name=free)
