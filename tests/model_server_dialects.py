"""What `tests/model_server.py` plays, and how each provider's interface puts it on the wire.

The stream shapes are those of OpenAI's chat completions and of Anthropic's messages, as their
public references describe them. The complaints are the refusals both give to a conversation in
which tool calls and tool results do not match, or signed reasoning was altered.
"""

import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, cast


@dataclass(frozen=True)
class Say:
    """Text, streamed in pieces of so many characters."""

    text: str
    piece: int = 8


@dataclass(frozen=True)
class Think:
    """Reasoning. `name` is the field an OpenAI-compatible server puts it in."""

    text: str
    piece: int = 8
    name: str = "reasoning_content"


@dataclass(frozen=True)
class Call:
    """A tool call; `arguments` as text is sent as it is, broken or not."""

    tool: str
    arguments: dict[str, Any] | str = field(default_factory=dict[str, Any])
    call_id: str | None = None

    @property
    def json(self) -> str:
        return self.arguments if isinstance(self.arguments, str) else json.dumps(self.arguments)


@dataclass(frozen=True)
class Wait:
    """The stream stands still until the test sets the event."""

    gate: threading.Event


@dataclass(frozen=True)
class Cut:
    """The connection is reset here."""


@dataclass(frozen=True)
class StreamError:
    """An error inside a stream that began well, after which the stream ends."""

    message: str
    kind: str = "overloaded_error"


Step = Say | Think | Call | Wait | Cut | StreamError


@dataclass(frozen=True)
class Tokens:
    """What the provider says it counted."""

    input: int = 100
    output: int = 20
    reasoning: int = 0
    cached: int = 0


@dataclass(frozen=True, init=False)
class Reply:
    """A streamed answer. `usage=None` leaves the counts out; `finish` overrides the reason.

    `interleave` mixes the argument pieces of several calls, as some providers do.
    """

    steps: tuple[Step, ...]
    usage: Tokens | None
    finish: str | None
    interleave: bool

    def __init__(
        self,
        *steps: Step,
        usage: Tokens | None = Tokens(),
        finish: str | None = None,
        interleave: bool = False,
    ) -> None:
        object.__setattr__(self, "steps", steps)
        object.__setattr__(self, "usage", usage)
        object.__setattr__(self, "finish", finish)
        object.__setattr__(self, "interleave", interleave)

    @property
    def calls(self) -> list[Call]:
        return [step for step in self.steps if isinstance(step, Call)]

    def text(self, kind: type[Say | Think]) -> str:
        return "".join(step.text for step in self.steps if isinstance(step, kind))


def _pieces(text: str, size: int) -> Iterator[str]:
    for start in range(0, len(text), size):
        yield text[start : start + size]


def _id(prefix: str, *parts: object) -> str:
    return prefix + hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def signature_of(thinking: str) -> str:
    """The signature under which the server accepts this reasoning back."""
    return _id("sig-", thinking)


class OpenAIStream:
    """A reply as `chat.completion.chunk` objects."""

    def __init__(self, body: dict[str, Any], reply: Reply) -> None:
        self._body = body
        self._reply = reply
        self._id = _id("chatcmpl-", len(json.dumps(body)))
        self._numbers = {id(call): number for number, call in enumerate(reply.calls)}

    def _call_id(self, call: Call) -> str:
        turn = len(cast("list[object]", self._body.get("messages", [])))
        return call.call_id or f"call_{turn}_{self._numbers[id(call)]}"

    def _finish(self) -> str:
        return self._reply.finish or ("tool_calls" if self._reply.calls else "stop")

    def _usage(self) -> dict[str, Any] | None:
        tokens = self._reply.usage
        if tokens is None:
            return None
        return {
            "prompt_tokens": tokens.input,
            "completion_tokens": tokens.output,
            "total_tokens": tokens.input + tokens.output,
            "prompt_tokens_details": {"cached_tokens": tokens.cached, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": tokens.reasoning},
        }

    def whole(self) -> dict[str, Any]:
        """The answer to a request without `stream`."""
        message: dict[str, Any] = {"role": "assistant", "content": self._reply.text(Say) or None}
        if self._reply.calls:
            message["tool_calls"] = [
                {
                    "id": self._call_id(call),
                    "type": "function",
                    "function": {"name": call.tool, "arguments": call.json},
                }
                for call in self._reply.calls
            ]
        choice = {"index": 0, "message": message, "finish_reason": self._finish()}
        return {
            "id": self._id,
            "object": "chat.completion",
            "created": 1_750_000_000,
            "model": self._body.get("model"),
            "choices": [choice],
            "usage": self._usage(),
        }

    def _chunk(self, choices: list[dict[str, Any]], usage: dict[str, Any] | None = None) -> bytes:
        chunk = {
            "id": self._id,
            "object": "chat.completion.chunk",
            "created": 1_750_000_000,
            "model": self._body.get("model"),
            "choices": choices,
            "usage": usage,
        }
        return b"data: " + json.dumps(chunk).encode() + b"\n\n"

    def _delta(self, delta: dict[str, Any], finish: str | None = None) -> bytes:
        return self._chunk([{"index": 0, "delta": delta, "finish_reason": finish}])

    def parts(self) -> Iterator[bytes | Wait | Cut]:
        """The stream: bytes to send, and where to stand still or break off."""
        yield self._delta({"role": "assistant", "content": ""})
        for step in self._reply.steps:
            if isinstance(step, Wait | Cut):
                yield step
            elif isinstance(step, Say):
                yield from (
                    self._delta({"content": text}) for text in _pieces(step.text, step.piece)
                )
            elif isinstance(step, Think):
                for text in _pieces(step.text, step.piece):
                    yield self._delta({step.name: text})
            elif isinstance(step, StreamError):
                error = {"message": step.message, "type": step.kind}
                yield b"data: " + json.dumps({"error": error}).encode() + b"\n\n"
                return
            elif not self._reply.interleave:
                yield from self._call(step)
        if self._reply.interleave:
            yield from self._interleaved()
        yield self._delta({}, self._finish())
        options = cast("dict[str, Any]", self._body.get("stream_options") or {})
        if options.get("include_usage") and self._reply.usage is not None:
            yield self._chunk([], self._usage())
        yield b"data: [DONE]\n\n"

    def _call(self, call: Call) -> Iterator[bytes]:
        index = self._numbers[id(call)]
        head = {"name": call.tool, "arguments": ""}
        first = {"index": index, "id": self._call_id(call), "type": "function", "function": head}
        yield self._delta({"tool_calls": [first]})
        for piece in _pieces(call.json, 7):
            yield self._delta({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})

    def _interleaved(self) -> Iterator[bytes]:
        streams = [self._call(call) for call in self._reply.calls]
        while streams:
            for stream in list(streams):
                piece = next(stream, None)
                if piece is None:
                    streams.remove(stream)
                else:
                    yield piece


class AnthropicStream:
    """A reply as the events of a streamed message."""

    def __init__(self, body: dict[str, Any], reply: Reply) -> None:
        self._body = body
        self._reply = reply
        self._numbers = {id(call): number for number, call in enumerate(reply.calls)}

    def _block(self, step: Say | Think | Call) -> dict[str, Any]:
        if isinstance(step, Say):
            return {"type": "text", "text": step.text}
        if isinstance(step, Think):
            signature = signature_of(step.text)
            return {"type": "thinking", "thinking": step.text, "signature": signature}
        turn = len(cast("list[object]", self._body.get("messages", [])))
        call_id = step.call_id or f"toolu_{turn}_{self._numbers[id(step)]}"
        given = cast("dict[str, Any]", json.loads(step.json))
        return {"type": "tool_use", "id": call_id, "name": step.tool, "input": given}

    def _message(self, content: list[dict[str, Any]], *, stop: str | None) -> dict[str, Any]:
        tokens = self._reply.usage or Tokens(0, 0)
        return {
            "id": _id("msg_", len(json.dumps(self._body))),
            "type": "message",
            "role": "assistant",
            "model": self._body.get("model"),
            "content": content,
            "stop_reason": stop,
            "stop_sequence": None,
            "usage": {
                "input_tokens": tokens.input - tokens.cached,
                "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": tokens.cached,
                "output_tokens": tokens.output if stop else 1,
            },
        }

    def _stop(self) -> str:
        return self._reply.finish or ("tool_use" if self._reply.calls else "end_turn")

    def whole(self) -> dict[str, Any]:
        """The answer to a request without `stream`."""
        blocks = [self._block(s) for s in self._reply.steps if isinstance(s, Say | Think | Call)]
        return self._message(blocks, stop=self._stop())

    @staticmethod
    def _event(kind: str, **rest: object) -> bytes:
        data = json.dumps({"type": kind, **rest})
        return f"event: {kind}\ndata: {data}\n\n".encode()

    def parts(self) -> Iterator[bytes | Wait | Cut]:
        """The stream: bytes to send, and where to stand still or break off."""
        yield self._event("message_start", message=self._message([], stop=None))
        yield self._event("ping")
        index = 0
        for step in self._reply.steps:
            if isinstance(step, Wait | Cut):
                yield step
            elif isinstance(step, StreamError):
                yield self._event("error", error={"type": step.kind, "message": step.message})
                return
            else:
                yield from self._block_events(index, step)
                index += 1
        tokens = self._reply.usage or Tokens(0, 0)
        delta = {"stop_reason": self._stop(), "stop_sequence": None}
        yield self._event("message_delta", delta=delta, usage={"output_tokens": tokens.output})
        yield self._event("message_stop")

    def _block_events(self, index: int, step: Say | Think | Call) -> Iterator[bytes | Wait | Cut]:
        block = self._block(step) if not isinstance(step, Call) else self._empty_call(step)
        started = dict(block)
        deltas: list[dict[str, Any]] = []
        if isinstance(step, Say):
            started["text"] = ""
            deltas = [{"type": "text_delta", "text": t} for t in _pieces(step.text, step.piece)]
        elif isinstance(step, Think):
            started.update(thinking="", signature="")
            pieces = _pieces(step.text, step.piece)
            deltas = [{"type": "thinking_delta", "thinking": text} for text in pieces]
            deltas.append({"type": "signature_delta", "signature": block["signature"]})
        else:
            pieces = ("", *_pieces(step.json, 7))
            deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
        yield self._event("content_block_start", index=index, content_block=started)
        for delta in deltas:
            yield self._event("content_block_delta", index=index, delta=delta)
        yield self._event("content_block_stop", index=index)

    def _empty_call(self, call: Call) -> dict[str, Any]:
        # Arguments may be broken JSON on purpose, so they are not parsed for the stream.
        return self._block(Call(call.tool, {}, call.call_id or self._call_id(call)))

    def _call_id(self, call: Call) -> str:
        turn = len(cast("list[object]", self._body.get("messages", [])))
        return f"toolu_{turn}_{self._numbers[id(call)]}"


def openai_complaint(body: dict[str, Any]) -> str | None:
    """Why OpenAI would refuse this body with 400, or `None`."""
    messages = cast("list[dict[str, Any]]", body.get("messages") or [])
    if not body.get("model") or not messages:
        return "you must provide a model and messages"
    open_calls: set[str] = set()
    for message in messages:
        if message.get("role") == "tool":
            if message.get("tool_call_id") not in open_calls:
                return "messages with role 'tool' must be a response to a preceding 'tool_calls'"
            open_calls.discard(str(message["tool_call_id"]))
            continue
        if open_calls:
            return "an assistant message with 'tool_calls' must be followed by tool messages"
        calls = cast("list[dict[str, Any]]", message.get("tool_calls") or [])
        open_calls = {str(call["id"]) for call in calls}
    return "tool calls without results at the end" if open_calls else None


def anthropic_complaint(body: dict[str, Any], headers: dict[str, str]) -> str | None:
    """Why Anthropic would refuse this body with 400, or `None`."""
    messages = cast("list[dict[str, Any]]", body.get("messages") or [])
    if "anthropic-version" not in headers:
        return "anthropic-version: header is required"
    if not body.get("model") or not messages or not body.get("max_tokens"):
        return "model, messages and max_tokens are required"
    if messages[0].get("role") != "user":
        return "messages: first message must use the user role"
    open_calls: set[str] = set()
    for message in messages:
        content = cast("str | list[dict[str, Any]]", message.get("content"))
        blocks = [] if isinstance(content, str) else content
        results = {str(b["tool_use_id"]) for b in blocks if b["type"] == "tool_result"}
        if results != open_calls:
            return "`tool_use` ids must be followed by `tool_result` blocks, and only by those"
        open_calls = {str(b["id"]) for b in blocks if b["type"] == "tool_use"}
        for block in blocks:
            if block["type"] == "thinking" and block["signature"] != signature_of(
                block["thinking"]
            ):
                return "invalid `signature` in `thinking` block"
            if block["type"] == "text" and not block["text"]:
                return "text content blocks must be non-empty"
    return None
