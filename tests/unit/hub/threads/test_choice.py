"""What a question reads when nothing is named, and when it is asked again."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from firsthand.hub.errors import BadInput
from firsthand.hub.ids import ProjectId, ResourceId
from firsthand.hub.projects.resource import Fetched, FetchState, Resource, make_spec
from firsthand.hub.threads.choice import choose_sources, without_broken

NOW = datetime(2026, 1, 1, tzinfo=UTC)
FETCHED = Fetched("tree", "main", "c" * 40, NOW, NOW, 1)


def resource(name: str, state: FetchState, fetched: Fetched | None = None) -> Resource:
    return Resource(
        id=ResourceId(name),
        project_id=ProjectId("project"),
        spec=make_spec(f"pypi:{name}", name=name),
        state=state,
        message=None,
        fetched=fetched,
        created_at=NOW,
    )


GOOD = resource("good", FetchState.READY, FETCHED)
COMING = resource("coming", FetchState.FETCHING)
STALE = resource("stale", FetchState.FAILED, FETCHED)
BROKEN = resource("broken", FetchState.FAILED)


def test_one_broken_source_does_not_fail_a_question_to_all() -> None:
    chosen = choose_sources((), [GOOD, COMING, STALE, BROKEN], allow_local=False)
    assert [source.name for source in chosen] == ["good", "coming", "stale"]


def test_a_broken_source_is_read_where_it_is_named() -> None:
    (chosen,) = choose_sources(("broken",), [GOOD, BROKEN], allow_local=False)
    assert chosen.name == "broken"


def test_with_broken_sources_only_there_is_nothing_to_read() -> None:
    with pytest.raises(BadInput, match="could be fetched"):
        choose_sources((), [BROKEN], allow_local=False)


def test_asked_again_what_has_turned_out_broken_is_left_out() -> None:
    asked = choose_sources((), [GOOD, COMING], allow_local=False)
    failed = replace(COMING, state=FetchState.FAILED)
    assert [source.name for source in without_broken(asked, [GOOD, failed])] == ["good"]
    only = choose_sources(("coming",), [COMING], allow_local=False)
    assert without_broken(only, [failed]) == only
