"""What differs between the dialects for a pass-through: address, headers, request, usage.

OpenAI: chat completions, usage in the last chunk when `stream_options.include_usage` is set.
Anthropic: messages, input tokens in `message_start`, output tokens in `message_delta`
(cumulative). Both as their public API references describe them.
"""

from dataclasses import dataclass
from typing import Any, Protocol, cast

from msgspec import Raw

from firsthand.hub.model_gateway.provider import ModelProvider
from firsthand.protocol.questions import Dialect


@dataclass(slots=True)
class TokenCount:
    """Tokens of one model call as the provider counted them."""

    input_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    cached_tokens: int = 0
    seen: bool = False


def _int(source: dict[str, Any], *path: str) -> int:
    value: Any = source
    for name in path:
        if not isinstance(value, dict):
            return 0
        value = cast("dict[str, Any]", value).get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else 0


class GatewayDialect(Protocol):
    """One dialect as the gateway needs it."""

    route: str

    def url(self, provider: ModelProvider) -> str:
        """Return the address to which the request goes."""
        ...

    def headers(self, provider: ModelProvider) -> dict[str, str]:
        """Return the headers that carry the real key."""
        ...

    def prepare(self, body: dict[str, Raw], provider: ModelProvider) -> dict[str, Any]:
        """Return the request as it is sent on: the run's model, counts asked for."""
        ...

    def count(self, message: dict[str, Any], tokens: TokenCount) -> None:
        """Take the usage from a streamed event or from a whole answer."""
        ...

    def is_end(self, data: str, message: dict[str, Any] | None) -> bool:
        """Tell whether this event properly ends the stream."""
        ...


class OpenAI:
    """Chat completions."""

    route = "/v1/chat/completions"

    def url(self, provider: ModelProvider) -> str:
        """Return the address to which the request goes."""
        return provider.base_url.rstrip("/") + "/chat/completions"

    def headers(self, provider: ModelProvider) -> dict[str, str]:
        """Return the headers that carry the real key."""
        return {"Authorization": f"Bearer {provider.api_key}"} if provider.api_key else {}

    def prepare(self, body: dict[str, Raw], provider: ModelProvider) -> dict[str, Any]:
        """Return the request as it is sent on: the run's model, counts asked for."""
        prepared: dict[str, Any] = {**body, "model": provider.model}
        if bytes(body.get("stream", Raw(b"null"))) not in {b"null", b"false"}:
            prepared["stream_options"] = {"include_usage": True}
        return prepared

    def count(self, message: dict[str, Any], tokens: TokenCount) -> None:
        """Take the usage from a streamed event or from a whole answer."""
        raw = message.get("usage")
        if not isinstance(raw, dict):
            return
        usage = cast("dict[str, Any]", raw)
        tokens.input_tokens = _int(usage, "prompt_tokens")
        tokens.output_tokens = _int(usage, "completion_tokens")
        tokens.reasoning_tokens = _int(usage, "completion_tokens_details", "reasoning_tokens")
        tokens.cached_tokens = _int(usage, "prompt_tokens_details", "cached_tokens")
        tokens.seen = True

    def is_end(self, data: str, message: dict[str, Any] | None) -> bool:  # noqa: ARG002
        """Tell whether this event properly ends the stream."""
        return data.strip() == "[DONE]"


class Anthropic:
    """Messages."""

    route = "/v1/messages"

    def url(self, provider: ModelProvider) -> str:
        """Return the address to which the request goes."""
        return provider.base_url.rstrip("/").removesuffix("/v1") + "/v1/messages"

    def headers(self, provider: ModelProvider) -> dict[str, str]:
        """Return the headers that carry the real key."""
        headers = {"anthropic-version": "2023-06-01"}
        if provider.api_key:
            headers["x-api-key"] = provider.api_key
        return headers

    def prepare(self, body: dict[str, Raw], provider: ModelProvider) -> dict[str, Any]:
        """Return the request as it is sent on: the run's model."""
        return {**body, "model": provider.model}

    def count(self, message: dict[str, Any], tokens: TokenCount) -> None:
        """Take the usage from a streamed event or from a whole answer."""
        holder = message.get("message") if message.get("type") == "message_start" else message
        if not isinstance(holder, dict):
            return
        raw = cast("dict[str, Any]", holder).get("usage")
        if not isinstance(raw, dict):
            return
        usage = cast("dict[str, Any]", raw)
        cached = _int(usage, "cache_read_input_tokens")
        # `input_tokens` leaves out what was read from or written to the cache.
        fresh = _int(usage, "input_tokens") + _int(usage, "cache_creation_input_tokens")
        # `message_delta` repeats cumulative counts and may leave the input out.
        tokens.input_tokens = max(tokens.input_tokens, fresh + cached)
        tokens.cached_tokens = max(tokens.cached_tokens, cached)
        tokens.output_tokens = max(tokens.output_tokens, _int(usage, "output_tokens"))
        tokens.seen = True

    def is_end(self, data: str, message: dict[str, Any] | None) -> bool:  # noqa: ARG002
        """Tell whether this event properly ends the stream."""
        return message is not None and message.get("type") == "message_stop"


DIALECTS: dict[Dialect, GatewayDialect] = {
    Dialect.OPENAI: OpenAI(),
    Dialect.ANTHROPIC: Anthropic(),
}
