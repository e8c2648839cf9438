"""What the dialects share: sending a turn, reading its event stream, saying what went wrong."""

import re
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import aclosing, contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final, cast

import msgspec

from firsthand.agent.models.endpoint import Answer, Broken, ModelEndpoint, post, read_whole
from firsthand.agent.models.port import GatewayLost, ModelError
from firsthand.protocol.sse import ServerSentEvent, StreamTooLong, read_events

_TEXT_CHARS: Final = 600
# A thousand characters of stream for each token that any turn may have.
_TURN_CHARS: Final = 32 * 1024 * 1024
# What a provider says when it is overloaded or ill, and a further attempt makes sense.
_PASSING: Final = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
# The hub answers 409 where its configuration has no such model: that will not pass.
_GATEWAY_PASSING: Final = _PASSING - {409}
_MODEL: Final = "FIRSTHAND_MODEL"


async def stream_events(
    endpoint: ModelEndpoint, url: str, headers: Mapping[str, str], body: Mapping[str, Any]
) -> AsyncGenerator[ServerSentEvent, None]:
    """Send a turn and yield the events of its answer. Raises `ModelError`.

    It ends where the stream ends; whether that was a proper end is for the dialect to say.
    """
    given = {"content-type": "application/json", "accept": "text/event-stream", **headers}
    began, heard = False, 0
    try:
        async with post(endpoint, url, given, msgspec.json.encode(body)) as answer:
            if answer.status != 200:
                raise await _refusal(endpoint, answer)
            began = True
            async with aclosing(read_events(answer.chunks())) as events:
                async for event in events:
                    heard += len(event.data)
                    if heard > _TURN_CHARS:
                        raise ModelError("The model's answer has no end.", hint="Ask again.")
                    raise_in_band(event)
                    yield event
    except (Broken, StreamTooLong) as error:
        raise lost(endpoint, began=began, reason=str(error)) from error


def lost(endpoint: ModelEndpoint, *, began: bool, reason: str) -> ModelError:
    """Return the error of a connection that broke off."""
    if endpoint.gateway:
        return GatewayLost(f"The connection to the model gateway was lost: {reason}")
    if began:
        return ModelError(
            "The model's provider broke its answer off.",
            tag="UpstreamCut",
            hint="Ask again; what was said so far is kept.",
            retry_after=0,
        )
    return ModelError(
        f"The model cannot be reached: {reason[:_TEXT_CHARS]}",
        tag="ModelUnreachable",
        hint="Check FIRSTHAND_MODEL_BASE_URL and the network.",
        retry_after=0,
    )


def raise_in_band(event: ServerSentEvent) -> None:
    """Raise the error that came inside the stream, if this event is one."""
    if '"error"' not in event.data:
        return
    try:
        body = msgspec.json.decode(event.data, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError):
        return
    error = body.get("error")
    if not error:
        return
    kind, message, hint = _said(error)
    if kind == "upstream_cut":
        hint = hint or "Ask again; what was said so far is kept."
        raise ModelError(message, tag="UpstreamCut", hint=hint, retry_after=0)
    passing = kind in {"overloaded_error", "api_error", "server_error", "rate_limit_error"}
    raise ModelError(
        f"The model failed in the middle of its answer: {message}",
        hint=hint or "Ask again.",
        retry_after=0 if passing else None,
    )


def decoded(data: str) -> dict[str, Any]:
    """Return the object in an event. Raises `ModelError`."""
    try:
        return msgspec.json.decode(data, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError) as error:
        raise ModelError("The model sent what is no JSON.", hint="Ask again.") from error


@contextmanager
def understood() -> Generator[None]:
    """Turn what goes wrong with a field that has not the form it should have into `ModelError`."""
    try:
        yield
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise ModelError("The model sent what makes no sense.", hint="Ask again.") from error


async def _refusal(endpoint: ModelEndpoint, answer: Answer) -> ModelError:
    try:
        raw = await read_whole(answer)
    except Broken:
        raw = b""
    kind, message, hint = _said(_error_in(raw))
    message = message or f"status {answer.status}"
    if endpoint.gateway and kind == "run_ended":
        return ModelError(message, tag="RunEnded", hint="Ask again.")
    if answer.status in {401, 403}:
        return ModelError(
            f"The model refused the key: {message}",
            tag="ModelUnauthorized",
            hint=hint or "Check FIRSTHAND_MODEL_API_KEY, or the key of the provider.",
        )
    passing = _GATEWAY_PASSING if endpoint.gateway else _PASSING
    wait = _retry_after(answer.headers) if answer.status in passing else None
    if answer.status == 429:
        return ModelError(
            f"The model has no room for this question now: {message}",
            tag="ModelRateLimited",
            hint=hint or "Wait a while and ask again, or look at the provider's limits.",
            retry_after=wait,
        )
    return ModelError(
        f"The model answered with status {answer.status}: {message}",
        hint=hint or ("Ask again." if wait is not None else f"Check {_MODEL} and its settings."),
        retry_after=wait,
    )


def _error_in(raw: bytes) -> object:
    try:
        body: object = msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        return raw.decode("utf-8", "replace")
    if isinstance(body, list) and body:
        # Google's compatible interface wraps its error in a list.
        body = cast("list[object]", body)[0]
    if not isinstance(body, dict):
        return cast("object", body)
    found = cast("dict[str, object]", body)
    return found.get("error", found)


def _said(error: object) -> tuple[str, str, str | None]:
    """Return kind, message and hint of an error in whichever form a provider has."""
    if not isinstance(error, dict):
        return "", _plain(str(error or "")), None
    body = cast("dict[str, Any]", error)
    hint = body.get("hint")
    kind = body.get("type") or body.get("code") or ""
    message = body.get("message") or body.get("detail") or ""
    return str(kind), _plain(str(message)), str(hint) if hint else None


def _plain(text: str) -> str:
    """Leave markup and line breaks of a proxy's error page out."""
    return " ".join(re.sub(r"<[^<>]*>", " ", text).split())[:_TEXT_CHARS]


def _retry_after(headers: Mapping[str, str]) -> float:
    """Return the seconds that the provider asks to wait; 0 where it names none."""
    in_ms = headers.get("retry-after-ms", "")
    if in_ms.replace(".", "", 1).isdecimal():
        return float(in_ms) / 1000
    value = headers.get("retry-after", "").strip()
    if value.replace(".", "", 1).isdecimal():
        return float(value)
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return 0.0
