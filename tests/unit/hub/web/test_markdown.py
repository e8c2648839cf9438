"""Answers as HTML: what is formatted, what becomes a chip, and what stays text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firsthand.hub.web.highlight import highlight_lines, lexer_for_language, lexer_for_path
from firsthand.hub.web.markdown import CitationNumbers, render_answer


def render(text: str, names: tuple[str, ...] = ("shop",)) -> str:
    return str(render_answer(text, CitationNumbers("ru_1", names)))


def test_tables_task_lists_and_strikethrough_are_formatted() -> None:
    html = render("| a | b |\n|---|--:|\n| 1 | 2 |\n\n- [x] done\n- [ ] open\n\n~~gone~~")
    assert "<table>" in html
    assert '<td class="right">2</td>' in html
    assert html.count('type="checkbox"') == 2
    assert "<s>gone</s>" in html


def test_headings_begin_below_those_of_the_page() -> None:
    assert "<h3>One</h3>" in render("# One")
    assert "<h6>Four</h6>" in render("#### Four")
    assert "<h6>Six</h6>" in render("###### Six")


def test_the_same_lines_keep_their_number() -> None:
    numbers = CitationNumbers("ru_1", ("shop",))
    html = str(
        render_answer(
            "A [shop/a.py:1-2], b [shop/b/__init__.py:3], a again [shop/a.py:1-2].", numbers
        )
    )
    assert html.count('data-source="ru_1-1"') == 2
    assert html.count('data-source="ru_1-2"') == 1
    assert list(numbers.seen) == [("shop", "a.py", 1, 2), ("shop", "b/__init__.py", 3, 3)]
    assert "<strong>" not in html


def test_several_citations_in_one_bracket_are_several_chips() -> None:
    html = render("Both [shop/a.py:1-2; shop/b.py:3-4] of them.")
    assert html.count('class="cite"') == 2
    assert "[" not in html


def test_a_name_with_a_slash_is_known_as_a_name() -> None:
    numbers = CitationNumbers("ru_1", ("@scope/pkg",))
    render_answer("See [@scope/pkg/lib/x.js:1].", numbers)
    assert list(numbers.seen) == [("@scope/pkg", "lib/x.js", 1, 1)]


def test_brackets_that_are_no_citation_are_what_markdown_makes_of_them() -> None:
    html = render("[link](https://example.org/a) and [note] and `[shop/a.py:1]`")
    assert '<a href="https://example.org/a" rel="noopener noreferrer nofollow">link</a>' in html
    assert "[note]" in html
    assert "<code>[shop/a.py:1]</code>" in html
    assert "cite" not in html


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "a <img src=x onerror=alert(1)> b",
        "<!-- <b> -->",
        "[x](javascript:alert(1))",
        "[x](data:text/html,<script>alert(1)</script>)",
        "![x](https://tracker.example/p.png)",
        '<https://example.org/"onmouseover=alert(1)>',
        '```"><script>alert(1)</script>\nx\n```',
        "[shop/<img src=x onerror=alert(1)>.py:1-2]",
        "<a href='x' style='position:fixed'>x</a>",
    ],
)
def test_hostile_markup_stays_text(text: str) -> None:
    html = render(text)
    for tag in ("<script", "<img", "<iframe", "<style", "<b>"):
        assert tag not in html.lower()
    assert 'href="javascript:' not in html
    assert 'href="data:' not in html
    assert "style=" not in html.replace("style=&", "").replace("style='", "")


@given(st.text(max_size=300))
def test_any_text_gives_balanced_html_without_scripts(text: str) -> None:
    html = render(text)
    assert "<script" not in html.lower()
    assert html.count("<div") == html.count("</div>")


def test_a_fence_that_is_still_being_written_is_code_already() -> None:
    html = render("```python\ndef f():\n    retur")
    assert 'class="k"' in html
    assert html.count("<pre>") == 1


def test_lines_of_code_are_each_complete() -> None:
    code = 'x = """one\ntwo <b>\n"""\n\ny = 1'
    lines = highlight_lines(code, lexer_for_path("a/b.py"))
    assert len(lines) == 5
    for line in lines:
        assert line.count("<span") == line.count("</span>")
    assert "two &lt;b&gt;" in lines[1]


def test_what_is_unknown_or_too_long_is_plain_text() -> None:
    assert highlight_lines("<x>", lexer_for_language("no such language")) == ["&lt;x&gt;"]
    long = "<" * 5000
    assert highlight_lines(long, lexer_for_path("a.py")) == ["&lt;" * 5000]


def test_code_made_to_take_long_is_shown_without_colour() -> None:
    # At each of these marks that lexer looks for an end of the comment, down to the last line.
    code = "/*\n" * 130_000
    assert highlight_lines(code, lexer_for_path("a.as")) == [*["/*"] * 130_000, ""]
