"""What every dialect owes to the loop, proved against a real server of its interface."""

import json
import threading
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

import anyio
import pytest

from firsthand.agent.models.port import (
    AssistantMessage,
    Model,
    ModelError,
    ModelMessage,
    ModelTurn,
    ReasoningPart,
    TextPart,
    ToolDescription,
    ToolResult,
    TurnEnded,
    UserMessage,
)
from tests.contract.models.conftest import Dialect
from tests.model_server import (
    Call,
    Cut,
    Refusal,
    Reply,
    Say,
    StreamError,
    Think,
    Tokens,
    Wait,
)

TOOL = ToolDescription("grep", "Searches.", {"type": "object", "properties": {}})
QUESTION = UserMessage("How are redirects followed?")
BOTH = pytest.mark.requirement("AGT-9", "AGT-10")
ERRORS = pytest.mark.requirement("AGT-11")


@dataclass
class Heard:
    text: list[str] = field(default_factory=list[str])
    reasoning: list[str] = field(default_factory=list[str])
    ends: list[TurnEnded] = field(default_factory=list[TurnEnded])

    @property
    def end(self) -> TurnEnded:
        (end,) = self.ends
        return end


async def hear(model: Model, turn: ModelTurn, heard: Heard | None = None) -> Heard:
    heard = heard or Heard()
    with anyio.fail_after(20):
        async with aclosing(model.answer(turn)) as parts:
            async for part in parts:
                match part:
                    case TextPart():
                        heard.text.append(part.text)
                    case ReasoningPart():
                        heard.reasoning.append(part.text)
                    case TurnEnded():
                        heard.ends.append(part)
    return heard


def turn(
    *messages: ModelMessage, tools_allowed: bool = True, notice: str | None = None
) -> ModelTurn:
    said: Sequence[ModelMessage] = messages or (QUESTION,)
    return ModelTurn("Be exact.", said, [TOOL], 1_000, tools_allowed, notice)


@BOTH
async def test_text_and_reasoning_stream_in_order(dialect: Dialect) -> None:
    dialect.server.script(
        Reply(Think("Let me look at it."), Say("They are followed in a loop, up to twenty."))
    )
    heard = await hear(dialect.model(), turn())
    assert "".join(heard.reasoning) == "Let me look at it."
    assert "".join(heard.text) == "They are followed in a loop, up to twenty."
    assert len(heard.text) > 2
    assert heard.end.message.text == "They are followed in a loop, up to twenty."
    assert not heard.end.cut_short


@BOTH
async def test_key_model_and_prompt_reach_the_server(dialect: Dialect) -> None:
    dialect.server.script(Reply(Say("Yes.")))
    await hear(dialect.model(), turn())
    (request,) = dialect.server.requests
    assert "sk-test" in (request.authorization or request.headers["x-api-key"])
    assert request.body["model"] == "test-model"
    assert "Be exact." in json.dumps(request.body)
    assert request.body["stream"] is True


@BOTH
async def test_several_tool_calls_come_whole(dialect: Dialect) -> None:
    dialect.server.script(
        Reply(
            Say("I look in two places."),
            Call("grep", {"pattern": "redirect", "path": "httpx"}, "one"),
            Call("grep", {"pattern": "follow"}, "two"),
        )
    )
    message = (await hear(dialect.model(), turn())).end.message
    assert [(call.call_id, call.name) for call in message.tool_requests] == [
        ("one", "grep"),
        ("two", "grep"),
    ]
    assert json.loads(message.tool_requests[0].arguments) == {
        "pattern": "redirect",
        "path": "httpx",
    }


@BOTH
async def test_results_go_back_with_reasoning_unchanged(dialect: Dialect) -> None:
    dialect.server.script(
        Reply(Think("Two places."), Call("grep", {"a": 1}), Call("grep", {"b": 2})),
        Reply(Say("Found.")),
    )
    first = (await hear(dialect.model(), turn())).end.message
    results = [
        ToolResult(call.call_id, call.name, f"result {number}", failed=number == 1)
        for number, call in enumerate(first.tool_requests)
    ]
    heard = await hear(dialect.model(), turn(QUESTION, first, *results))
    # The server refuses results that match no call, and reasoning whose signature is wrong.
    assert heard.text
    assert "result 0" in json.dumps(dialect.server.requests[1].body)


@BOTH
async def test_a_call_with_broken_arguments_can_be_answered(dialect: Dialect) -> None:
    dialect.server.script(Reply(Call("grep", '{"pattern": "re')), Reply(Say("Again.")))
    first = (await hear(dialect.model(), turn())).end.message
    assert first.tool_requests[0].arguments == '{"pattern": "re'
    result = ToolResult(first.tool_requests[0].call_id, "grep", "not JSON", failed=True)
    assert (await hear(dialect.model(), turn(QUESTION, first, result))).text


@BOTH
async def test_usage_is_what_the_provider_counted(dialect: Dialect) -> None:
    dialect.server.script(Reply(Say("Yes."), usage=Tokens(900, 40, reasoning=30, cached=500)))
    usage = (await hear(dialect.model(), turn())).end.usage
    assert (usage.input_tokens, usage.output_tokens, usage.total_tokens) == (900, 40, 940)
    assert not usage.estimated


@BOTH
async def test_an_answer_at_the_output_limit_says_so(dialect: Dialect) -> None:
    reason = "length" if dialect.name == "openai" else "max_tokens"
    dialect.server.script(Reply(Say("It begins"), finish=reason))
    assert (await hear(dialect.model(), turn())).end.cut_short


@BOTH
async def test_tools_can_be_forbidden_and_a_notice_given(dialect: Dialect) -> None:
    dialect.server.script(Reply(Say("Done.")))
    await hear(dialect.model(), turn(tools_allowed=False, notice="Answer now."))
    body = dialect.server.requests[0].body
    choice = body["tool_choice"]
    assert choice in ("none", {"type": "none"})
    assert "Answer now." in json.dumps(body["messages"][-1])


@BOTH
async def test_effort_asks_for_reasoning(dialect: Dialect) -> None:
    dialect.server.script(Reply(Say("Done.")))
    await hear(dialect.model(effort="medium"), turn())
    body = dialect.server.requests[0].body
    assert body.get("reasoning_effort") == "medium" or body["thinking"]["budget_tokens"] > 0


@BOTH
async def test_history_goes_back_as_it_was(dialect: Dialect) -> None:
    dialect.server.script(Reply(Say("In the tests.")))
    await hear(
        dialect.model(),
        turn(UserMessage("Where?"), AssistantMessage("Here."), UserMessage("And tested?")),
    )
    roles = [message["role"] for message in dialect.server.requests[0].messages]
    assert [role for role in roles if role != "system"] == ["user", "assistant", "user"]


@ERRORS
@pytest.mark.parametrize(
    ("refusal", "tag", "retry_after"),
    [
        (Refusal(401, "Incorrect API key provided"), "ModelUnauthorized", None),
        (Refusal(429, "Slow down", retry_after=7), "ModelRateLimited", 7.0),
        (Refusal(429, "Slow down"), "ModelRateLimited", 0.0),
        (Refusal(500, "Internal error"), "ModelFailed", 0.0),
        (Refusal(529, "Overloaded"), "ModelFailed", 0.0),
        (Refusal(404, "No such model"), "ModelFailed", None),
        (Refusal(400, "Too many tokens"), "ModelFailed", None),
    ],
)
async def test_refusals_say_what_to_do(
    dialect: Dialect, refusal: Refusal, tag: str, retry_after: float | None
) -> None:
    dialect.server.script(refusal)
    with pytest.raises(ModelError) as caught:
        await hear(dialect.model(), turn())
    assert caught.value.tag == tag
    assert caught.value.retry_after == retry_after
    assert refusal.message in caught.value.message
    assert caught.value.hint


@ERRORS
async def test_a_wrong_key_is_refused(dialect: Dialect) -> None:
    with pytest.raises(ModelError) as caught:
        await hear(dialect.model(key="sk-wrong"), turn())
    assert caught.value.tag == "ModelUnauthorized"


@ERRORS
async def test_a_cut_connection_keeps_what_was_said(dialect: Dialect) -> None:
    dialect.server.script(Reply(Say("It begins well"), Cut()))
    heard = Heard()
    with pytest.raises(ModelError) as caught:
        await hear(dialect.model(), turn(), heard)
    assert caught.value.tag == "UpstreamCut"
    assert "It begins well".startswith("".join(heard.text))
    assert not heard.ends


@ERRORS
async def test_an_error_inside_the_stream_is_an_error(dialect: Dialect) -> None:
    dialect.server.script(Reply(Say("It begins"), StreamError("Overloaded just now")))
    with pytest.raises(ModelError, match="Overloaded just now") as caught:
        await hear(dialect.model(), turn())
    assert caught.value.retry_after == 0


@ERRORS
async def test_nobody_at_the_address(dialect: Dialect) -> None:
    with pytest.raises(ModelError) as caught:
        await hear(dialect.nowhere(), turn())
    assert caught.value.tag == "ModelUnreachable"


async def test_leaving_in_the_middle_closes_the_connection(dialect: Dialect) -> None:
    dialect.server.script(Reply(Say("It begins", piece=9), Wait(threading.Event())))
    with anyio.fail_after(20):
        async with aclosing(dialect.model().answer(turn())) as parts:
            async for part in parts:
                assert isinstance(part, TextPart)
                break
        await anyio.to_thread.run_sync(dialect.server.wait_for_clients_gone)
