"""The fields of a form that was sent, bounded. Browsers send ours URL-encoded."""

from dataclasses import dataclass
from urllib.parse import parse_qs

from starlette.requests import Request

from firsthand.hub.errors import BadInput

# A question of 100,000 characters of four bytes, each byte written as %XX.
_MAX_BYTES = 1_500_000
_MAX_FIELDS = 200


@dataclass(frozen=True, slots=True)
class Fields:
    """What was sent, by name. A name that was not sent is empty."""

    values: dict[str, list[str]]

    def text(self, name: str) -> str:
        """Return a field without space around and with plain line breaks."""
        return self.exact(name).replace("\r\n", "\n").strip()

    def exact(self, name: str) -> str:
        """Return a field just as it was sent."""
        return self.values.get(name, [""])[0]

    def every(self, name: str) -> list[str]:
        """Return all values that were sent under one name."""
        return self.values.get(name, [])


async def read_fields(request: Request) -> Fields:
    """Read the body of a form. Raises `BadInput` for anything else, or too much."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise BadInput("This is not a form as these pages send it.")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MAX_BYTES:
            raise BadInput("The form holds too much text.", hint="Send less than a megabyte.")
    try:
        text = body.decode("ascii")
        values = parse_qs(text, keep_blank_values=True, errors="strict", max_num_fields=_MAX_FIELDS)
    except ValueError as error:
        raise BadInput("The form's text is not valid UTF-8, or has too many fields.") from error
    return Fields(values)
