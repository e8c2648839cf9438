"""What forms do: one use case each, then back to a page, or for htmx nothing at all, because the
live connection brings what changed.
"""

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from firsthand.hub.errors import FirsthandError, NotSignedIn
from firsthand.hub.identity.principal import Principal
from firsthand.hub.ids import RunId, ThreadId
from firsthand.hub.instances.instance import InstanceState
from firsthand.hub.web.deps import WebDeps
from firsthand.hub.web.fields import Fields, read_fields
from firsthand.hub.web.pages import Pages, Problem, problem_of
from firsthand.hub.web.sessions import (
    forget_session,
    session_token,
    set_session,
    signed_in,
)
from firsthand.hub.web.typed import own_page, spelled_out

Form = Callable[[Request, Principal, Fields], Awaitable[Response]]


class Forms:
    """The unsafe half of the pages. Every method answers one POST."""

    def __init__(self, deps: WebDeps, pages: Pages) -> None:
        self._deps = deps
        self._renderer = deps.renderer
        self._pages = pages

    def guarded(self, form: Form) -> Callable[[Request], Awaitable[Response]]:
        """Let only signed-in people send a form, and say what went wrong where it was sent."""

        async def endpoint(request: Request) -> Response:
            try:
                principal = await signed_in(request, self._deps)
            except NotSignedIn:
                return self._away(request, "/sign-in")
            try:
                return await form(request, principal, await read_fields(request))
            except FirsthandError as error:
                return self._refused(request, error)

        return endpoint

    async def ask(self, request: Request, principal: Principal, data: Fields) -> Response:
        """Ask a question, in a thread or in a new one."""
        message = data.text("message")
        thread_id = ThreadId(data.text("thread")) if data.text("thread") else None
        names = data.every("resource")
        try:
            run = await self._deps.ask.ask(
                principal,
                message,
                thread_id=thread_id,
                resources=names or None,
                idempotency_key=data.text("key") or None,
            )
        except FirsthandError as error:
            if _by_htmx(request):
                raise
            status, problem = self._deps.status_of(error), problem_of(error)
            if thread_id is not None:
                return await self._pages.render_thread(
                    principal, thread_id, problem=problem, draft=message, status=status
                )
            return await self._pages.render_home(
                request,
                principal,
                problem=problem,
                draft=message,
                asked_resources=names,
                status=status,
            )
        if thread_id is not None and _by_htmx(request):
            return Response(status_code=204)
        return self._away(request, f"/threads/{run.thread_id}")

    async def stop_run(self, request: Request, principal: Principal, _data: Fields) -> Response:
        """Stop an answer."""
        run = await self._deps.ask.cancel(principal, RunId(request.path_params["run_id"]))
        return self._done(request, f"/threads/{run.thread_id}")

    async def retry_run(self, request: Request, principal: Principal, _data: Fields) -> Response:
        """Ask the question of a failed answer again."""
        run = await self._deps.ask.retry(principal, RunId(request.path_params["run_id"]))
        return self._done(request, f"/threads/{run.thread_id}")

    async def add_resource(self, request: Request, principal: Principal, data: Fields) -> Response:
        """Add a source and begin to fetch it."""
        values = {name: data.text(name) for name in ("source", "name", "ref")}
        try:
            await self._deps.projects.add_resource(
                principal,
                spelled_out(values["source"]),
                name=values["name"] or None,
                ref=values["ref"] or None,
            )
        except FirsthandError as error:
            if _by_htmx(request):
                raise
            return await self._pages.render_home(
                request,
                principal,
                add_problem=problem_of(error),
                add_values=values,
                status=self._deps.status_of(error),
            )
        return self._done(request, "/")

    async def sync_resource(self, request: Request, principal: Principal, data: Fields) -> Response:
        """Fetch a source again."""
        await self._deps.projects.sync_resource(principal, data.text("name"))
        return self._done(request, "/")

    async def remove_resource(
        self, request: Request, principal: Principal, data: Fields
    ) -> Response:
        """Take a source off the list."""
        await self._deps.projects.remove_resource(principal, data.text("name"))
        return self._done(request, "/")

    async def instance(self, request: Request, principal: Principal, _data: Fields) -> Response:
        """Wake, stop, set up, or try again."""
        instances = self._deps.instances
        match request.path_params["operation"]:
            case "wake":
                await instances.wake(principal)
            case "stop":
                await instances.stop(principal)
            case "provision":
                await instances.provision(principal)
            case "reset":
                await instances.reset(principal)
            case "retry":
                await self._retry_instance(principal)
            case _:
                return self._pages.error_page(404, "Not found", "There is no such operation.")
        return self._done(request, "/")

    async def _retry_instance(self, principal: Principal) -> None:
        instance = await self._deps.instances.status(principal)
        if instance.state is InstanceState.ERROR and instance.sandbox_id is None:
            await self._deps.instances.provision(principal)
        else:
            await self._deps.instances.wake(principal)

    async def set_password(self, request: Request, principal: Principal, data: Fields) -> Response:
        """Set login and password."""
        login, welcome = data.text("login"), data.text("from") == "welcome"
        try:
            await self._deps.identity.set_password(
                principal,
                login,
                data.exact("password"),
                current=data.exact("current") or None,
                session=session_token(request),
            )
        except FirsthandError as error:
            problem, status = problem_of(error), self._deps.status_of(error)
            render = self._pages.render_welcome if welcome else self._pages.render_settings
            return await render(principal, problem=problem, login=login, status=status)
        return self._away(request, "/" if welcome else "/settings?saved=1")

    async def sign_in(self, request: Request) -> Response:
        """Open a session."""
        login, wanted = "", "/"
        address = request.client.host if request.client else ""
        try:
            data = await read_fields(request)
            login, wanted = data.text("login"), own_page(data.text("next"))
            opened = await self._deps.identity.sign_in(
                login, data.exact("password"), address=address
            )
        except FirsthandError as error:
            return self._pages.render_sign_in(
                next_page=wanted,
                login=login,
                problem=problem_of(error),
                status=self._deps.status_of(error),
            )
        response = self._away(request, wanted)
        set_session(response, opened.token, self._deps.public_url)
        return response

    async def sign_out(self, request: Request) -> Response:
        """End the session."""
        token = session_token(request)
        if token:
            await self._deps.identity.sign_out(token)
        response = self._away(request, "/sign-in")
        forget_session(response)
        return response

    def _done(self, request: Request, page: str) -> Response:
        return Response(status_code=204) if _by_htmx(request) else self._away(request, page)

    def _away(self, request: Request, page: str) -> Response:
        if _by_htmx(request):
            return Response(status_code=204, headers={"HX-Redirect": page})
        return RedirectResponse(page, status_code=303)

    def _refused(self, request: Request, error: FirsthandError) -> Response:
        status = self._deps.status_of(error)
        if not _by_htmx(request):
            return self._pages.error_page(status, error.title, error.detail, error.hint)
        context: dict[str, Problem] = {"ask_problem": problem_of(error)}
        html = self._renderer.page("fragments/problem.html", context)
        return HTMLResponse(html, status_code=status)


def _by_htmx(request: Request) -> bool:
    return request.headers.get("hx-request") == "true"
