"""The journal of a run, the only way anyone reads one.

A reader may start after any number, at any time, also long after the run's end. It reads the
database and is woken by feeds; it never polls, and nothing a reader does changes the run.
"""

from collections.abc import AsyncGenerator

from firsthand.hub.db.engine import Connection, Database
from firsthand.hub.errors import BadInput
from firsthand.hub.feeds import Feeds
from firsthand.hub.feeds.topics import run_topic
from firsthand.hub.identity.principal import Principal, Scope
from firsthand.hub.ids import RunId
from firsthand.hub.threads import store
from firsthand.hub.threads.run import Run
from firsthand.protocol.events import NumberedEvent


class Journal:
    """Reads journals."""

    def __init__(self, db: Database, feeds: Feeds) -> None:
        self._db = db
        self._feeds = feeds

    async def run(self, principal: Principal, run_id: RunId) -> Run:
        """Return the principal's run. Raises `NotFound`."""
        principal.require(Scope.READ)
        return await self._db.read(lambda c: store.get_run(c, principal, run_id))

    async def read(
        self, principal: Principal, run_id: RunId, after: int = 0
    ) -> list[NumberedEvent]:
        """All entries so far after this number. Raises `NotFound`, `BadInput`."""
        events: list[NumberedEvent] = []
        while True:
            page, _ = await self._page(principal, run_id, events[-1].number if events else after)
            events.extend(page)
            if len(page) < store.JOURNAL_PAGE:
                return events

    async def follow(
        self, principal: Principal, run_id: RunId, after: int = 0
    ) -> AsyncGenerator[NumberedEvent]:
        """Yield every entry after this number as it comes, and end with the run.

        Raises `NotFound` and `BadInput` at the first step. Close it (`aclosing`) when leaving
        early.
        """
        async with self._feeds.subscribe([run_topic(run_id)]) as subscription:
            while True:
                page, ended = await self._page(principal, run_id, after)
                for numbered in page:
                    yield numbered
                    after = numbered.number
                if page:
                    continue
                if ended:
                    return
                await subscription.changed()

    async def _page(
        self, principal: Principal, run_id: RunId, after: int
    ) -> tuple[list[NumberedEvent], bool]:
        principal.require(Scope.READ)
        if after < 0:
            raise BadInput("Events are numbered from 1; ask for those after 0 or later.")

        def read(connection: Connection) -> tuple[list[NumberedEvent], bool]:
            run = store.get_run(connection, principal, run_id)
            if run.last_number <= after:
                return [], run.is_finished
            return store.read_events(connection, run_id, after), run.is_finished

        return await self._db.read(read)
