"""Permanent links to lines of a file at a commit, on the hosts whose form is known."""

from urllib.parse import urlsplit

_FORMS = {
    "github.com": "/blob/{commit}/{path}#L{start}-L{end}",
    "gitlab.com": "/-/blob/{commit}/{path}#L{start}-{end}",
    "bitbucket.org": "/src/{commit}/{path}#lines-{start}:{end}",
    "codeberg.org": "/src/commit/{commit}/{path}#L{start}-L{end}",
}


def link_template(location: str, commit: str) -> str | None:
    """Return a link that holds `{path}`, `{start}` and `{end}`, or `None` where none is known."""
    parts = urlsplit(location)
    form = _FORMS.get(parts.hostname or "")
    if form is None:
        return None
    # Braces of the address itself must survive the later formatting.
    path = parts.path.rstrip("/").removesuffix(".git").replace("{", "%7B").replace("}", "%7D")
    return f"https://{parts.hostname}{path}{form.replace('{commit}', commit)}"
