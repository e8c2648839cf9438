"""No registry's address and no path of somebody's machine stands in a tracked file."""

import re
from collections.abc import Iterator

from script.rules.file import File, Problem

# Written in pieces, so that this file does not break its own rule.
_REGISTRIES = (
    "pypi" + r"\.org",
    "pythonhosted" + r"\.org",
    "npmjs" + r"\.(?:com|org)",
    "yarnpkg" + r"\.com",
    "crates" + r"\.io",
    "proxy\\.golang" + r"\.org",
)
_MACHINE = (
    "/work" + r"/(?:main|shared)\b",
    "/opt" + r"/pypi",
    "/root" + r"/\.?\w",
    "/Users" + r"/\w",
    # Names inside a sandbox, and of nobody in tests, are no machine's.
    "/home" + r"/(?!jail\b|agent\b|some)\w",
)
_REGISTRY = re.compile("|".join(_REGISTRIES), re.IGNORECASE)
_PATH = re.compile(r"(?<![\w.])(?:" + "|".join(_MACHINE) + ")")


def check(file: File) -> Iterator[Problem]:
    """Yield every line that holds such an address."""
    for number, line in enumerate(file.lines, 1):
        if found := _REGISTRY.search(line):
            yield file.problem(
                number, f"{found[0]}: registries are reached through their clients, not by address"
            )
        if found := _PATH.search(line):
            yield file.problem(number, f"{found[0]}: a path of one machine")
