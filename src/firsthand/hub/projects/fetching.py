"""Fetches resources in the background and tells how far each has come.

It fetches through the port `Checkouts`, keeps progress in memory only, and writes only whether a
fetch is under way and how it ended. A fetch that a killed hub left behind is taken up by `resume`.
"""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Protocol
from weakref import WeakValueDictionary

import structlog

from firsthand.hub.clock import Clock
from firsthand.hub.db.engine import Database
from firsthand.hub.feeds import Feeds
from firsthand.hub.feeds.topics import project_topic
from firsthand.hub.ids import ProjectId, ResourceId
from firsthand.hub.projects import store
from firsthand.hub.projects.resource import Fetched, Resource
from firsthand.sources.errors import SourceError
from firsthand.sources.progress import Progress
from firsthand.sources.source import Source
from firsthand.sources.store import Checkout

# Each is a process with a network transfer and then an index build on all that it fetched.
_AT_ONCE = 4
# Of these; a remote can take half an hour for each, and others must not wait for that.
_AT_ONCE_FOR_ONE_PROJECT = 3
# Numbers that change faster than this tell a person nothing more.
_PUBLISH_EVERY = timedelta(milliseconds=200)
# What a fetch needs to end its processes when it is cancelled, with room.
_CLOSE_SECONDS = 10

_log = structlog.stdlib.get_logger(__name__)


class Checkouts(Protocol):
    """The part of `sources.store.SourceStore` that fetches."""

    async def check_address(self, source: Source) -> None:
        """Refuse a source whose address must not be asked. Raises `SourceError`."""
        ...

    async def checkout(
        self,
        source: Source,
        *,
        max_age: timedelta | None = None,
        progress: Callable[[Progress], None] | None = None,
    ) -> Checkout:
        """Return a tree of the source that is no older than `max_age`. Raises `SourceError`."""
        ...


class Fetcher:
    """Runs fetches, at most one for a resource and a few at once. Used on one event loop."""

    def __init__(
        self, database: Database, feeds: Feeds, checkouts: Checkouts, clock: Clock
    ) -> None:
        self._database = database
        self._feeds = feeds
        self._checkouts = checkouts
        self._clock = clock
        self._slots = asyncio.Semaphore(_AT_ONCE)
        # Each lives as long as somebody waits for it or holds it.
        self._shares: WeakValueDictionary[ProjectId, asyncio.Semaphore] = WeakValueDictionary()
        self._tasks: dict[ResourceId, asyncio.Task[None]] = {}
        # Asked for while a fetch was under way: the one after it.
        self._again: dict[ResourceId, timedelta | None] = {}
        self._progress: dict[ResourceId, Progress] = {}

    def start(self, resource: Resource, *, max_age: timedelta | None = None) -> None:
        """Begin to fetch, or fetch once more after the fetch that is under way."""
        task = self._tasks.get(resource.id)
        if task is not None and not task.done():
            self._again[resource.id] = max_age
            return
        self._report(resource, Progress("Waiting for other fetches"))
        task = asyncio.create_task(self._fetch(resource, max_age), name=f"fetch {resource.id}")
        self._tasks[resource.id] = task
        task.add_done_callback(lambda done: self._forget(resource, done))

    async def resume(self) -> None:
        """Take up every fetch that has not ended."""
        for resource in await self._database.read(store.list_unfetched):
            self.start(resource)

    def progress(self, resource_id: ResourceId) -> Progress | None:
        """Return how far the fetch has come, or nothing if none is under way."""
        return self._progress.get(resource_id)

    async def ended(self, resource_id: ResourceId) -> None:
        """Return when no fetch of the resource is under way here."""
        task = self._tasks.get(resource_id)
        if task is not None:
            await asyncio.wait([task])

    async def cancel(self, resource_id: ResourceId) -> None:
        """Give up the fetch of a resource that is gone."""
        task = self._tasks.get(resource_id)
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    async def close(self) -> None:
        """Stop all fetches; the next hub takes them up."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_CLOSE_SECONDS)

    async def _fetch(self, resource: Resource, max_age: timedelta | None) -> None:
        share = asyncio.Semaphore(_AT_ONCE_FOR_ONE_PROJECT)
        share = self._shares.setdefault(resource.project_id, share)
        async with share, self._slots:
            self._report(resource, Progress("Starting"))
            await self._fetch_now(resource, max_age)
            # Nothing is awaited between the last look and the end of the task.
            while resource.id in self._again:
                await self._fetch_now(resource, self._again.pop(resource.id))

    def _forget(self, resource: Resource, task: asyncio.Task[None]) -> None:
        if self._tasks.get(resource.id) is task:
            del self._tasks[resource.id]
            self._again.pop(resource.id, None)
            self._progress.pop(resource.id, None)
        self._feeds.publish([project_topic(resource.project_id)])
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("a fetch could not be recorded", resource=resource.id, exc_info=error)

    async def _fetch_now(self, resource: Resource, max_age: timedelta | None) -> None:
        if not await self._database.write(lambda conn: store.mark_fetching(conn, resource.id)):
            return
        self._feeds.publish([project_topic(resource.project_id)])
        try:
            tree = await self._checkouts.checkout(
                resource.spec.source, max_age=max_age, progress=self._reporter(resource)
            )
        except SourceError as error:
            message = f"{error.message} {error.hint}" if error.hint else error.message
        except Exception:  # noqa: BLE001 - the outermost loop of a fetch: recorded and told
            _log.exception("a fetch failed", resource=resource.id)
            message = "Fetching failed for a reason within Firsthand. The log says more."
        else:
            fetched = Fetched(
                checkout_id=tree.id,
                ref=tree.ref,
                commit=tree.commit,
                committed_at=tree.committed_at,
                fetched_at=tree.fetched_at,
                size_bytes=tree.size_bytes,
            )
            notes = " ".join(tree.notes) or None
            await self._database.write(
                lambda conn: store.mark_ready(conn, resource.id, fetched, notes)
            )
            return
        await self._database.write(lambda conn: store.mark_failed(conn, resource.id, message))

    def _reporter(self, resource: Resource) -> Callable[[Progress], None]:
        last = self._clock()

        def report(progress: Progress) -> None:
            nonlocal last
            before, now = self._progress.get(resource.id), self._clock()
            self._progress[resource.id] = progress
            if before is None or before.step != progress.step or now - last >= _PUBLISH_EVERY:
                last = now
                self._feeds.publish([project_topic(resource.project_id)])

        return report

    def _report(self, resource: Resource, progress: Progress) -> None:
        self._progress[resource.id] = progress
        self._feeds.publish([project_topic(resource.project_id)])
