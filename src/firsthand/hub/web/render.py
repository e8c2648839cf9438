"""Templates to HTML: the Jinja environment, its words and icons, and addresses of our own files."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import cast

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from firsthand.hub.clock import Clock
from firsthand.hub.web import words

STATIC = files("firsthand.hub.web") / "static"


@dataclass(frozen=True, slots=True)
class Renderer:
    """Renders a template of `templates/` to a string. `version` changes with our static files."""

    environment: Environment
    version: str

    def page(self, template: str, context: Mapping[str, object]) -> str:
        """Return the rendered template; a name that the context lacks is a defect and raises."""
        return self.environment.get_template(template).render(context)


def make_renderer(clock: Clock, static: Traversable = STATIC) -> Renderer:
    """Build the environment; once, as it keeps what it has compiled."""
    environment = Environment(
        loader=PackageLoader("firsthand.hub.web", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        # A hub goes on with what it started with, whatever an update puts in place meanwhile.
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    icons = _Icons(static)
    addresses = _Addresses(static)
    version = hashlib.sha256(
        "".join(map(addresses.address, ("app.css", "tokens.css", "app.js"))).encode()
    ).hexdigest()[:12]

    def age(moment: datetime) -> str:
        return words.age(moment, clock())

    def iso(moment: datetime) -> str:
        return moment.isoformat()

    # Jinja's own types of these know only what it comes with.
    filters = cast("dict[str, object]", environment.filters)
    filters.update(
        age=age,
        exact=words.exact,
        iso=iso,
        size=words.size,
        duration=words.duration,
        count=words.count,
        line_range=words.line_range,
        short_commit=words.short_commit,
    )
    names = cast("dict[str, object]", environment.globals)
    names.update(
        asset=addresses.address, version=version, now=clock, icon_svg=icons.icon, mark=icons.mark
    )
    return Renderer(environment, version)


class _Icons:
    """SVG drawings to put into a page, so that they take the colour of the text around them."""

    def __init__(self, static: Traversable) -> None:
        self._static = static
        self._drawings: dict[str, str] = {}

    def icon(self, name: str, size: int = 16) -> Markup:
        return self._sized(f"vendor/icons/{name}.svg", size)

    def mark(self, size: int = 22) -> Markup:
        return self._sized("mark.svg", size)

    def _sized(self, path: str, size: int) -> Markup:
        drawing = self._drawings.get(path)
        if drawing is None:
            drawing = self._read(path)
            self._drawings[path] = drawing
        head = f'<svg aria-hidden="true" width="{size}" height="{size}"'
        return Markup(drawing.replace("<svg", head, 1))  # noqa: S704 # files of ours

    def _read(self, path: str) -> str:
        file = self._static
        for part in path.split("/"):
            file = file / part
        if not file.is_file():
            # Without script/setup there are no icons; every control has a name beside its icon.
            return "<svg></svg>"
        text = file.read_text(encoding="utf-8")
        text = text[text.index("<svg") :]
        return " ".join(
            line.strip()
            for line in text.splitlines()
            if not line.strip().startswith(("width=", "height="))
        )


class _Addresses:
    """Addresses of static files that change when the content does, so they may be kept for ever."""

    def __init__(self, static: Traversable) -> None:
        self._static = static
        self._known: dict[str, str] = {}

    def address(self, name: str) -> str:
        if name not in self._known:
            file = self._static
            for part in name.split("/"):
                file = file / part
            content = file.read_bytes() if file.is_file() else b""
            self._known[name] = f"/static/{name}?v={hashlib.sha256(content).hexdigest()[:12]}"
        return self._known[name]
