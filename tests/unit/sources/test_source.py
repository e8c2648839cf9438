"""What people write becomes a source, or an error that says what to write instead."""

from pathlib import Path

import pytest

from firsthand.sources.errors import InvalidSource
from firsthand.sources.links import link_template
from firsthand.sources.source import Source, SourceKind, parse_source

GIT, PYPI, NPM = SourceKind.GIT, SourceKind.PYPI, SourceKind.NPM


@pytest.mark.parametrize(
    ("text", "source", "name"),
    [
        ("https://host.org/a/b", Source(GIT, "https://host.org/a/b"), "b"),
        ("https://HOST.org/a/b.git/", Source(GIT, "https://host.org/a/b.git"), "b"),
        ("https://github.com/a/b.git@v1", Source(GIT, "https://github.com/a/b", "v1"), "b"),
        ("https://host.org/a/b@x/y@1", Source(GIT, "https://host.org/a/b", "x/y@1"), "b"),
        ("http://127.0.0.1:80/a", Source(GIT, "http://127.0.0.1:80/a"), "a"),
        ("pypi:Foo_Bar", Source(PYPI, "foo-bar"), "foo-bar"),
        ("pypi:httpx@0.28.1", Source(PYPI, "httpx", "0.28.1"), "httpx"),
        ("pypi:httpx==0.28.1", Source(PYPI, "httpx", "0.28.1"), "httpx"),
        ("npm:is-number@7.0.0", Source(NPM, "is-number", "7.0.0"), "is-number"),
        ("npm:@scope/name@1.0.0", Source(NPM, "@scope/name", "1.0.0"), "name"),
        ("npm:@scope/name", Source(NPM, "@scope/name"), "name"),
    ],
)
def test_a_source_is_read(text: str, source: Source, name: str) -> None:
    assert parse_source(text, allow_local=False) == source
    assert source.suggested_name == name
    assert parse_source(str(source), allow_local=False) == source


@pytest.mark.requirement("SRC-6")
@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "HTTPS"),
        ("two\nlines", "HTTPS"),
        ("git@github.com:a/b.git", "https://"),
        ("ssh://git@host.org/a", "https://"),
        ("github.com/a/b", "Did you mean https://github.com/a/b"),
        ("httpx", "pypi:httpx"),
        ("/srv/repo", "one-process"),
        ("file:///srv/repo", "one-process"),
        ("pypi:../x", "pypi:NAME"),
        ("npm:a/b/c", "npm:NAME"),
        ("npm:--help", "npm:NAME"),
        ("https://user:secret@host.org/a", "Remove everything"),
        ("https://host.org", "git clone"),
        ("https://host.org/a?b=c", "git clone"),
        ("https://host.org/a@-x", "must not"),
        ("https://host.org/a@x..y", "must not"),
        ("https://host.org/a@", "must not"),
    ],
)
def test_what_is_no_source_says_what_to_write(text: str, part: str) -> None:
    with pytest.raises(InvalidSource) as caught:
        parse_source(text, allow_local=False)
    assert part in (caught.value.hint or "")
    assert "secret" not in caught.value.message


@pytest.mark.parametrize(
    "text",
    ["https://host.org/a@" + "x" * 129, "https://host.org/" + "x" * 2001, "https://host.org:x/a"],
)
def test_limits_are_named(text: str) -> None:
    with pytest.raises(InvalidSource):
        parse_source(text, allow_local=False)


def test_folders_are_sources_where_allowed(tmp_path: Path) -> None:
    folder = tmp_path / "a@b"
    folder.mkdir()
    local = SourceKind.LOCAL
    assert parse_source(str(folder), allow_local=True) == Source(local, str(folder))
    assert parse_source(f"{folder}@v1", allow_local=True) == Source(local, str(folder), "v1")
    assert parse_source(f"file://{folder}", allow_local=True) == Source(local, str(folder))
    assert parse_source(".", allow_local=True).location == str(Path.cwd())


def test_links_lead_to_lines_at_a_commit_on_known_hosts_only() -> None:
    template = link_template("https://github.com/a/b", "c0ffee")
    assert template is not None
    assert template.format(path="src/x.py", start=3, end=9) == (
        "https://github.com/a/b/blob/c0ffee/src/x.py#L3-L9"
    )
    assert link_template("https://gitlab.com/a/g/b.git", "c") == (
        "https://gitlab.com/a/g/b/-/blob/c/{path}#L{start}-{end}"
    )
    assert "/src/c/" in str(link_template("https://bitbucket.org/a/b", "c"))
    assert "/src/commit/c/" in str(link_template("https://codeberg.org/a/b", "c"))
    assert link_template("https://git.example.org/a/b", "c") is None
