"""Rows of threads, messages, runs and their journals.

What a person reads or changes is asked for with their principal; what the relay does is asked for
with the id of a run that it was started for.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, Row, func, insert, select, update

from firsthand.hub.db.schema import idempotency_keys, messages, run_events, runs, threads
from firsthand.hub.errors import NotFound
from firsthand.hub.identity.principal import Principal
from firsthand.hub.ids import MessageId, ProjectId, RunId, ThreadId, UserId
from firsthand.hub.threads.message import Message, Speaker
from firsthand.hub.threads.run import MOVES, UNFINISHED, AskedSource, Run
from firsthand.hub.threads.thread import Thread
from firsthand.protocol.answer import AnswerFold, AnswerParts
from firsthand.protocol.events import (
    Done,
    NumberedEvent,
    RunEvent,
    RunFailed,
    decode_event,
    encode_event,
)
from firsthand.protocol.questions import ModelChoice, RunState

# One page of a journal: bounds memory and the time of one read.
JOURNAL_PAGE = 500


# Threads


def add_thread(connection: Connection, thread: Thread) -> None:
    """Store a new thread."""
    connection.execute(
        insert(threads).values(
            id=thread.id,
            user_id=thread.user_id,
            project_id=thread.project_id,
            title=thread.title,
            created_at=thread.created_at,
            updated_at=thread.updated_at,
        )
    )


def get_thread(connection: Connection, principal: Principal, thread_id: ThreadId) -> Thread:
    """Return the principal's thread. Raises `NotFound`."""
    row = connection.execute(
        select(threads).where(threads.c.id == thread_id, threads.c.user_id == principal.user_id)
    ).one_or_none()
    if row is None:
        raise NotFound("There is no such thread.")
    return _thread(row)


def list_threads(connection: Connection, principal: Principal, *, limit: int = 50) -> list[Thread]:
    """The principal's threads, the last used first."""
    rows = connection.execute(
        select(threads)
        .where(threads.c.user_id == principal.user_id)
        .order_by(threads.c.updated_at.desc(), threads.c.id)
        .limit(limit)
    )
    return [_thread(row) for row in rows]


def mark_thread_used(connection: Connection, thread_id: ThreadId, now: datetime) -> None:
    """Note that something was said in the thread."""
    connection.execute(update(threads).where(threads.c.id == thread_id).values(updated_at=now))


# Messages


def add_message(connection: Connection, message: Message) -> None:
    """Store a new message."""
    connection.execute(
        insert(messages).values(
            id=message.id,
            thread_id=message.thread_id,
            position=message.position,
            role=message.speaker,
            text=message.text,
            parts=_encode(message.parts) if message.parts else None,
            run_id=message.run_id,
            created_at=message.created_at,
            completed_at=message.completed_at,
        )
    )


def last_position(connection: Connection, thread_id: ThreadId) -> int:
    """Return the place of the thread's last message; 0 where there is none."""
    query = select(func.max(messages.c.position)).where(messages.c.thread_id == thread_id)
    return connection.execute(query).scalar_one() or 0


def list_messages(
    connection: Connection, principal: Principal, thread_id: ThreadId
) -> list[Message]:
    """All messages of the principal's thread, in order. Raises `NotFound`."""
    get_thread(connection, principal, thread_id)
    return _messages(connection, messages.c.thread_id == thread_id)


def list_messages_before(connection: Connection, run: Run) -> list[Message]:
    """The messages of the run's thread that came before its question, in order."""
    question = select(messages.c.position).where(messages.c.id == run.question_id)
    return _messages(
        connection,
        (messages.c.thread_id == run.thread_id)
        & (messages.c.position < question.scalar_subquery()),
    )


def list_messages_of(connection: Connection, chosen: Sequence[Run]) -> list[Message]:
    """The questions and answers of these runs."""
    ids = {message_id for run in chosen for message_id in (run.question_id, run.answer_id)}
    return _messages(connection, messages.c.id.in_(ids))


def get_question(connection: Connection, run: Run) -> Message:
    """Return the message that the run answers."""
    return _messages(connection, messages.c.id == run.question_id)[0]


def _messages(connection: Connection, condition: ColumnElement[bool]) -> list[Message]:
    rows = connection.execute(select(messages).where(condition).order_by(messages.c.position))
    return [_message(row) for row in rows]


# Runs


def add_run(connection: Connection, run: Run) -> None:
    """Store a new run."""
    connection.execute(
        insert(runs).values(
            id=run.id,
            thread_id=run.thread_id,
            user_id=run.user_id,
            question_id=run.question_id,
            answer_id=run.answer_id,
            state=run.state,
            sources=_encode(run.sources),
            model=_encode(run.model),
            created_at=run.created_at,
        )
    )


def get_run(connection: Connection, principal: Principal, run_id: RunId) -> Run:
    """Return the principal's run. Raises `NotFound`."""
    return _one_run(connection, (runs.c.id == run_id) & (runs.c.user_id == principal.user_id))


def get_started_run(connection: Connection, run_id: RunId) -> Run:
    """Return the run that a workflow was started for. Raises `NotFound`."""
    return _one_run(connection, runs.c.id == run_id)


def _one_run(connection: Connection, condition: ColumnElement[bool]) -> Run:
    row = connection.execute(select(runs).where(condition)).one_or_none()
    if row is None:
        raise NotFound("There is no such run.")
    return _run(row)


def list_unfinished_runs(
    connection: Connection, *, thread_id: ThreadId | None = None
) -> list[RunId]:
    """Runs that have not ended, of one thread or of all."""
    query = select(runs.c.id).where(runs.c.state.in_(UNFINISHED)).order_by(runs.c.created_at)
    if thread_id is not None:
        query = query.where(runs.c.thread_id == thread_id)
    return [RunId(run_id) for run_id in connection.execute(query).scalars()]


def list_runs_of_thread(
    connection: Connection, principal: Principal, thread_id: ThreadId
) -> list[Run]:
    """All runs of the principal's thread, the first one first."""
    rows = connection.execute(
        select(runs)
        .where(runs.c.thread_id == thread_id, runs.c.user_id == principal.user_id)
        .order_by(runs.c.created_at, runs.c.id)
    )
    return [_run(row) for row in rows]


def move_run(
    connection: Connection, run_id: RunId, *, expected: RunState, to: RunState, **also: Any
) -> bool:
    """Move the run if it still is where the caller saw it; tell whether that was so."""
    if to not in MOVES[expected]:
        raise AssertionError(f"a run that is {expected} may not become {to}")
    result = connection.execute(
        update(runs).where(runs.c.id == run_id, runs.c.state == expected).values(state=to, **also)
    )
    return result.rowcount == 1


def mark_cancel_requested(connection: Connection, run_id: RunId, now: datetime) -> bool:
    """Ask for the run's end; tell whether it was not asked for before."""
    result = connection.execute(
        update(runs)
        .where(
            runs.c.id == run_id,
            runs.c.cancel_requested_at.is_(None),
            runs.c.state.in_(UNFINISHED),
        )
        .values(cancel_requested_at=now)
    )
    return result.rowcount == 1


def mark_gateway_token(connection: Connection, run_id: RunId, token_hash: str) -> None:
    """Let this token, and no earlier one, reach the model for the run."""
    connection.execute(
        update(runs).where(runs.c.id == run_id).values(gateway_token_hash=token_hash)
    )


# The journal


def append_events(
    connection: Connection,
    run_id: RunId,
    events: Sequence[RunEvent],
    *,
    agent_number: int | None = None,
) -> int:
    """Add events to the journal of an unfinished run; return the last number.

    `agent_number` is the agent's number of the last of them. Nothing is added to a run that has
    ended.
    """
    row = connection.execute(
        select(runs.c.last_number, runs.c.state).where(runs.c.id == run_id)
    ).one()
    last: int = row.last_number
    if not events or row.state not in UNFINISHED:
        return last
    rows = [
        {"run_id": run_id, "number": number, "data": encode_event(event).decode()}
        for number, event in enumerate(events, last + 1)
    ]
    connection.execute(insert(run_events), rows)
    values: dict[str, Any] = {"last_number": last + len(events)}
    if agent_number is not None:
        values["agent_number"] = agent_number
    connection.execute(update(runs).where(runs.c.id == run_id).values(values))
    return last + len(events)


def append_agent_events(
    connection: Connection, run_id: RunId, events: Sequence[NumberedEvent]
) -> int:
    """Add what came from the agent, leaving out what is here already; return the last number."""
    seen: int = connection.execute(
        select(runs.c.agent_number).where(runs.c.id == run_id)
    ).scalar_one()
    fresh = [numbered for numbered in events if numbered.number > seen]
    if not fresh:
        return seen
    return append_events(
        connection,
        run_id,
        [numbered.event for numbered in fresh],
        agent_number=fresh[-1].number,
    )


def read_events(connection: Connection, run_id: RunId, after: int) -> list[NumberedEvent]:
    """The next page of the journal after this number."""
    rows = connection.execute(
        select(run_events.c.number, run_events.c.data)
        .where(run_events.c.run_id == run_id, run_events.c.number > after)
        .order_by(run_events.c.number)
        .limit(JOURNAL_PAGE)
    )
    return [NumberedEvent(number=row.number, event=decode_event(row.data)) for row in rows]


def finish_run(connection: Connection, run_id: RunId, end: Done | RunFailed, now: datetime) -> bool:
    """End the run by its last event, and make its answer immutable; tell whether this did it.

    A run whose end was asked for and that did not reach its answer is `cancelled`. The last
    event must not be in the journal yet.
    """
    run = get_started_run(connection, run_id)
    if run.is_finished:
        return False
    append_events(connection, run_id, [end])
    growing = AnswerFold()
    for data in connection.execute(
        select(run_events.c.data).where(run_events.c.run_id == run_id).order_by(run_events.c.number)
    ).scalars():
        growing.add(decode_event(data))
    answer = growing.answer()
    _complete(connection, run, answer.text, answer.parts, now)
    failure = end if isinstance(end, RunFailed) else None
    return move_run(
        connection,
        run_id,
        expected=run.state,
        to=_end_state(run, failure),
        ended_at=now,
        gateway_token_hash=None,
        error_tag=failure.error_tag if failure else None,
        error_message=failure.message if failure else None,
        error_hint=failure.hint if failure else None,
    )


def _end_state(run: Run, failure: RunFailed | None) -> RunState:
    if failure is None:
        return RunState.SUCCEEDED
    return RunState.CANCELLED if run.cancel_requested_at else RunState.FAILED


def _complete(
    connection: Connection, run: Run, text: str, parts: AnswerParts, now: datetime
) -> None:
    connection.execute(
        update(messages)
        .where(messages.c.id == run.answer_id, messages.c.completed_at.is_(None))
        .values(text=text, parts=_encode(parts), completed_at=now)
    )
    mark_thread_used(connection, run.thread_id, now)


# Idempotency keys


def claim_key(
    connection: Connection,
    principal: Principal,
    key: str,
    *,
    run_id: RunId,
    request_hash: str,
    now: datetime,
) -> tuple[RunId, str]:
    """Take the key for this run if it is free; return the run and request that hold it."""
    row = connection.execute(
        select(idempotency_keys.c.run_id, idempotency_keys.c.request_hash).where(
            idempotency_keys.c.user_id == principal.user_id, idempotency_keys.c.key == key
        )
    ).one_or_none()
    if row is None:
        connection.execute(
            insert(idempotency_keys).values(
                user_id=principal.user_id,
                key=key,
                run_id=run_id,
                request_hash=request_hash,
                created_at=now,
            )
        )
        return run_id, request_hash
    return RunId(row.run_id), row.request_hash


def _encode(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _thread(row: Row[Any]) -> Thread:
    return Thread(
        id=ThreadId(row.id),
        user_id=UserId(row.user_id),
        project_id=ProjectId(row.project_id),
        title=row.title,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def _message(row: Row[Any]) -> Message:
    return Message(
        id=MessageId(row.id),
        thread_id=ThreadId(row.thread_id),
        position=row.position,
        speaker=Speaker(row.role),
        text=row.text,
        parts=msgspec.json.decode(row.parts, type=AnswerParts) if row.parts else None,
        run_id=RunId(row.run_id) if row.run_id else None,
        created_at=row.created_at,
        completed_at=row.completed_at,
    )


def _run(row: Row[Any]) -> Run:
    return Run(
        id=RunId(row.id),
        thread_id=ThreadId(row.thread_id),
        user_id=UserId(row.user_id),
        question_id=MessageId(row.question_id),
        answer_id=MessageId(row.answer_id),
        state=RunState(row.state),
        sources=msgspec.json.decode(row.sources, type=tuple[AskedSource, ...]),
        model=msgspec.json.decode(row.model, type=ModelChoice),
        last_number=row.last_number,
        agent_number=row.agent_number,
        cancel_requested_at=row.cancel_requested_at,
        gateway_token_hash=row.gateway_token_hash,
        error_tag=row.error_tag,
        error_message=row.error_message,
        error_hint=row.error_hint,
        created_at=row.created_at,
        started_at=row.started_at,
        ended_at=row.ended_at,
    )
