"""A git server on loopback and a store that may ask it."""

from collections.abc import Generator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from firsthand.sources.limits import FetchLimits
from firsthand.sources.source import Source, parse_source
from firsthand.sources.store import SourceStore
from tests.git_server import GitServer, serve_git
from tests.repositories import Commit, Repository, make_repository


@dataclass
class TestClock:
    """A clock that stands until it is moved; behind that of the machine, as the past is."""

    __test__ = False
    now: datetime = field(default_factory=lambda: datetime(2026, 1, 2, 12, tzinfo=UTC))

    def __call__(self) -> datetime:
        return self.now

    def move(self, by: timedelta) -> None:
        self.now += by


@dataclass
class World:
    """One server, one store folder, one clock."""

    server: GitServer
    root: Path
    clock: TestClock
    store: SourceStore

    def new_store(self, **limits: float) -> SourceStore:
        return SourceStore(
            self.root,
            allowed_private_hosts=frozenset({self.server.host}),
            fetch_limits=FetchLimits(**limits),  # pyright: ignore[reportArgumentType]  # numbers
            clock=self.clock,
        )

    def repository(self, name: str, *commits: Commit, default: str = "main") -> Repository:
        return make_repository(self.server.root / name, commits, default=default)

    def source(self, name: str, ref: str | None = None) -> Source:
        suffix = "" if ref is None else f"@{ref}"
        return parse_source(self.server.url_of(name) + suffix, allow_local=False)

    def leftovers(self) -> list[str]:
        """Everything under the store that no finished checkout needs."""
        found = [path.name for path in (self.root / "work").iterdir()]
        for mirror in (self.root / "mirrors").iterdir():
            patterns = ("**/*.lock", "**/tmp_*", "**/incoming-*")
            found += [path.name for pattern in patterns for path in mirror.glob(pattern)]
        return found


@pytest.fixture
def world(tmp_path: Path) -> Generator[World]:
    served = tmp_path / "served"
    served.mkdir()
    clock = TestClock()
    with serve_git(served) as server:
        root = tmp_path / "store"
        store = SourceStore(root, allowed_private_hosts=frozenset({server.host}), clock=clock)
        yield World(server, root, clock, store)
