"""Forms: their fields, their bounds, and where they may lead."""

from collections.abc import Iterable
from urllib.parse import urlencode

import pytest
from starlette.requests import Request
from starlette.types import Message

from firsthand.hub.errors import BadInput
from firsthand.hub.web.fields import read_fields
from firsthand.hub.web.typed import own_page, spelled_out

_FORM = "application/x-www-form-urlencoded"


def request(body: Iterable[bytes], kind: str = _FORM) -> Request:
    chunks = iter([*body, b""])

    async def receive() -> Message:
        chunk = next(chunks)
        return {"type": "http.request", "body": chunk, "more_body": bool(chunk)}

    headers = [(b"content-type", kind.encode())]
    return Request({"type": "http", "method": "POST", "headers": headers}, receive)


async def test_fields_are_read_from_any_chunks() -> None:
    body = urlencode(
        [("message", " a\r\nb \N{SNOWMAN} "), ("resource", "x"), ("resource", "y"), ("empty", "")]
    ).encode()
    fields = await read_fields(request(body[i : i + 7] for i in range(0, len(body), 7)))
    assert fields.text("message") == "a\nb \N{SNOWMAN}"
    assert fields.exact("message").startswith(" a\r\n")
    assert fields.every("resource") == ["x", "y"]
    assert fields.text("empty") == fields.text("absent") == ""


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"{}", "application/json"),
        (b"a=%ff", _FORM),
        (b"a=\xff", _FORM),
        (b"&".join(b"a=1" for _ in range(300)), _FORM),
        (b"a=" + b"x" * 1_600_000, _FORM),
    ],
)
async def test_what_is_no_form_or_too_much_is_refused(body: bytes, kind: str) -> None:
    with pytest.raises(BadInput):
        await read_fields(request([body], kind))


@pytest.mark.parametrize(
    ("wanted", "page"),
    [
        ("/threads/th_1?x=1#y", "/threads/th_1?x=1#y"),
        ("", "/"),
        ("//evil.example/", "/"),
        ("/\\evil.example/", "/"),
        ("https://evil.example/", "/"),
        ("javascript:alert(1)", "/"),
        ("/a\nb", "/"),
    ],
)
def test_signing_in_leads_to_pages_of_ours_only(wanted: str, page: str) -> None:
    assert own_page(wanted) == page


@pytest.mark.parametrize(
    ("typed", "source"),
    [
        ("encode/httpx", "https://github.com/encode/httpx"),
        ("encode/httpx@1.0", "https://github.com/encode/httpx@1.0"),
        ("pypi:httpx", "pypi:httpx"),
        ("npm:@scope/pkg", "npm:@scope/pkg"),
        ("https://example.org/a/b", "https://example.org/a/b"),
        ("./a/b", "./a/b"),
        ("/srv/git", "/srv/git"),
        ("example.org/a/b", "example.org/a/b"),
    ],
)
def test_owner_and_name_mean_a_repository_on_github(typed: str, source: str) -> None:
    assert spelled_out(typed) == source
