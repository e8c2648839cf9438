"""Who is calling: a bearer token, or the session cookie of the pages."""

from starlette.requests import Request

from firsthand.hub.errors import NotSignedIn
from firsthand.hub.identity import Identity, Principal
from firsthand.hub.identity.identity import SESSION_COOKIE


async def authenticate(request: Request, identity: Identity) -> Principal:
    """Return who is calling. Raises `NotSignedIn`.

    A request with an `Authorization` header is judged by that alone: a wrong token must not fall
    back to whoever happens to be signed in.
    """
    header = request.headers.get("authorization")
    if header is not None:
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise NotSignedIn("The Authorization header must be: Bearer, a space, the token.")
        return await identity.by_local_token(token.strip())
    cookie = request.cookies.get(SESSION_COOKIE)
    if not cookie:
        raise NotSignedIn("Nobody is signed in.", hint="Sign in, or send a bearer token.")
    return await identity.by_session(cookie)
