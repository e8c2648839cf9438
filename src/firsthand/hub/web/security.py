"""Headers that every answer carries, and the one check against requests forged by other sites."""

from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from firsthand.hub.identity.identity import SESSION_COOKIE
from firsthand.hub.web.deps import WebDeps

_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; "
        "form-action 'self'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})


def web_middleware(deps: WebDeps) -> list[Middleware]:
    """Return what goes around the whole application, outermost first."""
    return [
        Middleware(SecurityHeaders),
        Middleware(SameOriginOnly, own_origin=origin_of(deps.public_url)),
    ]


def origin_of(url: str) -> str:
    """Return scheme, host and port of an address, as browsers write an origin."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}".lower()


class SecurityHeaders:
    """Adds the headers to every answer that does not set them itself."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_with_headers)


class SameOriginOnly:
    """Refuses unsafe requests that come with our cookie, or to a form, from another site.

    Beside the cookie's `SameSite=Lax`. A browser says where a request comes from in
    `Sec-Fetch-Site` (Fetch Metadata, W3C) or in `Origin` (Fetch standard), which no page can set.
    """

    def __init__(self, app: ASGIApp, *, own_origin: str) -> None:
        self._app = app
        self._own_origin = own_origin

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http" and self._is_forged(scope):
            refusal = PlainTextResponse("This request came from another site.", status_code=403)
            await refusal(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _is_forged(self, scope: Scope) -> bool:
        if scope["method"] in _SAFE_METHODS:
            return False
        headers = Headers(scope=scope)
        is_form = str(scope["path"]).startswith("/forms/")
        if not is_form and SESSION_COOKIE not in headers.get("cookie", ""):
            return False
        site = headers.get("sec-fetch-site")
        if site is not None:
            return site not in {"same-origin", "none"}
        origin = headers.get("origin")
        if origin is None:
            # No browser: they all send one of the two with an unsafe request.
            return SESSION_COOKIE in headers.get("cookie", "")
        own_host = headers.get("host", "").lower()
        return origin.lower() != self._own_origin and urlsplit(origin).netloc.lower() != own_host
