"""The workflow of a run: have an agent and the sources, start the run, carry its events over.

It may be run again from its start after a crash of the hub, while the agent has gone on: the
journal says how far it came, and the relay attaches after the last number that it stored. Numbers
of the agent and the events they belong to are stored in one transaction, so that nothing is lost
or doubled. A run that was interrupted by the end of the hub stays unfinished.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import structlog

from firsthand.hub.clock import Clock
from firsthand.hub.db.engine import Connection, Database
from firsthand.hub.errors import FirsthandError, Unavailable
from firsthand.hub.feeds import Feeds
from firsthand.hub.feeds.topics import run_topic, thread_topic, user_topic
from firsthand.hub.ids import InstanceId, RunId, hash_token, new_token
from firsthand.hub.instances import store as instances_store
from firsthand.hub.instances.agent_client import (
    AgentClient,
    AgentGone,
    AgentRefused,
    RunForgotten,
)
from firsthand.hub.instances.instances import Instances
from firsthand.hub.sandboxes.provider import AgentEndpoint
from firsthand.hub.threads import store
from firsthand.hub.threads.ask import RUN_WORKFLOW, workflow_of
from firsthand.hub.threads.endings import DEFECT, RETRY, STOPPED, AnswerLost, AnswerTooLong
from firsthand.hub.threads.history import turns_of
from firsthand.hub.threads.preparation import (
    Checkouts,
    Narrator,
    SourceUnavailable,
    check_out_all,
    together,
)
from firsthand.hub.threads.run import Run
from firsthand.hub.workflows import Workflows
from firsthand.protocol.events import Done, NumberedEvent, RunEvent, RunFailed, StatusChanged
from firsthand.protocol.questions import CheckoutRef, RunLimits, RunRequest, RunState
from firsthand.sources.store import Checkout

_log = structlog.get_logger("firsthand.relay")

# What arrives within this time is stored in one transaction. The first event never waits.
_GROUP_SECONDS = 0.025
# Ten times what the limits of a run amount to.
_MAX_EVENTS = 250_000
_BUSY_PAUSE = 0.1
_BUSY_PAUSE_MAX = 2.0
_FINISH_PAUSE = 0.5
_FINISH_PAUSE_MAX = 30.0
# Broken connections in a row to an agent that is alive.
_REATTACH_TRIES = 4
_REATTACH_PAUSE = 0.1


@dataclass(frozen=True, slots=True)
class RelayParts:
    """What the relay works with."""

    db: Database
    feeds: Feeds
    workflows: Workflows
    instances: Instances
    checkouts: Checkouts
    clock: Clock
    path_inside: Callable[[Path], str]
    # Where people can read what an answer cites from a source without a place of its own.
    link_of: Callable[[RunId, Checkout], str]
    # How old a branch's checkout may be before the remote is asked again; the store's own
    # default where this is `None`.
    max_age: timedelta | None = None
    limits: RunLimits = field(default_factory=RunLimits)
    # What an agent needs to wind up after its own time limit, with room.
    end_grace: timedelta = timedelta(minutes=1)
    # How long an agent that was told to stop may take to say its last word.
    cancel_grace: timedelta = timedelta(seconds=5)
    # Waits for so many seconds before the end of a run is stored again.
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep


class _Hold:
    """The agent that works on the run now, for whoever wants to stop it."""

    agent: AgentClient | None = None


class Relay:
    """Makes answers. One object a hub; its workflow is registered when it is made."""

    def __init__(self, parts: RelayParts) -> None:
        self._parts = parts
        parts.workflows.register(RUN_WORKFLOW, self.carry)

    async def resume_unfinished(self) -> None:
        """See to it that every unfinished run is worked on. Call it once workflows are launched."""
        for run_id in await self._parts.db.read(store.list_unfinished_runs):
            workflow_id = workflow_of(run_id)
            await self._parts.workflows.start(RUN_WORKFLOW, workflow_id, run_id)
            if not await self._parts.workflows.is_unfinished(workflow_id):
                await self._finish_now(run_id, DEFECT)

    async def carry(self, raw_id: str) -> None:
        """The body of the workflow: bring the run to one of its ends."""
        run_id = RunId(raw_id)
        try:
            end = await self._answer_or_stop(run_id)
        except (SourceUnavailable, AgentRefused) as error:
            end = RunFailed(error_tag=error.tag, message=error.detail, hint=error.hint)
        except FirsthandError as error:
            end = RunFailed(error_tag=type(error).__name__, message=error.detail, hint=error.hint)
        except Exception:  # noqa: BLE001 - recorded
            # The outermost loop of a run: a defect must end it visibly.
            _log.exception("run failed", run=run_id)
            end = DEFECT
        if end is not None:
            await self._finish(run_id, end)

    async def _answer_or_stop(self, run_id: RunId) -> RunFailed | None:
        """Work on the run until it ends by itself or someone wants it to; then say how."""
        hold = _Hold()
        work = asyncio.create_task(self._answer(run_id, hold))
        wish = asyncio.create_task(self._wished_away(run_id))
        try:
            await asyncio.wait({work, wish}, return_when=asyncio.FIRST_COMPLETED)
            if not wish.done():
                return await work
            wish.result()
            await self._stop(run_id, hold, work)
            return STOPPED
        finally:
            await _cancel(work, wish)

    async def _stop(
        self, run_id: RunId, hold: _Hold, work: "asyncio.Task[RunFailed | None]"
    ) -> None:
        """Stop the agent and give it a moment to end the answer itself."""
        if work.done() or hold.agent is None:
            return
        with suppress(Unavailable, TimeoutError):
            async with asyncio.timeout(self._parts.cancel_grace.total_seconds()):
                await hold.agent.cancel(run_id)
                await asyncio.wait({work})

    async def _wished_away(self, run_id: RunId) -> None:
        """Return once the run's end was asked for."""
        async with self._parts.feeds.subscribe([run_topic(run_id)]) as subscription:
            while not (await self._run(run_id)).cancel_requested_at:
                await subscription.changed()

    async def _answer(self, run_id: RunId, hold: _Hold) -> RunFailed | None:
        run, instance_id = await self._run_and_instance(run_id)
        if run.is_finished:
            return None
        if run.agent_number > 0:
            await self._reattach(run, instance_id, hold)
            return None
        try:
            await self._first_try(run, instance_id, hold)
        except (AgentGone, RunForgotten, AnswerLost):
            run = await self._run(run_id)
            if run.agent_number > 0:
                raise
            # It was lost before it had said anything, so that it can begin again unseen.
            await self._first_try(run, instance_id, hold)
        return None

    async def _first_try(self, run: Run, instance_id: InstanceId, hold: _Hold) -> None:
        run, (endpoint, checkouts) = await together(
            self._move_to_starting(run), self._prepare(run, instance_id)
        )
        async with AgentClient(endpoint) as agent:
            hold.agent = agent
            try:
                await self._start_or_find(run, agent, checkouts)
                await self._follow_in_time(run, instance_id, agent)
            finally:
                hold.agent = None

    async def _reattach(self, run: Run, instance_id: InstanceId, hold: _Hold) -> None:
        """Go on with a run that an earlier process of the hub had begun to carry over."""
        endpoint = await self._parts.instances.running_endpoint(instance_id)
        if endpoint is None:
            raise AnswerLost("The instance stopped in the middle of the answer.", hint=RETRY)
        async with AgentClient(endpoint) as agent:
            hold.agent = agent
            try:
                await self._follow_in_time(run, instance_id, agent)
            finally:
                hold.agent = None

    async def _prepare(
        self, run: Run, instance_id: InstanceId
    ) -> tuple[AgentEndpoint, tuple[CheckoutRef, ...]]:
        """Have the instance running and all sources checked out, both at the same time."""
        parts = self._parts

        async def tell(steps: list[str]) -> None:
            await self._say(run, [StatusChanged(status="starting", step=step) for step in steps])

        async with Narrator(tell) as narrator:
            endpoint, checkouts = await together(
                parts.instances.ensure_running(instance_id, on_step=narrator.say),
                check_out_all(
                    run.sources,
                    parts.checkouts,
                    parts.path_inside,
                    partial(parts.link_of, run.id),
                    max_age=parts.max_age,
                    say=narrator.say,
                ),
            )
        return endpoint, checkouts

    async def _start_or_find(
        self, run: Run, agent: AgentClient, checkouts: tuple[CheckoutRef, ...]
    ) -> None:
        """Start the run on the agent, unless an earlier process of the hub already had."""
        if run.gateway_token_hash is not None and await self._is_known(run, agent):
            return
        token = new_token()
        # Read apart from the write, which others wait for: a long thread has much to read.
        question, before = await self._parts.db.read(
            lambda c: (store.get_question(c, run), store.list_messages_before(c, run))
        )

        def note(connection: Connection) -> None:
            store.append_events(connection, run.id, [StatusChanged(status="ready")])
            store.mark_gateway_token(connection, run.id, hash_token(token))

        await self._parts.db.write(note)
        self._publish(run)
        request = RunRequest(
            run_id=run.id,
            question=question.text,
            checkouts=checkouts,
            model=run.model,
            history=turns_of(before),
            gateway_token=token,
            limits=self._parts.limits,
        )
        await self._start_when_free(run, agent, request)

    async def _start_when_free(self, run: Run, agent: AgentClient, request: RunRequest) -> None:
        """Start the run, waiting while the agent has its hands full with others."""
        pause = _BUSY_PAUSE
        while True:
            try:
                await agent.start_run(request)
                break
            except AgentRefused as refusal:
                if refusal.tag != "Busy":
                    raise
            if pause == _BUSY_PAUSE:
                waiting = "Waiting for other answers to end"
                await self._say(run, [StatusChanged(status="starting", step=waiting)])
            await asyncio.sleep(pause)
            pause = min(pause * 2, _BUSY_PAUSE_MAX)
        if pause > _BUSY_PAUSE:
            await self._say(run, [StatusChanged(status="ready")])

    async def _is_known(self, run: Run, agent: AgentClient) -> bool:
        try:
            async with aclosing(agent.follow(run.id, 0)) as events:
                async for _ in events:
                    break
        except RunForgotten:
            return False
        return True

    async def _follow_in_time(self, run: Run, instance_id: InstanceId, agent: AgentClient) -> None:
        """Carry events over for as long as the agent may take at most, and a little."""
        limit = self._parts.limits.max_seconds + self._parts.end_grace.total_seconds()
        clock = asyncio.timeout(limit)
        try:
            async with clock:
                await self._follow_to_end(run, instance_id, agent)
        except (TimeoutError, AnswerTooLong, AgentRefused) as error:
            with suppress(Unavailable):
                await agent.cancel(run.id)
            if not clock.expired():
                raise
            raise AnswerTooLong("The agent did not end in its time.", hint=RETRY) from error

    async def _follow_to_end(self, run: Run, instance_id: InstanceId, agent: AgentClient) -> None:
        """Carry events over until the last, attaching again where only the connection broke."""
        broken, before = 0, run.agent_number
        while True:
            try:
                await self._follow(run.id, agent, before)
            except RunForgotten as error:
                raise AnswerLost(
                    "The agent was started again in the middle of the answer.", hint=RETRY
                ) from error
            except AgentGone as error:
                after = (await self._run(run.id)).agent_number
                broken = 1 if after > before else broken + 1
                before = after
                alive = await self._parts.instances.running_endpoint(instance_id)
                if alive is None or broken == _REATTACH_TRIES:
                    raise AnswerLost(
                        "The instance stopped in the middle of the answer.", hint=RETRY
                    ) from error
                await asyncio.sleep(_REATTACH_PAUSE * broken)
            else:
                return

    async def _follow(self, run_id: RunId, agent: AgentClient, after: int) -> None:
        """Store what comes, in groups. Returns after the last event, raises `AgentGone` before."""
        waiting: list[NumberedEvent] = []
        arrived = asyncio.Event()

        async def read() -> None:
            async with aclosing(agent.follow(run_id, after)) as events:
                async for numbered in events:
                    waiting.append(numbered)
                    arrived.set()

        reader = asyncio.create_task(read())
        reader.add_done_callback(lambda _: arrived.set())
        try:
            while True:
                await arrived.wait()
                # Whether there is more to come must be known before what came is taken.
                over = reader.done()
                arrived.clear()
                group = waiting.copy()
                waiting.clear()
                if group and await self._store(run_id, group):
                    return
                if over:
                    reader.result()
                    raise AgentGone("The agent's answer has no end.")
                await asyncio.sleep(_GROUP_SECONDS)
        finally:
            await _cancel(reader)

    async def _store(self, run_id: RunId, group: list[NumberedEvent]) -> bool:
        """Store a group in one transaction; return whether it ended the run."""
        now = self._parts.clock()
        last = group[-1].event
        end = last if isinstance(last, Done | RunFailed) else None

        def append(connection: Connection) -> Run:
            # Nothing happens where it runs already.
            store.move_run(connection, run_id, expected=RunState.STARTING, to=RunState.RUNNING)
            store.append_agent_events(connection, run_id, group[:-1] if end else group)
            if end:
                _end(connection, run_id, end, now)
            return store.get_started_run(connection, run_id)

        run = await self._parts.db.write(append)
        self._publish(run, ended=run.is_finished)
        if run.last_number > _MAX_EVENTS and not run.is_finished:
            raise AnswerTooLong("The agent sends events without end.", hint=RETRY)
        return run.is_finished

    async def _finish(self, run_id: RunId, end: RunFailed) -> None:
        """End the run, however long the database cannot take it, as when the disk is full."""
        pause = _FINISH_PAUSE
        while True:
            try:
                await self._finish_now(run_id, end)
                return
            except Unavailable as error:
                _log.warning("run could not be ended", run=run_id, reason=error.detail)
            await self._parts.pause(pause)
            pause = min(pause * 2, _FINISH_PAUSE_MAX)

    async def _finish_now(self, run_id: RunId, end: RunFailed) -> None:
        now = self._parts.clock()

        def finish(connection: Connection) -> Run:
            _end(connection, run_id, end, now)
            return store.get_started_run(connection, run_id)

        self._publish(await self._parts.db.write(finish), ended=True)

    async def _say(self, run: Run, events: list[RunEvent]) -> None:
        await self._parts.db.write(lambda c: store.append_events(c, run.id, events))
        self._publish(run)

    async def _move_to_starting(self, run: Run) -> Run:
        if run.state is RunState.STARTING:
            return run
        now = self._parts.clock()

        def move(connection: Connection) -> Run:
            store.move_run(
                connection,
                run.id,
                expected=run.state,
                to=RunState.STARTING,
                started_at=run.started_at or now,
            )
            return store.get_started_run(connection, run.id)

        moved = await self._parts.db.write(move)
        self._publish(moved)
        return moved

    async def _run(self, run_id: RunId) -> Run:
        return await self._parts.db.read(lambda c: store.get_started_run(c, run_id))

    async def _run_and_instance(self, run_id: RunId) -> tuple[Run, InstanceId]:
        def both(connection: Connection) -> tuple[Run, InstanceId]:
            run = store.get_started_run(connection, run_id)
            return run, instances_store.id_of_user(connection, run.user_id)

        return await self._parts.db.read(both)

    def _publish(self, run: Run, *, ended: bool = False) -> None:
        topics = [run_topic(run.id), thread_topic(run.thread_id)]
        if ended:
            topics.append(user_topic(run.user_id))
        self._parts.feeds.publish(topics)


def _end(connection: Connection, run_id: RunId, end: Done | RunFailed, now: datetime) -> None:
    store.finish_run(connection, run_id, end, now)
    run = store.get_started_run(connection, run_id)
    instances_store.mark_active(connection, run.user_id, now)


async def _cancel(*tasks: "asyncio.Task[object]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
