"""The one table from errors to status codes, in the form of RFC 9457.

Used by every JSON entrance. Pages have their own error pages and take only the status from here.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.responses import Response

from firsthand.hub import errors

STATUS: Mapping[type[errors.FirsthandError], int] = {
    errors.BadInput: 422,
    errors.NotSignedIn: 401,
    errors.AllowanceUsedUp: 402,
    errors.NotAllowed: 403,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.TooMany: 429,
    errors.SettingsError: 500,
    errors.Unavailable: 503,
}


def status_of(error: errors.FirsthandError) -> int:
    """Return the status of the nearest ancestor that the table names."""
    for kind in type(error).__mro__:
        if kind in STATUS:
            return STATUS[kind]
    return 500


def problem(
    status: int,
    title: str,
    detail: str,
    hint: str | None = None,
    *,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return an `application/problem+json` answer."""
    body: dict[str, Any] = {"type": "about:blank", "title": title, "status": status}
    body["detail"] = detail
    if hint is not None:
        body["hint"] = hint
    return Response(
        msgspec.json.encode(body),
        status_code=status,
        media_type="application/problem+json",
        headers=headers,
    )


def problem_of(error: errors.FirsthandError) -> Response:
    """Return the answer for an expected error."""
    status = status_of(error)
    # RFC 9110 section 11.6.1: a 401 says how to sign in.
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
    return problem(status, error.title, error.detail, error.hint, headers=headers)
