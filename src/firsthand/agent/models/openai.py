"""The OpenAI dialect: chat completions, as OpenAI's API reference describes them.

Many providers speak it with small differences, which are met here: reasoning comes as
`reasoning_content` or `reasoning`, tool calls may lack an index or an id, usage may be absent.
"""

from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Final, cast

import msgspec

from firsthand.agent.models.endpoint import ModelEndpoint
from firsthand.agent.models.port import (
    AssistantMessage,
    ModelError,
    ModelMessage,
    ModelPart,
    ModelTurn,
    ReasoningPart,
    TextPart,
    ToolRequest,
    TurnEnded,
    UserMessage,
)
from firsthand.agent.models.streaming import decoded, lost, stream_events, understood
from firsthand.protocol.events import Usage

_CHARS_A_TOKEN: Final = 4
_MAX_CALLS: Final = 128


@dataclass(slots=True)
class _Call:
    call_id: str = ""
    name: str = ""
    arguments: list[str] = field(default_factory=list[str])


@dataclass(slots=True)
class _Heard:
    """What has come of a turn so far."""

    text: list[str] = field(default_factory=list[str])
    reasoning_chars: int = 0
    calls: dict[int, _Call] = field(default_factory=dict[int, _Call])
    usage: Usage | None = None
    finish: str | None = None


class OpenAI:
    """A model behind an OpenAI-compatible interface."""

    def __init__(self, endpoint: ModelEndpoint, model: str, effort: str | None = None) -> None:
        self._endpoint = endpoint
        self._model = model
        self._effort = effort

    async def answer(self, turn: ModelTurn) -> AsyncGenerator[ModelPart, None]:
        """Stream one turn. Raises `ModelError`."""
        url = self._endpoint.url("/chat/completions", versioned=True)
        key = self._endpoint.api_key
        headers = {"authorization": f"Bearer {key}"} if key else {}
        body = self._body(turn)
        heard = _Heard()
        ended = False
        async with aclosing(stream_events(self._endpoint, url, headers, body)) as events:
            async for event in events:
                if event.data.strip() == "[DONE]":
                    ended = True
                    break
                with understood():
                    parts = list(_hear(heard, decoded(event.data)))
                for part in parts:
                    yield part
        # Some servers leave `[DONE]` out; a finish reason is a proper end as well.
        if not ended and heard.finish is None:
            raise lost(self._endpoint, began=True, reason="the answer has no end")
        yield _ended(heard, turn)

    def _body(self, turn: ModelTurn) -> dict[str, Any]:
        messages = [{"role": "system", "content": turn.system}]
        messages.extend(_message(message) for message in turn.messages)
        if turn.notice:
            messages.append({"role": "user", "content": turn.notice})
        body: dict[str, Any] = {
            "model": self._model,
            "messages": messages,
            "stream": True,
            "stream_options": {"include_usage": True},
            self._limit_name(): turn.max_output_tokens,
        }
        if turn.tools:
            body["tools"] = [
                {
                    "type": "function",
                    "function": {
                        "name": tool.name,
                        "description": tool.description,
                        "parameters": tool.parameters,
                    },
                }
                for tool in turn.tools
            ]
            body["tool_choice"] = "auto" if turn.tools_allowed else "none"
        if self._effort:
            body["reasoning_effort"] = self._effort
        return body

    def _limit_name(self) -> str:
        # OpenAI's reasoning models refuse the old name, most compatible servers the new one.
        name = self._model.rpartition("/")[2]
        new = name.startswith(("gpt-5", "gpt-6", "o1", "o3", "o4"))
        return "max_completion_tokens" if new else "max_tokens"


def _message(message: ModelMessage) -> dict[str, Any]:
    if isinstance(message, UserMessage):
        return {"role": "user", "content": message.text}
    if isinstance(message, AssistantMessage):
        body: dict[str, Any] = {"role": "assistant", "content": message.text or None}
        if message.tool_requests:
            body["tool_calls"] = [
                {
                    "id": request.call_id,
                    "type": "function",
                    # Servers that parse the arguments refuse a conversation with broken ones.
                    "function": {"name": request.name, "arguments": _sound(request.arguments)},
                }
                for request in message.tool_requests
            ]
        for extra in message.opaque:
            body |= extra
        return body
    return {"role": "tool", "tool_call_id": message.call_id, "content": message.text}


def _sound(arguments: str) -> str:
    try:
        msgspec.json.decode(arguments, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError):
        return "{}"
    return arguments


def _hear(heard: _Heard, chunk: Mapping[str, Any]) -> Iterator[ModelPart]:
    usage = chunk.get("usage")
    if isinstance(usage, dict):
        heard.usage = _usage(cast("dict[str, Any]", usage))
    choices = cast("list[dict[str, Any]]", chunk.get("choices") or [])
    if not choices:
        return
    choice = choices[0]
    delta = cast("dict[str, Any]", choice.get("delta") or {})
    reasoning = delta.get("reasoning_content") or delta.get("reasoning")
    if isinstance(reasoning, str) and reasoning:
        heard.reasoning_chars += len(reasoning)
        yield ReasoningPart(reasoning)
    text = delta.get("content") or delta.get("refusal")
    if isinstance(text, str) and text:
        heard.text.append(text)
        yield TextPart(text)
    for call in cast("list[dict[str, Any]]", delta.get("tool_calls") or []):
        _hear_call(heard, call)
    heard.finish = choice.get("finish_reason") or heard.finish


def _hear_call(heard: _Heard, delta: Mapping[str, Any]) -> None:
    index = delta.get("index")
    call_id = str(delta.get("id") or "")
    if not isinstance(index, int):
        # Without an index, a new id begins a new call, and the rest belongs to the last one.
        last = max(heard.calls, default=-1)
        new = last < 0 or (call_id and call_id != heard.calls[last].call_id)
        index = last + 1 if new else last
    if index not in heard.calls and len(heard.calls) >= _MAX_CALLS:
        raise ModelError(f"The model asked for more than {_MAX_CALLS} tools at once.")
    call = heard.calls.setdefault(index, _Call())
    call.call_id = call.call_id or call_id
    function = cast("dict[str, Any]", delta.get("function") or {})
    call.name = call.name or str(function.get("name") or "")
    arguments = function.get("arguments")
    if isinstance(arguments, dict):
        # Some local servers send the arguments as an object.
        arguments = msgspec.json.encode(arguments).decode()
    call.arguments.append(str(arguments or ""))


def _ended(heard: _Heard, turn: ModelTurn) -> TurnEnded:
    calls = [heard.calls[index] for index in sorted(heard.calls)]
    requests = tuple(
        ToolRequest(call.call_id or f"call_{number}", call.name, "".join(call.arguments))
        for number, call in enumerate(calls)
        if call.name
    )
    message = AssistantMessage("".join(heard.text), requests)
    usage = heard.usage or _estimate(heard, turn)
    return TurnEnded(message, usage, cut_short=heard.finish == "length")


def _usage(usage: Mapping[str, Any]) -> Usage:
    details = cast("dict[str, Any]", usage.get("completion_tokens_details") or {})
    given = _count(usage.get("prompt_tokens"))
    made = _count(usage.get("completion_tokens"))
    return Usage(
        input_tokens=given,
        output_tokens=made,
        reasoning_tokens=_count(details.get("reasoning_tokens")),
        total_tokens=_count(usage.get("total_tokens")) or given + made,
    )


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _estimate(heard: _Heard, turn: ModelTurn) -> Usage:
    """Guess the tokens from the characters, for providers that count none."""
    said = sum(map(len, heard.text)) + heard.reasoning_chars
    said += sum(len(piece) for call in heard.calls.values() for piece in call.arguments)
    given = len(turn.system) + sum(len(message.text) for message in turn.messages)
    into, out = given // _CHARS_A_TOKEN, said // _CHARS_A_TOKEN
    return Usage(
        input_tokens=into,
        output_tokens=out,
        reasoning_tokens=heard.reasoning_chars // _CHARS_A_TOKEN,
        total_tokens=into + out,
        estimated=True,
    )
