"""Looks up what a page shows and words it; the only place where pages read the hub."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from anyio import to_thread

from firsthand.hub.db.engine import Connection
from firsthand.hub.errors import NotFound
from firsthand.hub.identity.principal import Principal
from firsthand.hub.ids import InstanceId, ProjectId, RunId, ThreadId
from firsthand.hub.instances.instance import Instance, InstanceState, Operation, Step, may_begin
from firsthand.hub.projects.resource import FetchState, Resource, stored_bytes
from firsthand.hub.threads import store
from firsthand.hub.threads.message import Message
from firsthand.hub.threads.run import Run
from firsthand.hub.web.answers import Turn, turn_view
from firsthand.hub.web.deps import WebDeps
from firsthand.hub.web.views import (
    InstanceView,
    PackageView,
    ResourceView,
    StepView,
    ThreadItem,
    TurnView,
)
from firsthand.protocol.answer import Answer, AnswerFold, AnswerParts, fold
from firsthand.sources.progress import Progress
from firsthand.sources.source import Source, SourceKind
from firsthand.sources.store import Checkout

_WORDS = {
    InstanceState.UNPROVISIONED: ("Not set up yet", "idle"),
    InstanceState.PROVISIONING: ("Setting up", "busy"),
    InstanceState.STOPPED: ("Stopped", "idle"),
    InstanceState.STARTING: ("Waking", "busy"),
    InstanceState.RUNNING: ("Running", "good"),
    InstanceState.STOPPING: ("Stopping", "busy"),
    InstanceState.UPDATING: ("Updating", "busy"),
    InstanceState.ERROR: ("Needs attention", "bad"),
}


@dataclass(frozen=True, slots=True)
class Frame:
    """What every page shows around its own content."""

    instance: InstanceView
    resources: tuple[ResourceView, ...]
    threads: tuple[ThreadItem, ...]
    stored_bytes: int
    instance_id: InstanceId | None
    project_id: ProjectId


async def look_at_frame(deps: WebDeps, principal: Principal) -> Frame:
    """Return the frame as it stands now."""
    instance = await _instance(deps, principal)
    project = await deps.projects.get_project(principal)
    resources = await deps.projects.list_resources(principal, project.id)
    threads = await deps.database.read(lambda conn: _threads(conn, principal))
    own = instance.storage_used_bytes if instance else 0
    return Frame(
        instance=instance_view(instance, deps.clock()),
        resources=tuple(resource_view(one, deps.projects.progress_of(one)) for one in resources),
        threads=threads,
        stored_bytes=own + stored_bytes(resources),
        instance_id=instance.id if instance else None,
        project_id=project.id,
    )


async def _instance(deps: WebDeps, principal: Principal) -> Instance | None:
    try:
        return await deps.instances.status(principal)
    except NotFound:
        return None


def _threads(conn: Connection, principal: Principal) -> tuple[ThreadItem, ...]:
    return tuple(
        ThreadItem(
            id=thread.id,
            title=thread.title,
            updated_at=thread.updated_at,
            answering=bool(store.list_unfinished_runs(conn, thread_id=thread.id)),
        )
        for thread in store.list_threads(conn, principal)
    )


# The instance


def instance_view(instance: Instance | None, now: datetime) -> InstanceView:
    """Word an instance; a user without one sees one that is not set up."""
    if instance is None:
        return _no_instance()
    word, tone = _WORDS[instance.state]
    failed = instance.state is InstanceState.ERROR
    can_wake = may_begin(Operation.WAKE, instance)
    return InstanceView(
        state=instance.state.value,
        word=word,
        tone=tone,
        passing=instance.is_passing,
        step=instance.step,
        steps=_steps(instance.steps, now, failed=failed),
        error=(instance.error_message or "It stopped for an unknown reason.") if failed else None,
        runtime=instance.runtime,
        packages=tuple(
            PackageView(package.name, package.installed, package.latest)
            for package in instance.packages
        ),
        update_available=instance.update_available,
        storage_bytes=instance.storage_used_bytes,
        last_active_at=instance.last_active_at,
        can_wake=can_wake and not failed,
        can_stop=instance.state is InstanceState.RUNNING,
        can_retry=failed,
        can_provision=instance.state is InstanceState.UNPROVISIONED,
        can_reset=failed and instance.sandbox_id is not None,
    )


def _no_instance() -> InstanceView:
    word, tone = _WORDS[InstanceState.UNPROVISIONED]
    return InstanceView(
        state=InstanceState.UNPROVISIONED.value,
        word=word,
        tone=tone,
        passing=False,
        step=None,
        steps=(),
        error=None,
        runtime="native",
        packages=(),
        update_available=False,
        storage_bytes=0,
        last_active_at=None,
        can_wake=False,
        can_stop=False,
        can_retry=False,
        can_provision=False,
        can_reset=False,
    )


def _steps(steps: Sequence[Step], now: datetime, *, failed: bool) -> tuple[StepView, ...]:
    views: list[StepView] = []
    for step in steps:
        ended = step.ended_at is not None
        seconds = ((step.ended_at or now) - step.started_at).total_seconds()
        state = "done" if ended else "active"
        if failed and step is steps[-1]:
            state = "failed"
        views.append(StepView(step.name, state, seconds, step.started_at))
    return tuple(views)


# Resources


def resource_view(resource: Resource, progress: Progress | None) -> ResourceView:
    """Word a resource and how far its fetch has come."""
    source, fetched = resource.spec.source, resource.fetched
    is_git = source.kind is SourceKind.GIT
    shown = source.location.removeprefix("https://")
    return ResourceView(
        id=resource.id,
        name=resource.name,
        source=shown if is_git or source.kind is SourceKind.LOCAL else f"{source.kind}:{shown}",
        kind=source.kind.value,
        ref=fetched.ref if fetched else source.ref,
        commit=fetched.commit if fetched else None,
        committed_at=fetched.committed_at if fetched else None,
        fetched_at=fetched.fetched_at if fetched else None,
        size_bytes=fetched.size_bytes if fetched else None,
        fetch=_fetch(resource.state, progress),
        message=resource.message,
        checkout_id=fetched.checkout_id if fetched else None,
        home=source.location if is_git else None,
        step=progress.step if progress else None,
        done=progress.done if progress else None,
        total=progress.total if progress else None,
    )


def _fetch(state: FetchState, progress: Progress | None) -> str:
    return FetchState.FETCHING.value if progress else state.value


# Threads


@dataclass(slots=True)
class GrowingAnswer:
    """An answer under way, folded from its journal as far as that was read."""

    folded: AnswerFold = field(default_factory=AnswerFold)
    number: int = 0


@dataclass(slots=True)
class ThreadReader:
    """Reads one thread again and again; keeps what it has read of answers under way."""

    deps: WebDeps
    principal: Principal
    thread_id: ThreadId
    _growing: dict[RunId, GrowingAnswer] = field(default_factory=dict[RunId, GrowingAnswer])
    # A finished answer never changes, apart from the offer to try again beneath the last one.
    _finished: dict[tuple[RunId, bool], TurnView] = field(
        default_factory=dict[tuple[RunId, bool], TurnView]
    )
    _checkouts: dict[tuple[RunId, str], Checkout] = field(
        default_factory=dict[tuple[RunId, str], Checkout]
    )

    async def title(self) -> str:
        """Return the thread's title. Raises `NotFound`."""
        thread = await self.deps.database.read(
            lambda conn: store.get_thread(conn, self.principal, self.thread_id)
        )
        return thread.title

    async def turns(self) -> tuple[TurnView, ...]:
        """Return all turns as they stand now. Raises `NotFound`."""
        runs, messages = await self.deps.database.read(self._read)
        texts = {message.id: message for message in messages}
        turns: list[TurnView] = []
        for place, run in enumerate(runs):
            last = place == len(runs) - 1
            view = self._finished.get((run.id, last))
            if view is None:
                turn = Turn(
                    run=run,
                    question=texts[run.question_id].text,
                    answer=await self._answer(run, texts[run.answer_id]),
                    last=last,
                    again=place > 0 and runs[place - 1].question_id == run.question_id,
                )
                view = await self._view(turn)
            turns.append(view)
        return tuple(turns)

    def _read(self, conn: Connection) -> tuple[list[Run], list[Message]]:
        store.get_thread(conn, self.principal, self.thread_id)
        runs = store.list_runs_of_thread(conn, self.principal, self.thread_id)
        # Answers hold all that their tools put out: those that are known are not read again.
        new = [run for run in runs if (run.id, run is runs[-1]) not in self._finished]
        return runs, store.list_messages_of(conn, new)

    async def _answer(self, run: Run, message: Message) -> Answer:
        if run.is_finished and message.completed_at is not None:
            self._growing.pop(run.id, None)
            return Answer(message.text, message.parts or AnswerParts())
        growing = self._growing.setdefault(run.id, GrowingAnswer())
        for numbered in await self.deps.journal.read(self.principal, run.id, growing.number):
            growing.folded.add(numbered.event)
            growing.number = numbered.number
        return growing.folded.answer()

    async def _view(self, turn: Turn) -> TurnView:
        # Off the event loop: files are read and highlighted.
        view = await to_thread.run_sync(turn_view, turn, self._finder(turn))
        if turn.run.is_finished:
            self._finished[turn.run.id, turn.last] = view
        return view

    def _finder(self, turn: Turn) -> Callable[[str], Checkout | None]:
        def find(name: str) -> Checkout | None:
            key = (turn.run.id, name)
            found = self._checkouts.get(key) or find_cited(
                self.deps, turn.run, turn.answer.parts, name
            )
            if found is not None:
                self._checkouts[key] = found
            return found

        return find


def find_cited(deps: WebDeps, run: Run, parts: AnswerParts, name: str) -> Checkout | None:
    """Return the checkout that the answer calls by this name, if it is still here."""
    commit = next((item.commit for item in parts.resources if item.name == name), None)
    asked = next((source for source in run.sources if source.name == name), None)
    if commit is None or asked is None:
        return None
    source = Source(SourceKind(asked.kind), asked.location, asked.ref)
    return deps.checkouts.find_commit(source, commit)


async def may_read(
    deps: WebDeps, principal: Principal, checkout: Checkout, run_id: str | None
) -> bool:
    """Tell whether the principal has this checkout among their resources or in that answer."""
    resources = await deps.projects.list_resources(principal)
    if any(one.fetched and one.fetched.checkout_id == checkout.id for one in resources):
        return True
    if not run_id:
        return False
    try:
        run = await deps.journal.run(principal, RunId(run_id))
        answer = await _answer_of(deps, principal, run.id)
    except NotFound:
        return False
    for source in run.sources:
        found = await to_thread.run_sync(find_cited, deps, run, answer.parts, source.name)
        if found is not None and found.id == checkout.id:
            return True
    return False


async def answer_text(deps: WebDeps, principal: Principal, run_id: RunId) -> str:
    """Return an answer's Markdown as far as it has come. Raises `NotFound`."""
    return (await _answer_of(deps, principal, run_id)).text


async def _answer_of(deps: WebDeps, principal: Principal, run_id: RunId) -> Answer:
    events = await deps.journal.read(principal, run_id)
    return fold(numbered.event for numbered in events)
