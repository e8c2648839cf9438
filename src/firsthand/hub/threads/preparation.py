"""What a run needs before it can start: its sources checked out, and words on how that goes."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

from firsthand.hub.errors import Unavailable
from firsthand.hub.threads.run import AskedSource
from firsthand.protocol.questions import CheckoutRef
from firsthand.sources.errors import SourceError
from firsthand.sources.progress import Progress
from firsthand.sources.source import Source, SourceKind
from firsthand.sources.store import Checkout

A = TypeVar("A")
B = TypeVar("B")

Say = Callable[[str], None]


class SourceUnavailable(Unavailable):
    """A source of the question cannot be had; `tag` names the kind of error of `sources`."""

    title = "A source cannot be had"

    def __init__(self, name: str, error: SourceError) -> None:
        super().__init__(f"{name}: {error.message}", hint=error.hint)
        self.tag = type(error).__name__


class Checkouts(Protocol):
    """Whatever makes checkouts of sources."""

    async def checkout(
        self,
        source: Source,
        *,
        max_age: timedelta | None = None,
        progress: Callable[[Progress], None] | None = None,
    ) -> Checkout:
        """Return a checkout of the source. Raises `SourceError`."""
        ...


class Narrator:
    """Tells of each new step once, in order, without holding up whoever takes the step.

    `say` may be called from any thread. Leaving the context tells what is still to be told.
    """

    def __init__(self, tell: Callable[[list[str]], Awaitable[None]]) -> None:
        self._tell = tell
        self._said: set[str] = set()
        self._untold: list[str] = []
        self._news = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[None] | None = None

    def say(self, step: str) -> None:
        """Tell of a step, unless it was told before."""
        self._loop.call_soon_threadsafe(self._note, step)

    def _note(self, step: str) -> None:
        if step not in self._said:
            self._said.add(step)
            self._untold.append(step)
            self._news.set()

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._tell_on())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._tell_all()

    async def _tell_on(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            # A transaction under way is not torn apart by the end of the telling.
            await asyncio.shield(asyncio.ensure_future(self._tell_all()))

    async def _tell_all(self) -> None:
        steps, self._untold = self._untold, []
        if steps:
            await self._tell(steps)


async def check_out_all(
    sources: Sequence[AskedSource],
    checkouts: Checkouts,
    path_inside: Callable[[Path], str],
    link_of: Callable[[Checkout], str],
    *,
    max_age: timedelta | None,
    say: Say,
) -> tuple[CheckoutRef, ...]:
    """Check all sources out at the same time. Raises `SourceUnavailable`.

    `path_inside` says how a path is called in the sandbox. `link_of` says where people can read
    a checkout that has no permanent place on its host: a template as in `CheckoutRef`.
    """

    async def one(asked: AskedSource) -> CheckoutRef:
        source = Source(SourceKind(asked.kind), asked.location, asked.ref)
        try:
            made = await checkouts.checkout(
                source,
                max_age=max_age,
                progress=lambda progress: say(f"{asked.name}: {progress.step}"),
            )
        except SourceError as error:
            raise SourceUnavailable(asked.name, error) from error
        link = made.link_template or link_of(made)
        return _ref(asked, source, made, path_inside, link)

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(asked)) for asked in sources]
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from errors
    return tuple(task.result() for task in tasks)


def _ref(
    asked: AskedSource,
    source: Source,
    made: Checkout,
    path_inside: Callable[[Path], str],
    link: str,
) -> CheckoutRef:
    return CheckoutRef(
        name=asked.name,
        source=str(source),
        path=path_inside(made.tree),
        index_path=path_inside(made.index) if made.index else None,
        ref=made.ref,
        commit=made.commit,
        committed_at=made.committed_at,
        fetched_at=made.fetched_at,
        link_template=link,
        search_paths=asked.search_paths,
        notes=asked.notes,
    )


async def together(first: Coroutine[Any, Any, A], second: Coroutine[Any, Any, B]) -> tuple[A, B]:
    """Await both at the same time; the first failure cancels the other and is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            one, other = group.create_task(first), group.create_task(second)
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from errors
    return one.result(), other.result()
