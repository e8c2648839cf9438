"""Bodies of requests that do not fit are refused with a reason."""

import pytest
from starlette.requests import Request
from starlette.types import Message

from firsthand.hub.api.bodies import ChatRequest
from firsthand.hub.api.reading import MAX_BODY_BYTES, read_body
from firsthand.hub.errors import BadInput


def request(body: bytes) -> Request:
    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return Request({"type": "http", "method": "POST", "headers": []}, receive)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"message": "x"',
        b'{"message": 1}',
        b'{"message": "\xff"}',
        b'{"message": "x", "more": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"message": "' + b"x" * MAX_BODY_BYTES + b'"}',
    ],
)
async def test_what_is_no_request_is_refused(body: bytes) -> None:
    with pytest.raises(BadInput):
        await read_body(request(body), ChatRequest)


async def test_a_request_is_read() -> None:
    read = await read_body(request(b'{"message": "x", "threadId": "th_1"}'), ChatRequest)
    assert (read.message, read.thread_id) == ("x", "th_1")
