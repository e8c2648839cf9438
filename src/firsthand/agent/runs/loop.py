"""The loop that answers a question: model and tools in turn, within bounds, until there is text.

Whatever happens, a run ends with exactly one `done` or `error`, and what was said stays valid.
"""

import asyncio
import sys
import traceback
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Final

from firsthand.agent.citations import check_citations
from firsthand.agent.errors import AgentError, ToolError
from firsthand.agent.models.port import (
    Model,
    ModelMessage,
    ModelPart,
    ModelTurn,
    ReasoningPart,
    TextPart,
    ToolRequest,
    ToolResult,
    TurnEnded,
)
from firsthand.agent.runs import prompt
from firsthand.agent.runs.limits import Budget, LimitReached
from firsthand.agent.runs.turns import Patience, ask
from firsthand.agent.tools.checkouts import Checkouts
from firsthand.agent.tools.tool import Indexes, ToolContext, ToolLimits
from firsthand.agent.tools.toolset import Toolset, parse_arguments
from firsthand.protocol.events import (
    AnsweredResource,
    CitationsChecked,
    Done,
    Meta,
    ModelName,
    ReasoningDelta,
    RunEvent,
    RunFailed,
    TextDelta,
    ToolCall,
    ToolState,
    ToolStatus,
    ToolUpdated,
)
from firsthand.protocol.questions import RunRequest, RunState

_MAX_REASONING_CHARS: Final = 200_000
# A tool bounds itself; this is for the case that it cannot, as on a file system that hangs.
_TOOL_GRACE_SECONDS: Final = 10.0
# Each may be a program with threads of its own, and a sandbox bounds its processes.
_TOOLS_AT_ONCE: Final = 8


@dataclass(frozen=True, slots=True)
class Engine:
    """What every run of a process uses."""

    open_model: Callable[[RunRequest], Model]
    indexes: Indexes
    patience: Patience = field(default_factory=Patience)
    tool_limits: ToolLimits = field(default_factory=ToolLimits)


class Answering:
    """One run: the state of its conversation. Made for one call of `run`."""

    def __init__(
        self, request: RunRequest, engine: Engine, emit: Callable[[RunEvent], None]
    ) -> None:
        self._request = request
        self._engine = engine
        self._emit = emit
        checkouts = Checkouts(request.checkouts)
        self._context = ToolContext(checkouts, engine.indexes, limits=engine.tool_limits)
        self._toolset = Toolset(self._context)
        self._budget = Budget(request.limits, asyncio.get_running_loop().time)
        self._messages: list[ModelMessage] = prompt.first_messages(
            request.history, request.question
        )
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._reasoning_chars = 0
        self._tools: dict[str, ToolCall] = {}
        self._hands = asyncio.Semaphore(_TOOLS_AT_ONCE)
        self._shutting_down = False

    def shut_down(self) -> None:
        """Say that it is not a person who cancels the run, but the end of the process."""
        self._shutting_down = True

    async def run(self) -> RunState:
        """Answer; return how it ended. Cancelling ends it as `CANCELLED`; nothing is raised."""
        try:
            await self._converse_in_time()
            self._finish()
        except AgentError as error:
            return self._fail(RunState.FAILED, error.tag, error.message, error.hint)
        except asyncio.CancelledError:
            if self._shutting_down:
                message = "The agent was stopped in the middle of the answer."
                return self._fail(RunState.FAILED, "AgentStopped", message, "Ask again.")
            return self._fail(RunState.CANCELLED, "Cancelled", "The answer was stopped.", None)
        except Exception:  # noqa: BLE001 - the outermost loop of a run, which records it
            traceback.print_exc(file=sys.stderr)
            message = "The agent failed in a way it was not built for."
            hint = "Ask again; the agent's log has the details."
            return self._fail(RunState.FAILED, "InternalError", message, hint)
        return RunState.SUCCEEDED

    async def _converse_in_time(self) -> None:
        clock = asyncio.timeout(self._request.limits.max_seconds)
        try:
            async with clock:
                await self._converse()
        except TimeoutError:
            if clock.expired():
                raise self._budget.out_of_time() from None
            raise

    async def _converse(self) -> None:
        self._emit(self._meta())
        model = self._engine.open_model(self._request)
        nudged = False
        while True:
            self._budget.check_tokens()
            reason = self._budget.must_wind_up()
            ended = await self._turn(model, reason, nudge=nudged)
            requests = () if reason else ended.message.tool_requests
            if requests:
                self._messages.append(ended.message)
                self._messages.extend(await self._run_tools(requests))
            elif ended.cut_short:
                self._say_cut_short()
                return
            elif ended.message.text.strip():
                return
            elif (reason or nudged) and "".join(self._text).strip():
                # What was said between tool calls is all there will be.
                return
            elif reason:
                raise LimitReached(f"The run reached a limit without an answer: {reason}.")
            elif nudged:
                raise AgentError("The model gave no answer.", hint="Ask again.", tag="EmptyAnswer")
            else:
                nudged = True

    async def _turn(self, model: Model, reason: str | None, *, nudge: bool) -> TurnEnded:
        notice = prompt.WIND_UP.format(reason=reason) if reason else None
        turn = ModelTurn(
            system=prompt.system_prompt(self._request),
            messages=tuple(self._messages),
            tools=self._toolset.descriptions,
            max_output_tokens=self._request.limits.max_output_tokens,
            tools_allowed=reason is None,
            notice=notice or (prompt.NUDGE if nudge else None),
        )
        ended: TurnEnded | None = None
        begins = True
        async with aclosing(ask(model, turn, self._engine.patience)) as parts:
            async for part in parts:
                if isinstance(part, TurnEnded):
                    ended = part
                else:
                    self._say(part, begins=begins)
                    begins = begins and not isinstance(part, TextPart)
        if ended is None:
            raise AgentError("The model's turn had no end.", tag="ModelFailed")
        self._budget.steps += 1
        self._budget.add_usage(ended.usage)
        return ended

    def _say(self, part: ModelPart, *, begins: bool) -> None:
        if isinstance(part, TextPart) and part.text:
            # What was said before a tool call is a paragraph of its own.
            apart = begins and self._text and not self._text[-1].endswith("\n")
            text = f"\n\n{part.text}" if apart else part.text
            self._text.append(text)
            self._emit(TextDelta(delta=text))
            self._budget.add_text(len(text))
        elif isinstance(part, ReasoningPart) and part.text:
            self._reason(part.text)

    def _reason(self, text: str) -> None:
        if self._reasoning_chars > _MAX_REASONING_CHARS:
            return
        self._reasoning_chars += len(text)
        if self._reasoning_chars > _MAX_REASONING_CHARS:
            text = "\n\n[the rest of the reasoning is left out]"
        self._reasoning.append(text)
        self._emit(ReasoningDelta(delta=text))

    def _say_cut_short(self) -> None:
        if not "".join(self._text).strip():
            raise LimitReached(
                f"The model used all {self._request.limits.max_output_tokens:,} tokens of its "
                "output before it gave an answer.",
                hint="Raise the limit on output tokens, or ask something narrower.",
            )
        limit = self._request.limits.max_output_tokens
        note = f"\n\n*(The answer ends here: it reached the limit of {limit:,} output tokens.)*"
        self._text.append(note)
        self._emit(TextDelta(delta=note))

    async def _run_tools(self, requests: tuple[ToolRequest, ...]) -> list[ToolResult]:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._run_tool(request)) for request in requests]
        return [task.result() for task in tasks]

    async def _run_tool(self, request: ToolRequest) -> ToolResult:
        call_id = request.call_id
        while call_id in self._tools:
            # Some providers count their calls from zero in every turn.
            call_id += "+"
        self._budget.tool_calls += 1
        status, given, text, data = ToolStatus.COMPLETED, dict[str, object](), "", {}
        self._tools[call_id] = self._update(call_id, request.name, ToolStatus.PENDING, given, None)
        try:
            given = parse_arguments(request.arguments)
            if self._budget.tool_calls > self._request.limits.max_tool_calls:
                raise ToolError("No more tool calls are allowed in this run; answer now.")
            seconds = self._engine.tool_limits.seconds + _TOOL_GRACE_SECONDS
            async with self._hands:
                self._update(call_id, request.name, ToolStatus.RUNNING, given, None)
                async with asyncio.timeout(seconds):
                    output = await self._toolset.call(request.name, given)
            text, data = output.text, output.data
        except ToolError as error:
            status = ToolStatus.ERROR
            text = f"{error.message} {error.hint}" if error.hint else error.message
        except TimeoutError:
            status, text = ToolStatus.ERROR, "The tool took too long and was stopped."
        self._tools[call_id] = self._update(call_id, request.name, status, given, text)
        failed = status is ToolStatus.ERROR
        return ToolResult(request.call_id, request.name, text, failed=failed, data=data)

    def _update(
        self,
        call_id: str,
        tool: str,
        status: ToolStatus,
        given: dict[str, object],
        output: str | None,
    ) -> ToolCall:
        state = ToolState(status=status, input=given, output=output)
        self._emit(ToolUpdated(call_id=call_id, tool=tool, state=state))
        return ToolCall(call_id=call_id, tool=tool, state=state)

    def _meta(self) -> Meta:
        choice = self._request.model
        return Meta(
            model=ModelName(provider=choice.provider, model=choice.model),
            resources=[
                AnsweredResource(
                    name=ref.name,
                    ref=ref.ref,
                    commit=ref.commit,
                    committed_at=ref.committed_at,
                    fetched_at=ref.fetched_at,
                )
                for ref in self._request.checkouts
            ],
        )

    def _check_citations(self) -> None:
        citations = check_citations("".join(self._text), self._context.checkouts, self._context.log)
        self._emit(CitationsChecked(citations=citations))

    def _finish(self) -> None:
        self._check_citations()
        budget = self._budget
        self._emit(
            Done(
                text="".join(self._text),
                reasoning="".join(self._reasoning),
                tools=list(self._tools.values()),
                usage=budget.usage,
                metrics={
                    "durationMs": round(budget.seconds * 1000, 1),
                    "steps": budget.steps,
                    "toolCalls": budget.tool_calls,
                },
            )
        )

    def _fail(self, state: RunState, tag: str, message: str, hint: str | None) -> RunState:
        if self._text:
            self._check_citations()
        self._emit(RunFailed(error_tag=tag, message=message, hint=hint))
        return state
