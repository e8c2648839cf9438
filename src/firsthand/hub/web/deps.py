"""What the pages need of the rest of the hub; put together by the wiring."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from firsthand.hub.clock import Clock, utc_now
from firsthand.hub.db.engine import Database
from firsthand.hub.errors import FirsthandError
from firsthand.hub.feeds import Feeds
from firsthand.hub.identity.identity import Identity
from firsthand.hub.instances.instances import Instances
from firsthand.hub.projects.projects import Projects
from firsthand.hub.threads.ask import Ask
from firsthand.hub.threads.journal import Journal
from firsthand.hub.web.render import Renderer, make_renderer
from firsthand.sources.source import Source
from firsthand.sources.store import Checkout


class Checkouts(Protocol):
    """The part of `sources.store.SourceStore` that finds what is on this host."""

    def find(self, checkout_id: str) -> Checkout | None:
        """Return the checkout of that id."""
        ...

    def find_commit(self, source: Source, commit: str) -> Checkout | None:
        """Return the checkout of a commit of this source."""
        ...


@dataclass(frozen=True, slots=True)
class WebDeps:
    """Use cases, and what a page reads straight from the database.

    `status_of` is the one table from errors to status codes. `public_url` is how people reach
    this hub; its scheme decides whether cookies are `Secure`.
    """

    database: Database
    feeds: Feeds
    identity: Identity
    projects: Projects
    instances: Instances
    ask: Ask
    journal: Journal
    checkouts: Checkouts
    status_of: Callable[[FirsthandError], int]
    public_url: str
    clock: Clock = utc_now
    renderer: Renderer = field(init=False)

    def __post_init__(self) -> None:
        # One for all pages and error pages; it needs nothing but the clock.
        object.__setattr__(self, "renderer", make_renderer(self.clock))
