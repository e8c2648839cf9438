"""The pages: each looks up what it shows and renders one template."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response

from firsthand.hub.errors import BadInput, FirsthandError, NotFound, NotSignedIn
from firsthand.hub.identity.principal import Principal
from firsthand.hub.ids import RunId, ThreadId, new_token
from firsthand.hub.web import files
from firsthand.hub.web.answers import host_url
from firsthand.hub.web.deps import WebDeps
from firsthand.hub.web.fragments import frame_context
from firsthand.hub.web.looking import ThreadReader, answer_text, look_at_frame, may_read
from firsthand.hub.web.sessions import set_session, signed_in
from firsthand.hub.web.views import FileView
from firsthand.sources.store import Checkout

Page = Callable[[Request, Principal], Awaitable[Response]]
_NO_STORE = {"Cache-Control": "no-store"}
# Around a range that is asked for, so that it stands in its context.
_LINES_BEFORE = 200


@dataclass(frozen=True, slots=True)
class Problem:
    """A failure shown within a page."""

    detail: str
    hint: str | None


def problem_of(error: FirsthandError) -> Problem:
    """Return what a page says of an expected error."""
    return Problem(error.detail, error.hint)


class Pages:
    """What a signed-in person sees. Every method answers one request."""

    def __init__(self, deps: WebDeps) -> None:
        self._deps = deps
        self._renderer = deps.renderer

    def html(self, template: str, context: Mapping[str, object], status: int = 200) -> Response:
        """Render a whole page."""
        page = self._renderer.page(template, context)
        return HTMLResponse(page, status_code=status, headers=_NO_STORE)

    def error_page(self, status: int, title: str, detail: str, hint: str | None = None) -> Response:
        """Return the page for something that cannot be shown."""
        context = {"status": status, "title": title, "detail": detail, "hint": hint}
        return self.html("error.html", context, status)

    def guarded(self, page: Page) -> Callable[[Request], Awaitable[Response]]:
        """Let only signed-in people at a page, and turn expected errors into pages."""

        async def endpoint(request: Request) -> Response:
            try:
                return await page(request, await signed_in(request, self._deps))
            except NotSignedIn:
                wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
                query = f"?{urlencode({'next': wanted})}" if wanted != "/" else ""
                return RedirectResponse(f"/sign-in{query}", status_code=303, headers=_NO_STORE)
            except FirsthandError as error:
                status = self._deps.status_of(error)
                return self.error_page(status, error.title, error.detail, error.hint)

        return endpoint

    async def home(self, request: Request, principal: Principal) -> Response:
        """Show the question box, the sources and the instance."""
        return await self.render_home(request, principal)

    async def render_home(
        self,
        _request: Request,
        principal: Principal,
        *,
        problem: Problem | None = None,
        draft: str = "",
        asked_resources: Sequence[str] = (),
        add_problem: Problem | None = None,
        add_values: Mapping[str, str] | None = None,
        status: int = 200,
    ) -> Response:
        """Render the home page, with what went wrong on it where a form brought us here."""
        frame = await look_at_frame(self._deps, principal)
        context = frame_context(frame, None) | {
            "live_view": "home",
            "thread_id": None,
            "ask_key": new_token(),
            "ask_problem": problem,
            "ask_draft": draft,
            "asked_resources": asked_resources,
            "add_problem": add_problem,
            "add_values": add_values or {"source": "", "name": "", "ref": ""},
        }
        return self.html("home.html", context, status)

    async def thread(self, request: Request, principal: Principal) -> Response:
        """Show a thread with all its answers."""
        return await self.render_thread(principal, ThreadId(request.path_params["thread_id"]))

    async def render_thread(
        self,
        principal: Principal,
        thread_id: ThreadId,
        *,
        problem: Problem | None = None,
        draft: str = "",
        status: int = 200,
    ) -> Response:
        """Render a thread, with what went wrong where a form brought us here."""
        reader = ThreadReader(self._deps, principal, thread_id)
        title = await reader.title()
        frame = await look_at_frame(self._deps, principal)
        context = frame_context(frame, thread_id) | {
            "live_view": f"thread:{thread_id}",
            "title": title,
            "turns": await reader.turns(),
            "thread_id": thread_id,
            "ask_key": new_token(),
            "ask_problem": problem,
            "ask_draft": draft,
        }
        return self.html("thread.html", context, status)

    async def answer(self, request: Request, principal: Principal) -> Response:
        """Give an answer as Markdown, to copy or to keep."""
        text = await answer_text(self._deps, principal, RunId(request.path_params["run_id"]))
        return PlainTextResponse(text, media_type="text/markdown", headers=_NO_STORE)

    async def settings(self, request: Request, principal: Principal) -> Response:
        """Show the account."""
        saved = request.query_params.get("saved") == "1"
        return await self.render_settings(principal, saved=saved)

    async def render_settings(
        self,
        principal: Principal,
        *,
        saved: bool = False,
        problem: Problem | None = None,
        login: str | None = None,
        status: int = 200,
    ) -> Response:
        """Render the account's page."""
        frame = await look_at_frame(self._deps, principal)
        user = await self._deps.identity.get_user(principal)
        context = frame_context(frame, None) | {
            "live_view": "frame",
            "principal": principal,
            "saved": saved,
            "ask_problem": problem,
            "from_page": "settings",
            "login": (user.login or "") if login is None else login,
            "has_password": user.password_hash is not None,
        }
        return self.html("settings.html", context, status)

    async def welcome(self, _request: Request, principal: Principal) -> Response:
        """Greet who came by the owner's link."""
        return await self.render_welcome(principal)

    async def render_welcome(
        self,
        principal: Principal,
        *,
        problem: Problem | None = None,
        login: str | None = None,
        status: int = 200,
    ) -> Response:
        """Render the welcome."""
        user = await self._deps.identity.get_user(principal)
        context = {
            "ask_problem": problem,
            "from_page": "welcome",
            "login": (user.login or "") if login is None else login,
            "has_password": user.password_hash is not None,
        }
        return self.html("welcome.html", context, status)

    async def read(self, request: Request, principal: Principal) -> Response:
        """Show a file or a folder of a checkout."""
        checkout = self._deps.checkouts.find(request.path_params["checkout_id"])
        path = str(request.path_params["path"]).strip("/")
        answer = request.query_params.get("answer")
        if checkout is None or not await may_read(self._deps, principal, checkout, answer):
            raise NotFound(
                "There is no such source here.",
                hint="It may have been fetched anew since, or belong to somebody else.",
            )
        lines = _read_range(request.query_params.get("lines"))
        found = await to_thread.run_sync(files.look, checkout.tree, path)
        frame = await look_at_frame(self._deps, principal)
        suffix = f"?{urlencode({'answer': answer})}" if answer else ""
        context = frame_context(frame, None) | {
            "live_view": "frame",
            "crumbs": _crumbs(checkout, path, suffix),
        }
        if isinstance(found, files.Folder):
            context |= {
                "file": _file_view(checkout, path, files.TextFile(0, ()), None, suffix),
                "entries": _entries(checkout, path, found, suffix),
                "entries_left": found.left_off,
            }
        else:
            context |= {
                "file": _file_view(checkout, path, found, lines, suffix),
                "entries": None,
                "entries_left": 0,
            }
        return self.html("read.html", context)

    # Before anybody is signed in

    async def sign_in(self, request: Request) -> Response:
        """Show the form to sign in."""
        return self.render_sign_in(next_page=request.query_params.get("next", "/"))

    def render_sign_in(
        self, *, next_page: str, login: str = "", problem: Problem | None = None, status: int = 200
    ) -> Response:
        """Render the form to sign in."""
        context = {"next": next_page, "login": login, "ask_problem": problem}
        return self.html("sign_in.html", context, status)

    async def enter(self, request: Request) -> Response:
        """Use an owner's link; the token leaves the address bar at once."""
        token = request.query_params.get("token")
        if token is None or request.method == "HEAD":
            # Programs that look at links before people do send HEAD: it must not use one up.
            return await self.guarded(self.welcome)(request)
        try:
            session = await self._deps.identity.use_owner_link(token)
        except FirsthandError as error:
            status = self._deps.status_of(error)
            return self.error_page(status, "This link does not open", error.detail, error.hint)
        response = RedirectResponse("/welcome", status_code=303, headers=_NO_STORE)
        set_session(response, session, self._deps.public_url)
        return response


def _read_range(text: str | None) -> tuple[int, int] | None:
    if not text:
        return None
    first, _, last = text.partition("-")
    if not (first.isdecimal() and (last or first).isdecimal() and len(text) <= 20):
        raise BadInput("The lines are not a range such as 10-20.")
    start, end = int(first), int(last or first)
    return (start, end) if 1 <= start <= end else None


def _address(checkout: Checkout, path: str) -> str:
    return f"/read/{checkout.id}/{quote(path)}"


def _crumbs(checkout: Checkout, path: str, suffix: str) -> list[dict[str, str]]:
    parts = [part for part in path.split("/") if part]
    crumbs = [{"name": checkout.source.suggested_name, "url": _address(checkout, "") + suffix}]
    for place, part in enumerate(parts[:-1], start=1):
        url = _address(checkout, "/".join(parts[:place])) + suffix
        crumbs.append({"name": part, "url": url})
    return crumbs


def _entries(
    checkout: Checkout, path: str, folder: files.Folder, suffix: str
) -> list[dict[str, object]]:
    base = f"{path}/" if path else ""
    return [
        {
            "name": entry.name,
            "folder": entry.folder,
            "url": _address(checkout, base + entry.name) + suffix,
        }
        for entry in folder.entries
    ]


def _file_view(
    checkout: Checkout,
    path: str,
    found: files.TextFile,
    lines: tuple[int, int] | None,
    suffix: str,
) -> FileView:
    total = len(found.lines)
    notice = found.notice
    if lines and total and lines[0] > total:
        notice = f"This file has {total:,} lines; there is no line {lines[0]:,}."
    first = max(1, lines[0] - _LINES_BEFORE) if lines and total > files.MAX_LINES else 1
    last = min(total, first + files.MAX_LINES - 1)
    start, end = lines or (None, None)
    link = _host_link(checkout, path, lines) if path and found.lines else None
    base = _address(checkout, path)
    return FileView(
        path=path,
        source=str(checkout.source).removeprefix("https://"),
        ref=checkout.ref if checkout.ref not in str(checkout.source) else "",
        commit=checkout.commit,
        fetched_at=checkout.fetched_at,
        size_bytes=found.size_bytes,
        total_lines=total,
        lines=files.window(found.lines, first, last, lines),
        start_line=start,
        end_line=end,
        notice=notice,
        host_url=link,
        earlier_url=_part(base, suffix, max(1, first - 1000)) if first > 1 else None,
        later_url=_part(base, suffix, last + 1) if last < total else None,
    )


def _host_link(checkout: Checkout, path: str, lines: tuple[int, int] | None) -> str | None:
    start, end = lines or (1, 1)
    link = host_url(checkout, path, start, end)
    return link if lines or link is None else link.partition("#")[0]


def _part(base: str, suffix: str, line: int) -> str:
    return f"{base}{suffix}{'&' if suffix else '?'}lines={line}#L{line}"
