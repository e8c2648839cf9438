"""An answer's Markdown to safe HTML: raw HTML stays text, citations become numbered chips.

What a model or a repository wrote can produce text, the elements listed here, and links to
http, https and mailto; nothing else, checked a second time by the sanitiser.
"""

from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import nh3
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token
from markdown_it.utils import OptionsDict
from markupsafe import Markup, escape
from mdit_py_plugins.tasklists import tasklists_plugin

from firsthand.hub.web import words
from firsthand.hub.web.highlight import highlight_block
from firsthand.protocol.citation_syntax import CitationMark, find_citations

CitationKey = tuple[str, str, int, int]

_TAGS = {
    *("p", "br", "hr", "blockquote", "ul", "ol", "li", "strong", "em", "s", "code", "pre"),
    *("h3", "h4", "h5", "h6", "table", "thead", "tbody", "tr", "th", "td"),
    *("a", "div", "span", "button", "input"),
}
_ATTRIBUTES = {
    "a": {"href", "title", "class", "rel", "id", "data-source", "aria-label"},
    "div": {"class", "tabindex", "role", "aria-label"},
    "span": {"class"},
    "code": {"class"},
    "button": {"type", "class", "data-copy"},
    "input": {"type", "class", "checked", "disabled"},
    "li": {"class"},
    "ul": {"class"},
    "ol": {"class", "start"},
    "th": {"class"},
    "td": {"class"},
}


@dataclass(slots=True)
class CitationNumbers:
    """Numbers from 1 in the order of first mention; the same lines keep their number."""

    anchor: str
    names: tuple[str, ...] = ()
    seen: dict[CitationKey, int] = field(default_factory=dict[CitationKey, int])

    def number(self, key: CitationKey) -> int:
        """Return the number of these lines, giving the next one to lines not seen before."""
        return self.seen.setdefault(key, len(self.seen) + 1)


@dataclass(slots=True)
class _Env:
    numbers: CitationNumbers
    # By inline text: one paragraph is asked about at each of its brackets.
    marks: dict[str, Sequence[CitationMark]] = field(
        default_factory=dict[str, Sequence[CitationMark]]
    )


def render_answer(text: str, numbers: CitationNumbers) -> Markup:
    """Return the answer as HTML; `numbers` is filled with the citations in order of mention."""
    html = cast("str", _markdown.render(text, {"firsthand": _Env(numbers)}))
    clean = nh3.clean(
        html,
        tags=_TAGS,
        attributes=_ATTRIBUTES,
        url_schemes={"http", "https", "mailto"},
        link_rel=None,
    )
    return Markup(clean)  # noqa: S704 # the sanitiser's output is what may be trusted


def _citation_rule(state: StateInline, silent: bool) -> bool:
    if state.src[state.pos] != "[":
        return False
    close = state.src.find("]", state.pos, state.posMax)
    if close < 0:
        return False
    env = cast("_Env", state.env["firsthand"])
    found = [mark for mark in _marks(state.src, env) if state.pos <= mark.start <= close]
    if not found:
        return False
    if not silent:
        for mark in found:
            state.push("citation", "", 0).meta = {"mark": mark}
    state.pos = close + 1
    return True


def _marks(text: str, env: _Env) -> Sequence[CitationMark]:
    if text not in env.marks:
        env.marks[text] = find_citations(text, env.numbers.names)
    return env.marks[text]


class _Renderer(RendererHTML):
    def citation(
        self,
        tokens: Sequence[Token],
        idx: int,
        _options: OptionsDict,
        env: MutableMapping[str, Any],
    ) -> str:
        mark = cast("CitationMark", tokens[idx].meta["mark"])
        numbers = cast("_Env", env["firsthand"]).numbers
        number = numbers.number((mark.resource, mark.path, mark.start_line, mark.end_line))
        source = f"{numbers.anchor}-{number}"
        lines = words.line_range(mark.start_line, mark.end_line)
        label = f"Source {number}: {mark.path}, lines {lines}"
        return str(
            Markup(
                '<a class="cite" href="#source-{s}" data-source="{s}" title="{t}"'
                ' aria-label="{label}">{n}</a>'
            ).format(s=source, t=f"{mark.path}:{lines}", label=label, n=number)
        )

    # The parser's own class has a rule of this name and these parameters.
    def fence(
        self,
        tokens: Sequence[Token],
        idx: int,
        options: OptionsDict,  # noqa: ARG002
        env: MutableMapping[str, Any],  # noqa: ARG002
    ) -> str:
        token = tokens[idx]
        language = token.info.strip().split(maxsplit=1)[0][:30] if token.info.strip() else ""
        code = token.content.removesuffix("\n")
        name = str(escape(language)) or "text"
        return (
            f'<div class="code"><div class="code-head"><span>{name}</span>'
            '<button type="button" class="quiet copy" data-copy="code">Copy</button></div>'
            f'<div class="scroll" tabindex="0" role="group" aria-label="Code"><pre><code>'
            f"{highlight_block(code, language)}\n</code></pre></div></div>\n"
        )

    def code_block(
        self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: MutableMapping[str, Any]
    ) -> str:
        return self.fence(tokens, idx, options, env)

    def heading_open(
        self,
        tokens: Sequence[Token],
        idx: int,
        _options: OptionsDict,
        _env: MutableMapping[str, Any],
    ) -> str:
        return f"<{_heading(tokens[idx])}>"

    def heading_close(
        self,
        tokens: Sequence[Token],
        idx: int,
        _options: OptionsDict,
        _env: MutableMapping[str, Any],
    ) -> str:
        return f"</{_heading(tokens[idx])}>\n"

    def th_open(
        self,
        tokens: Sequence[Token],
        idx: int,
        _options: OptionsDict,
        _env: MutableMapping[str, Any],
    ) -> str:
        return _cell(tokens[idx])

    def td_open(
        self,
        tokens: Sequence[Token],
        idx: int,
        _options: OptionsDict,
        _env: MutableMapping[str, Any],
    ) -> str:
        return _cell(tokens[idx])

    def table_open(self, *_: object) -> str:
        return '<div class="scroll" tabindex="0" role="group" aria-label="Table"><table>\n'

    def table_close(self, *_: object) -> str:
        return "</table></div>\n"

    def link_open(
        self,
        tokens: Sequence[Token],
        idx: int,
        _options: OptionsDict,
        _env: MutableMapping[str, Any],
    ) -> str:
        href = escape(str(tokens[idx].attrs.get("href", "")))
        return f'<a href="{href}" rel="noopener noreferrer nofollow">'


def _cell(token: Token) -> str:
    # The parser writes alignment as a style, which our pages do not allow.
    align = str(token.attrs.get("style", "")).removeprefix("text-align:")
    return f'<{token.tag} class="{align}">' if align in {"right", "center"} else f"<{token.tag}>"


def _heading(token: Token) -> str:
    # The page has the h1 and each question is an h2, so an answer's headings begin below.
    return f"h{min(6, int(token.tag[1]) + 2)}"


def _make() -> MarkdownIt:
    markdown = MarkdownIt("commonmark", {"html": False}, renderer_cls=_Renderer)
    markdown.enable(["table", "strikethrough"])
    # A picture from elsewhere would tell its host who reads; it stays a plain link.
    markdown.disable("image")
    markdown.use(tasklists_plugin)
    markdown.inline.ruler.before("link", "citation", _citation_rule)
    return markdown


_markdown = _make()
