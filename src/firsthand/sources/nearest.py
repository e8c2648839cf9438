"""Finds what a person may have meant."""

import difflib
from collections.abc import Sequence


def nearest(wanted: str, names: Sequence[str], count: int = 5) -> list[str]:
    """Return the names that are most like the wanted one, best first."""
    plain = {name.lower(): name for name in reversed(names)}
    close = difflib.get_close_matches(wanted.lower(), plain, n=count, cutoff=0.5)
    return [plain[name] for name in close]
