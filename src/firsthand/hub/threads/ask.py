"""The one way to ask. Every entrance comes through here, and so do retry and cancel.

Asking stores the question, an empty answer, the run and the first entry of its journal in one
transaction, and only then starts the workflow that makes the answer.
"""

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec
import structlog

from firsthand.hub.clock import Clock
from firsthand.hub.db.engine import Connection, Database
from firsthand.hub.errors import BadInput, Conflict
from firsthand.hub.feeds import Feeds
from firsthand.hub.feeds.topics import run_topic, thread_topic, user_topic
from firsthand.hub.identity.principal import Principal, Scope
from firsthand.hub.ids import (
    MessageId,
    RunId,
    ThreadId,
    new_message_id,
    new_run_id,
    new_thread_id,
)
from firsthand.hub.instances import store as instances_store
from firsthand.hub.projects import store as projects_store
from firsthand.hub.threads import store
from firsthand.hub.threads.choice import choose_sources, without_broken
from firsthand.hub.threads.message import Message, Speaker
from firsthand.hub.threads.run import AskedSource, Run
from firsthand.hub.threads.thread import Thread, title_from
from firsthand.hub.workflows import Workflows
from firsthand.protocol.events import SessionStarted
from firsthand.protocol.limits import QUESTION_CHARS, RESOURCES_PER_QUESTION
from firsthand.protocol.questions import ModelChoice, RunState

_log = structlog.get_logger("firsthand.ask")

RUN_WORKFLOW = "run"
_KEY_CHARS = 200


def workflow_of(run_id: RunId) -> str:
    """Return the id of the workflow that makes this run's answer."""
    return f"run:{run_id}"


@dataclass(frozen=True, slots=True)
class AskParts:
    """What asking works with."""

    db: Database
    feeds: Feeds
    workflows: Workflows
    clock: Clock
    model_for: Callable[[], ModelChoice]
    # Whether a question may name a folder of this machine.
    allow_local: bool = False


@dataclass(frozen=True, slots=True)
class _Question:
    """A request to ask, checked as far as that goes without the database."""

    text: str
    thread_id: ThreadId | None
    resources: tuple[str, ...]
    project: str | None
    key: str | None

    @property
    def hash(self) -> str:
        asked = msgspec.json.encode([self.text, self.thread_id, self.resources, self.project])
        return hashlib.sha256(asked).hexdigest()


class Ask:
    """Asks, asks again, and takes a question back."""

    def __init__(self, parts: AskParts) -> None:
        self._parts = parts
        self._starting: set[asyncio.Task[None]] = set()

    async def ask(
        self,
        principal: Principal,
        message: str,
        *,
        thread_id: ThreadId | None = None,
        resources: Sequence[str] | None = None,
        project: str | None = None,
        idempotency_key: str | None = None,
    ) -> Run:
        """Ask a question; returns its run at once, before anything is answered.

        `resources` are names of the project's resources or sources of their own; none means all
        of the project. The same idempotency key returns the same run. Raises `BadInput`,
        `NotFound`, `NotAllowed`, and `Conflict` if an answer of the thread is still being
        written or the key stands for another question.
        """
        principal.require(Scope.ASK)
        question = _checked(message, thread_id, resources or (), project, idempotency_key)
        model = self._parts.model_for()
        now = self._parts.clock()
        run = await self._parts.db.write(
            lambda c: self._store_question(c, principal, question, model, now)
        )
        await self._begin(run)
        return run

    async def retry(self, principal: Principal, run_id: RunId) -> Run:
        """Answer the question of a failed or stopped run again, as a new run.

        Raises `NotFound`, and `Conflict` unless the run has failed or was stopped.
        """
        principal.require(Scope.ASK)
        model = self._parts.model_for()
        now = self._parts.clock()
        run = await self._parts.db.write(lambda c: _store_retry(c, principal, run_id, model, now))
        await self._begin(run)
        return run

    async def cancel(self, principal: Principal, run_id: RunId) -> Run:
        """Ask for the end of a run; it ends soon after, keeping what was said. Safe to repeat."""
        principal.require(Scope.ASK)

        def mark(connection: Connection) -> Run:
            run = store.get_run(connection, principal, run_id)
            store.mark_cancel_requested(connection, run.id, self._parts.clock())
            return store.get_run(connection, principal, run_id)

        run = await self._parts.db.write(mark)
        self._parts.feeds.publish([run_topic(run.id), thread_topic(run.thread_id)])
        return run

    async def _begin(self, run: Run) -> None:
        self._parts.feeds.publish(
            [thread_topic(run.thread_id), user_topic(run.user_id), run_topic(run.id)]
        )
        if run.is_finished:
            return
        start = self._parts.workflows.start(RUN_WORKFLOW, workflow_of(run.id), run.id)
        # The question is stored: a caller that leaves now must not keep it from being answered.
        task = asyncio.create_task(start)
        self._starting.add(task)
        task.add_done_callback(self._started)
        await asyncio.shield(task)

    def _started(self, task: asyncio.Task[None]) -> None:
        self._starting.discard(task)
        # Looked at, since its caller may be gone. The next start of the hub begins it again.
        if not task.cancelled() and task.exception() is not None:
            _log.warning("run could not begin", reason=str(task.exception()))

    def _store_question(
        self,
        connection: Connection,
        principal: Principal,
        question: _Question,
        model: ModelChoice,
        now: datetime,
    ) -> Run:
        run_id = new_run_id()
        if question.key is not None:
            holder, request = store.claim_key(
                connection,
                principal,
                question.key,
                run_id=run_id,
                request_hash=question.hash,
                now=now,
            )
            if request != question.hash:
                raise Conflict(
                    "This idempotency key was used for another question.",
                    hint="Use a new key for every question.",
                )
            if holder != run_id:
                return store.get_run(connection, principal, holder)
        thread, sources = self._place(connection, principal, question, now)
        position = store.last_position(connection, thread.id)
        asked = Message(
            id=new_message_id(),
            thread_id=thread.id,
            position=position + 1,
            speaker=Speaker.USER,
            text=question.text,
            parts=None,
            run_id=run_id,
            created_at=now,
            completed_at=now,
        )
        store.add_message(connection, asked)
        run = _new_run(
            run_id,
            principal=principal,
            thread_id=thread.id,
            question_id=asked.id,
            sources=sources,
            model=model,
            now=now,
        )
        _store_run(connection, run, position + 2)
        return run

    def _place(
        self, connection: Connection, principal: Principal, question: _Question, now: datetime
    ) -> tuple[Thread, tuple[AskedSource, ...]]:
        """Find or make the thread, and fix what is to be read."""
        if question.thread_id is not None:
            thread = store.get_thread(connection, principal, question.thread_id)
            _refuse_while_answering(connection, thread.id)
            project_id = thread.project_id
        else:
            thread = None
            project_id = projects_store.get_project(connection, principal, question.project).id
        present = projects_store.list_resources(connection, principal, project_id)
        sources = choose_sources(
            question.resources,
            present,
            allow_local=self._parts.allow_local,
        )
        if thread is None:
            thread = Thread(
                id=new_thread_id(),
                user_id=principal.user_id,
                project_id=project_id,
                title=title_from(question.text),
                created_at=now,
                updated_at=now,
            )
            store.add_thread(connection, thread)
        return thread, sources


def _checked(
    message: str,
    thread_id: ThreadId | None,
    resources: Sequence[str],
    project: str | None,
    key: str | None,
) -> _Question:
    text = message.strip()
    if not text:
        raise BadInput("The question is empty.")
    if len(text) > QUESTION_CHARS:
        raise BadInput(f"A question may have at most {QUESTION_CHARS} characters.")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise BadInput("The question holds half a character (a lone surrogate).")
    if len(resources) > RESOURCES_PER_QUESTION:
        raise BadInput(f"A question may read at most {RESOURCES_PER_QUESTION} resources.")
    if key is not None and not (0 < len(key) <= _KEY_CHARS and key.isprintable()):
        raise BadInput(f"An idempotency key has 1 to {_KEY_CHARS} printable characters.")
    return _Question(text, thread_id, tuple(resources), project, key)


def _refuse_while_answering(connection: Connection, thread_id: ThreadId) -> None:
    if store.list_unfinished_runs(connection, thread_id=thread_id):
        raise Conflict(
            "An answer in this thread is still being written.",
            hint="Wait for it or stop it, then ask again.",
        )


def _store_retry(
    connection: Connection,
    principal: Principal,
    run_id: RunId,
    model: ModelChoice,
    now: datetime,
) -> Run:
    before = store.get_run(connection, principal, run_id)
    if before.state not in (RunState.FAILED, RunState.CANCELLED):
        raise Conflict(
            f"The run has {before.state}; only a failed or stopped one can be retried."
            if before.is_finished
            else "The run has not ended yet.",
            hint="Ask a new question instead.",
        )
    _refuse_while_answering(connection, before.thread_id)
    thread = store.get_thread(connection, principal, before.thread_id)
    present = projects_store.list_resources(connection, principal, thread.project_id)
    run = _new_run(
        new_run_id(),
        principal=principal,
        thread_id=thread.id,
        question_id=before.question_id,
        sources=without_broken(before.sources, present),
        model=model,
        now=now,
    )
    _store_run(connection, run, store.last_position(connection, run.thread_id) + 1)
    return run


def _new_run(
    run_id: RunId,
    *,
    principal: Principal,
    thread_id: ThreadId,
    question_id: MessageId,
    sources: tuple[AskedSource, ...],
    model: ModelChoice,
    now: datetime,
) -> Run:
    return Run(
        id=run_id,
        thread_id=thread_id,
        user_id=principal.user_id,
        question_id=question_id,
        answer_id=new_message_id(),
        state=RunState.QUEUED,
        sources=sources,
        model=model,
        last_number=1,
        agent_number=0,
        cancel_requested_at=None,
        gateway_token_hash=None,
        error_tag=None,
        error_message=None,
        error_hint=None,
        created_at=now,
        started_at=None,
        ended_at=None,
    )


def _store_run(connection: Connection, run: Run, position: int) -> None:
    """Store the run with its still empty answer at `position`, and open its journal."""
    answer = Message(
        id=run.answer_id,
        thread_id=run.thread_id,
        position=position,
        speaker=Speaker.ASSISTANT,
        text="",
        parts=None,
        run_id=run.id,
        created_at=run.created_at,
        completed_at=None,
    )
    store.add_message(connection, answer)
    store.add_run(connection, run)
    first = SessionStarted(run_id=run.id, thread_id=run.thread_id, message_id=run.answer_id)
    store.append_events(connection, run.id, [first])
    store.mark_thread_used(connection, run.thread_id, run.created_at)
    instances_store.mark_active(connection, run.user_id, run.created_at)
