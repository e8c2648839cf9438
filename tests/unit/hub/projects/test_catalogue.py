"""The catalogue holds only what can be added as it is."""

from firsthand.hub.projects.catalogue import CATALOGUE, suggestions
from firsthand.hub.projects.resource import make_spec


def test_every_entry_can_be_added() -> None:
    for entry in CATALOGUE:
        assert make_spec(entry.source, name=entry.name).name == entry.name
        assert entry.about
    assert len({entry.name for entry in CATALOGUE}) == len(CATALOGUE)


def test_what_is_there_is_not_suggested() -> None:
    assert "httpx" not in {entry.name for entry in suggestions({"httpx"})}
