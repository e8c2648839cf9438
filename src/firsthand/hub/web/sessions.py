"""The session cookie: who is looking at a page."""

from datetime import timedelta

from starlette.requests import Request
from starlette.responses import Response

from firsthand.hub.errors import NotSignedIn
from firsthand.hub.identity.identity import SESSION_COOKIE, SESSION_LIFE
from firsthand.hub.identity.principal import Principal
from firsthand.hub.web.deps import WebDeps

# Browsers keep a cookie for 400 days at most; the session itself decides.
_COOKIE_LIFE = max(SESSION_LIFE, timedelta(days=180))


def session_token(request: Request) -> str:
    """Return the session's token, empty where there is none."""
    return request.cookies.get(SESSION_COOKIE, "")


async def signed_in(request: Request, deps: WebDeps) -> Principal:
    """Return who is looking. Raises `NotSignedIn`."""
    token = session_token(request)
    if not token:
        raise NotSignedIn("Nobody is signed in.", hint="Sign in to go on.")
    return await deps.identity.by_session(token)


def set_session(response: Response, token: str, public_url: str) -> None:
    """Put the session into the browser."""
    response.set_cookie(
        SESSION_COOKIE,
        token,
        max_age=int(_COOKIE_LIFE.total_seconds()),
        httponly=True,
        samesite="lax",
        secure=public_url.startswith("https://"),
        path="/",
    )


def forget_session(response: Response) -> None:
    """Take the session out of the browser."""
    response.delete_cookie(SESSION_COOKIE, path="/", httponly=True, samesite="lax")
