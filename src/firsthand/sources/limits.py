"""Bounds on what fetching a source may cost."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """Each is enforced while fetching or unpacking; passing one is a `SourceError`.

    `download_bytes` bounds what comes over the network, `tree_bytes` and `tree_files` what is
    unpacked from it. The seconds are per step.
    """

    resolve_seconds: float = 60.0
    fetch_seconds: float = 1_800.0
    unpack_seconds: float = 600.0
    index_seconds: float = 900.0
    download_bytes: int = 4 * 1024**3
    tree_bytes: int = 8 * 1024**3
    tree_files: int = 500_000
    refs_bytes: int = 64 * 1024**2
