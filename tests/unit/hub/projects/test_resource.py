"""What people write about a resource: accepted as meant, or refused with the limit named."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firsthand.hub.errors import BadInput
from firsthand.hub.projects.resource import (
    MOVES,
    FetchState,
    check_notes,
    check_resource_name,
    check_search_paths,
    free_name,
    make_spec,
)
from firsthand.sources.source import Source, SourceKind


def test_a_spec_from_little() -> None:
    spec = make_spec("pypi:HTTPX@0.28.1")
    assert spec.name == "httpx"
    assert spec.source == Source(SourceKind.PYPI, "httpx", "0.28.1")
    spec = make_spec("https://github.com/encode/starlette", name=" web ", ref=" v1 ")
    assert (spec.name, spec.source.ref) == ("web", "v1")


def test_a_ref_named_twice_must_be_the_same() -> None:
    assert make_spec("pypi:httpx@1", ref="1").source.ref == "1"
    with pytest.raises(BadInput, match="Two refs"):
        make_spec("pypi:httpx@1", ref="2")


def test_paths_and_notes_are_tidied() -> None:
    spec = make_spec(
        "npm:zod", search_paths=[" ./src/ ", "src", "docs//api"], notes="  the new API\n"
    )
    assert spec.search_paths == ("src", "docs/api")
    assert spec.notes == "the new API"


@pytest.mark.requirement("HUB-15")
@pytest.mark.parametrize(
    ("name", "limit"),
    [
        ("", "64"),
        ("x" * 65, "64"),
        ("two words", "letters, digits"),
        ("naïve", "letters, digits"),
        ("a:b", "letters, digits"),
        ("a\nb", "letters, digits"),
        ("a..b", r"\.\."),
        ("a//b", "//"),
        ("/a", "start with /"),
        ("a/", "end with /"),
        ("-a", "-"),
        (".", r"\.\."),
    ],
)
def test_names_that_cannot_be(name: str, limit: str) -> None:
    with pytest.raises(BadInput, match=limit):
        check_resource_name(name)


@pytest.mark.requirement("HUB-15")
@pytest.mark.parametrize(
    ("path", "limit"),
    [
        ("", "printable"),
        ("x" * 257, "256"),
        ("/etc", "relative"),
        ("a/../../b", r"\.\."),
        ("..", r"\.\."),
        (".", "relative"),
        ("a\\b", "between folders"),
        ("a\0b", "printable"),
    ],
)
def test_search_paths_that_cannot_be(path: str, limit: str) -> None:
    with pytest.raises(BadInput, match=limit):
        check_search_paths(["src", path])


@pytest.mark.requirement("HUB-15")
def test_other_limits() -> None:
    assert check_notes("x" * 500) == "x" * 500
    with pytest.raises(BadInput, match="500"):
        check_notes("x" * 501)
    with pytest.raises(BadInput, match="control"):
        check_notes("bell\a")
    with pytest.raises(BadInput, match="32"):
        check_search_paths([f"p{n}" for n in range(33)])
    for ref in ("-x", "x" * 129, "a b", "a..b"):
        with pytest.raises(BadInput):
            make_spec("https://example.org/r", ref=ref)
    for text in ("", "/etc/passwd", "file:///etc", "ssh://host/r", "ftp://host/r", "httpx"):
        with pytest.raises(BadInput):
            make_spec(text)


@given(st.text(max_size=80))
def test_an_accepted_name_can_head_a_citation(name: str) -> None:
    try:
        accepted = check_resource_name(name)
    except BadInput:
        return
    assert accepted == name
    assert len(name) <= 64
    assert not set(name) & set("[]:() \n")
    assert all(part not in {"", ".."} for part in name.split("/"))


@given(st.lists(st.text(alphabet="./ab\\\n", max_size=12), max_size=5))
def test_an_accepted_path_stays_inside(paths: list[str]) -> None:
    try:
        accepted = check_search_paths(paths)
    except BadInput:
        return
    assert check_search_paths(accepted) == accepted
    assert len(set(accepted)) == len(accepted)
    for path in accepted:
        assert not path.startswith("/")
        assert not set(path.split("/")) & {"", ".", ".."}


@given(st.text(max_size=60), st.none() | st.text(max_size=20))
def test_any_text_makes_a_spec_or_is_refused(text: str, ref: str | None) -> None:
    for prefix in ("", "pypi:", "npm:", "https://", "https://host.example/"):
        try:
            spec = make_spec(prefix + text, ref=ref)
        except BadInput:
            continue
        assert check_resource_name(spec.name) == spec.name
        assert spec.source.kind is not SourceKind.LOCAL
        assert spec.source.ref is None or len(spec.source.ref) <= 128


@given(st.text("ab-2", min_size=1, max_size=64), st.sets(st.text("ab-2", min_size=1, max_size=3)))
def test_a_free_name_is_free_and_no_longer_than_allowed(wanted: str, taken: set[str]) -> None:
    taken |= {wanted}
    name = free_name(wanted, taken)
    assert name not in taken
    assert len(name) <= 64


def test_every_state_can_end() -> None:
    assert set(MOVES) == set(FetchState)
    assert all(FetchState.FETCHING in MOVES[state] for state in FetchState)
