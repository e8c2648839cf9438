"""Well-known sources that can be added with one click, to have something to ask about at once."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """A name, what to write as the source, and one line about it."""

    name: str
    source: str
    about: str


CATALOGUE = (
    CatalogueEntry("httpx", "pypi:httpx", "HTTP client for Python, sync and async"),
    CatalogueEntry("starlette", "pypi:starlette", "The ASGI toolkit under FastAPI"),
    CatalogueEntry("requests", "pypi:requests", "HTTP for Python"),
    CatalogueEntry("flask", "pypi:flask", "A small web framework for Python"),
    CatalogueEntry("express", "npm:express", "The web framework for Node.js"),
    CatalogueEntry("zod", "npm:zod", "Schema validation for TypeScript"),
    CatalogueEntry("git", "https://github.com/git/git", "The version control system itself"),
    CatalogueEntry("svelte", "https://github.com/sveltejs/svelte", "A compiler for web interfaces"),
)


def suggestions(present: set[str]) -> list[CatalogueEntry]:
    """Return the entries whose names are not among those of `present`."""
    return [entry for entry in CATALOGUE if entry.name not in present]
