"""The Anthropic dialect: messages, as Anthropic's API reference describes them.

Reasoning blocks are signed by the provider; they go back unchanged and in their order, as the
reference demands while tools are being used.
"""

from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
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
    ToolResult,
    TurnEnded,
    UserMessage,
)
from firsthand.agent.models.streaming import decoded, lost, stream_events, understood
from firsthand.protocol.events import Usage

_VERSION: Final = "2023-06-01"
_THINKING: Final = frozenset({"thinking", "redacted_thinking"})
_MAX_BLOCKS: Final = 128
_THINKING_TOKENS: Final = {"low": 2_048, "medium": 8_192, "high": 24_576}


@dataclass(slots=True)
class _Heard:
    """What has come of a turn so far: content blocks by their index, counts, the reason."""

    blocks: dict[int, dict[str, Any]] = field(default_factory=dict[int, dict[str, Any]])
    arguments: dict[int, list[str]] = field(default_factory=dict[int, list[str]])
    input_tokens: int = 0
    output_tokens: int = 0
    stop: str | None = None
    ended: bool = False


class Anthropic:
    """A model behind an Anthropic-compatible interface."""

    def __init__(self, endpoint: ModelEndpoint, model: str, effort: str | None = None) -> None:
        self._endpoint = endpoint
        self._model = model
        self._thinking = _THINKING_TOKENS.get(effort or "")

    async def answer(self, turn: ModelTurn) -> AsyncGenerator[ModelPart, None]:
        """Stream one turn. Raises `ModelError`."""
        url = self._endpoint.url("/messages", versioned=False)
        heard = _Heard()
        stream = stream_events(self._endpoint, url, self._headers(), self._body(turn))
        async with aclosing(stream) as events:
            async for event in events:
                with understood():
                    parts = list(_hear(heard, decoded(event.data)))
                for part in parts:
                    yield part
                if heard.ended:
                    break
        if not heard.ended:
            raise lost(self._endpoint, began=True, reason="the answer has no end")
        with understood():
            end = _ended(heard)
        yield end

    def _headers(self) -> dict[str, str]:
        headers = {"anthropic-version": _VERSION}
        key = self._endpoint.api_key
        if key and self._endpoint.gateway:
            headers["authorization"] = f"Bearer {key}"
        elif key:
            headers["x-api-key"] = key
        return headers

    def _body(self, turn: ModelTurn) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self._model,
            "max_tokens": turn.max_output_tokens,
            # What stays the same from turn to turn is read from the provider's cache.
            "system": [_cached({"type": "text", "text": turn.system})],
            "messages": _messages(turn),
            "stream": True,
        }
        if turn.tools:
            body["tools"] = [
                {
                    "name": tool.name,
                    "description": tool.description,
                    "input_schema": tool.parameters,
                }
                for tool in turn.tools
            ]
            body["tool_choice"] = {"type": "auto" if turn.tools_allowed else "none"}
        if self._thinking:
            body["thinking"] = {"type": "enabled", "budget_tokens": self._thinking}
            body["max_tokens"] = turn.max_output_tokens + self._thinking
        return body


def _cached(block: dict[str, Any]) -> dict[str, Any]:
    return {**block, "cache_control": {"type": "ephemeral"}}


def _messages(turn: ModelTurn) -> list[dict[str, Any]]:
    """Return the conversation; what comes from the user's side in a row is one message."""
    said: Sequence[ModelMessage] = [
        *turn.messages,
        *([UserMessage(turn.notice)] if turn.notice else []),
    ]
    messages: list[dict[str, Any]] = []
    for message in said:
        role = "assistant" if isinstance(message, AssistantMessage) else "user"
        blocks = list(_blocks(message))
        if messages and messages[-1]["role"] == role:
            messages[-1]["content"].extend(blocks)
        else:
            messages.append({"role": role, "content": blocks})
    if messages and messages[-1]["role"] == "user":
        content = messages[-1]["content"]
        content[-1] = _cached(content[-1])
    return messages


def _blocks(message: ModelMessage) -> Iterator[dict[str, Any]]:
    if isinstance(message, UserMessage):
        yield {"type": "text", "text": message.text}
    elif isinstance(message, ToolResult):
        yield {
            "type": "tool_result",
            "tool_use_id": message.call_id,
            "content": message.text or "(nothing)",
            "is_error": message.failed,
        }
    else:
        yield from message.opaque
        if message.text.strip():
            yield {"type": "text", "text": message.text.rstrip()}
        for request in message.tool_requests:
            yield {
                "type": "tool_use",
                "id": request.call_id,
                "name": request.name,
                "input": _input(request.arguments),
            }


def _input(arguments: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(arguments or "{}", type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError):
        # The interface wants an object here; the tool's result says what was wrong.
        return {}


def _hear(heard: _Heard, event: Mapping[str, Any]) -> Iterator[ModelPart]:
    kind = event.get("type")
    if kind == "message_start":
        message = cast("dict[str, Any]", event.get("message") or {})
        _hear_usage(heard, message)
    elif kind == "content_block_start":
        block = cast("dict[str, Any]", event.get("content_block") or {})
        if len(heard.blocks) >= _MAX_BLOCKS:
            raise ModelError(f"The model sent more than {_MAX_BLOCKS} blocks in one turn.")
        heard.blocks[_index(event)] = dict(block)
        if isinstance(block.get("text"), str) and block["text"]:
            yield TextPart(block["text"])
    elif kind == "content_block_delta":
        yield from _hear_delta(heard, _index(event), cast("dict[str, Any]", event.get("delta")))
    elif kind == "message_delta":
        delta = cast("dict[str, Any]", event.get("delta") or {})
        heard.stop = delta.get("stop_reason") or heard.stop
        _hear_usage(heard, event)
    elif kind == "message_stop":
        heard.ended = True


def _index(event: Mapping[str, Any]) -> int:
    index = event.get("index")
    if not isinstance(index, int):
        raise ModelError("The model sent a block without an index.", hint="Ask again.")
    return index


def _hear_usage(heard: _Heard, holder: Mapping[str, Any]) -> None:
    usage = cast("dict[str, Any]", holder.get("usage") or {})
    names = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
    given = sum(int(usage.get(name) or 0) for name in names)
    # `message_delta` repeats cumulative counts and may leave the input out.
    heard.input_tokens = max(heard.input_tokens, given)
    heard.output_tokens = max(heard.output_tokens, int(usage.get("output_tokens") or 0))


def _hear_delta(heard: _Heard, index: int, delta: Mapping[str, Any]) -> Iterator[ModelPart]:
    block = heard.blocks.setdefault(index, {"type": "text", "text": ""})
    kind = delta.get("type")
    if kind == "text_delta":
        block["text"] = str(block.get("text") or "") + delta["text"]
        yield TextPart(delta["text"])
    elif kind == "thinking_delta":
        block["thinking"] = str(block.get("thinking") or "") + delta["thinking"]
        yield ReasoningPart(delta["thinking"])
    elif kind == "signature_delta":
        block["signature"] = str(block.get("signature") or "") + delta["signature"]
    elif kind == "input_json_delta":
        heard.arguments.setdefault(index, []).append(str(delta.get("partial_json") or ""))


def _ended(heard: _Heard) -> TurnEnded:
    blocks = [(index, heard.blocks[index]) for index in sorted(heard.blocks)]
    requests = tuple(
        ToolRequest(str(block["id"]), str(block["name"]), _arguments(heard, index, block))
        for index, block in blocks
        if block.get("type") == "tool_use"
    )
    message = AssistantMessage(
        text="".join(block["text"] for _, block in blocks if block.get("type") == "text"),
        tool_requests=requests,
        opaque=tuple(block for _, block in blocks if block.get("type") in _THINKING),
    )
    usage = Usage(
        input_tokens=heard.input_tokens,
        output_tokens=heard.output_tokens,
        total_tokens=heard.input_tokens + heard.output_tokens,
    )
    return TurnEnded(message, usage, cut_short=heard.stop == "max_tokens")


def _arguments(heard: _Heard, index: int, block: Mapping[str, Any]) -> str:
    streamed = "".join(heard.arguments.get(index, []))
    return streamed or msgspec.json.encode(block.get("input") or {}).decode()
