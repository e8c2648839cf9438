"""Reading requests: bodies as typed messages, numbers from queries, bounds on both."""

from typing import TypeVar

import msgspec
from starlette.requests import Request

from firsthand.hub.errors import BadInput

T = TypeVar("T")

# The longest question takes 100,000 characters, at most 12 bytes each as escaped JSON.
MAX_BODY_BYTES = 2 * 1024 * 1024


async def read_body(request: Request, form: type[T]) -> T:
    """Return the JSON body as `form`. Raises `BadInput` naming the place that does not fit."""
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > MAX_BODY_BYTES:
            raise BadInput(f"The request's body exceeds {MAX_BODY_BYTES:,} bytes.")
        chunks.append(chunk)
    try:
        return msgspec.json.decode(b"".join(chunks) or b"{}", type=form)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadInput(
            f"The request's body does not fit: {error}", hint="Send one JSON object."
        ) from error


def read_event_number(request: Request) -> int:
    """Return after which event the caller wants to go on: `Last-Event-ID`, `?after=`, or 0.

    The header wins, as browsers send it when they reconnect to the same address.
    """
    raw = request.headers.get("last-event-id") or request.query_params.get("after") or "0"
    if not (raw.isascii() and raw.isdigit() and len(raw) <= 12):
        raise BadInput(f"{raw[:40]!r} is no event number.", hint="Send a whole number from 0.")
    return int(raw)
