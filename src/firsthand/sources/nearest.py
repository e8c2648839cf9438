"""Finds what a person may have meant."""

import difflib
from collections.abc import Sequence

from packaging.version import InvalidVersion, Version


def nearest(wanted: str, names: Sequence[str], count: int = 5) -> list[str]:
    """Return the names that are most like the wanted one, best first."""
    plain = {name.lower(): name for name in reversed(names)}
    close = difflib.get_close_matches(wanted.lower(), plain, n=count, cutoff=0.5)
    return [plain[name] for name in close]


def nearest_versions(wanted: str, versions: Sequence[str]) -> list[str]:
    """Return the versions around the wanted one, newest first, as `versions` is."""
    place = read_version(wanted)
    if place is None:
        return nearest(wanted, versions) or list(versions[:5])
    read = [(text, version) for text in versions if (version := read_version(text)) is not None]
    above = [text for text, version in read if version > place]
    below = [text for text, version in read if version < place]
    return [*above[-2:], *below[:3]]


def read_version(text: str) -> Version | None:
    """Return the version, or `None`: indexes list what people uploaded, whatever it looks like."""
    try:
        return Version(text)
    except InvalidVersion:
        return None
