"""The parts of a page that stay current by themselves: one template each, for page and patch."""

from dataclasses import dataclass, field
from typing import Protocol

from firsthand.hub.feeds.topics import (
    Topic,
    instance_topic,
    project_topic,
    thread_topic,
    user_topic,
)
from firsthand.hub.identity.principal import Principal
from firsthand.hub.ids import ThreadId
from firsthand.hub.projects.catalogue import suggestions
from firsthand.hub.web.deps import WebDeps
from firsthand.hub.web.looking import Frame, ThreadReader, look_at_frame
from firsthand.hub.web.views import TurnView


@dataclass(frozen=True, slots=True)
class Fragment:
    """A piece of HTML whose root element has `id`.

    It is sent again when `stamp` changes: its own HTML, or for a piece that only holds others,
    which of them there are.
    """

    id: str
    html: str
    stamp: str


def frame_context(frame: Frame, current_thread: str | None) -> dict[str, object]:
    """Return what the templates of the frame need."""
    return {
        "instance": frame.instance,
        "resources": frame.resources,
        "resource_count": len(frame.resources),
        "stored_bytes": frame.stored_bytes,
        "threads": frame.threads,
        "current_thread": current_thread,
        "catalogue": suggestions({resource.name for resource in frame.resources}),
        "asked_resources": (),
        # What a question that was just asked waits for.
        "preparing": frame.instance.steps if frame.instance.passing else (),
    }


class View(Protocol):
    """A page as the live connection sees it."""

    async def topics(self) -> frozenset[Topic]:
        """Return what the page depends on. Raises `NotFound` if it does not exist."""
        ...

    async def fragments(self, changed: frozenset[Topic] | None) -> list[Fragment]:
        """Return the fragments that depend on what changed; all of them for `None`."""
        ...


@dataclass(slots=True)
class FrameView:
    """The frame alone, or with the list of sources of the home page."""

    deps: WebDeps
    principal: Principal
    parts: tuple[str, ...] = ()
    current_thread: ThreadId | None = None
    context: dict[str, object] = field(default_factory=dict[str, object])

    async def topics(self) -> frozenset[Topic]:
        """Return what the frame depends on."""
        frame = await look_at_frame(self.deps, self.principal)
        topics = {user_topic(self.principal.user_id), project_topic(frame.project_id)}
        if frame.instance_id:
            topics.add(instance_topic(frame.instance_id))
        return frozenset(topics)

    async def fragments(
        self,
        changed: frozenset[Topic] | None = None,  # noqa: ARG002 # all of it is small
    ) -> list[Fragment]:
        """Return all of the frame."""
        frame = await look_at_frame(self.deps, self.principal)
        self.context = frame_context(frame, self.current_thread)
        return [self._render(name) for name in ("status_line", "instance", "threads", *self.parts)]

    def _render(self, name: str) -> Fragment:
        html = self.deps.renderer.page(f"fragments/{name}.html", self.context)
        return Fragment(name.replace("_", "-"), html, html)


@dataclass(slots=True)
class ThreadView:
    """A thread: the frame, and each turn in three pieces that change at different times."""

    frame: FrameView
    reader: ThreadReader
    _ids: list[str] = field(default_factory=list[str])
    _known: dict[str, tuple[TurnView, list[Fragment]]] = field(
        default_factory=dict[str, tuple[TurnView, list[Fragment]]]
    )

    async def topics(self) -> frozenset[Topic]:
        """Return what the thread depends on; its topic covers its runs."""
        await self.reader.title()
        return await self.frame.topics() | {thread_topic(self.reader.thread_id)}

    async def fragments(self, changed: frozenset[Topic] | None) -> list[Fragment]:
        """Return the turns, and the frame where it is concerned."""
        own = thread_topic(self.reader.thread_id)
        pieces: list[Fragment] = []
        if changed is None or changed - {own}:
            pieces += await self.frame.fragments()
        return pieces + self._turns(await self.reader.turns())

    def _turns(self, turns: tuple[TurnView, ...]) -> list[Fragment]:
        pieces: list[Fragment] = []
        ids = [turn.run_id for turn in turns]
        if ids != self._ids:
            self._ids = ids
            html = self._render("turns", {"turns": turns})
            pieces.append(Fragment("turns", html, " ".join(ids)))
        for turn in turns:
            pieces += self._pieces(turn)
        return pieces

    def _pieces(self, turn: TurnView) -> list[Fragment]:
        known = self._known.get(turn.run_id)
        # A finished turn is one and the same object every time.
        if known is not None and known[0] is turn:
            return known[1]
        pieces: list[Fragment] = []
        for name in ("work", "answer", "sources"):
            html = self._render(name, {"turn": turn})
            pieces.append(Fragment(f"{name}-{turn.run_id}", html, html))
        self._known[turn.run_id] = (turn, pieces)
        return pieces

    def _render(self, name: str, more: dict[str, object]) -> str:
        context = self.frame.context | more
        return self.frame.deps.renderer.page(f"fragments/{name}.html", context)


def view_named(name: str, deps: WebDeps, principal: Principal) -> FrameView | ThreadView:
    """Return the view that a page names: `home`, `frame` or `thread:` and an id."""
    kind, _, thread_id = name.partition(":")
    if kind == "thread":
        thread = ThreadId(thread_id)
        frame = FrameView(deps, principal, current_thread=thread)
        return ThreadView(frame, ThreadReader(deps, principal, thread))
    parts = ("resources", "scope", "catalogue") if kind == "home" else ()
    return FrameView(deps, principal, parts)
