"""All routes of the pages, ready to be mounted by the application."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from firsthand.hub.errors import FirsthandError, NotFound
from firsthand.hub.web.deps import WebDeps
from firsthand.hub.web.forms import Forms
from firsthand.hub.web.live import Live
from firsthand.hub.web.pages import Pages


def web_routes(deps: WebDeps) -> list[BaseRoute]:
    """Return the routes: pages, forms, the live connection, static files."""
    pages = Pages(deps)
    forms = Forms(deps, pages)
    live = Live(deps)
    page, form = pages.guarded, forms.guarded
    return [
        Route("/", page(pages.home)),
        Route("/threads/{thread_id}", page(pages.thread)),
        Route("/answers/{run_id}.md", page(pages.answer)),
        Route("/read/{checkout_id}/{path:path}", page(pages.read)),
        Route("/settings", page(pages.settings)),
        Route("/sign-in", pages.sign_in),
        Route("/welcome", pages.enter),
        Route("/live", live.connect),
        Route("/forms/ask", form(forms.ask), methods=["POST"]),
        Route("/forms/runs/{run_id}/stop", form(forms.stop_run), methods=["POST"]),
        Route("/forms/runs/{run_id}/retry", form(forms.retry_run), methods=["POST"]),
        Route("/forms/resources/add", form(forms.add_resource), methods=["POST"]),
        Route("/forms/resources/sync", form(forms.sync_resource), methods=["POST"]),
        Route("/forms/resources/remove", form(forms.remove_resource), methods=["POST"]),
        Route("/forms/instance/{operation}", form(forms.instance), methods=["POST"]),
        Route("/forms/password", form(forms.set_password), methods=["POST"]),
        Route("/forms/sign-in", forms.sign_in, methods=["POST"]),
        Route("/forms/sign-out", forms.sign_out, methods=["POST"]),
        Mount("/static", _Static(packages=[("firsthand.hub.web", "static")])),
    ]


def error_page(deps: WebDeps, _request: Request, status: int, error: FirsthandError) -> Response:
    """Return the page for an error that no page caught."""
    pages = Pages(deps)
    title, detail, hint = error.title, error.detail, error.hint
    if status == 404 and not isinstance(error, NotFound):
        title, detail = "Not found", "There is nothing at this address."
        hint = "Check its spelling."
    return pages.error_page(status, title, detail, hint)


class _Static(StaticFiles):
    """Static files; those that are addressed with their version may be kept for ever."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Answer with one file."""
        response = await super().get_response(path, scope)
        if b"v=" in scope.get("query_string", b""):
            response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        else:
            response.headers["Cache-Control"] = "public, max-age=3600"
        return response
