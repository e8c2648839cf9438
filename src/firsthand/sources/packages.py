"""What Python and npm packages have in common: a file is downloaded, then unpacked in a jail."""

import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from firsthand.sources.errors import EmptySource, FetchFailed, SourceTooLarge
from firsthand.sources.jail import Jail, python_folders, run_jailed
from firsthand.sources.limits import FetchLimits
from firsthand.sources.origin import Unpacked
from firsthand.sources.source import Source


class _Said(msgspec.Struct, rename="camel"):
    files: int = 0
    bytes: int = 0
    sha256: str = ""
    skipped: int = 0
    error: str = ""
    too_large: bool = False


async def unpack_package(
    source: Source, archive: Path, tree: Path, limits: FetchLimits, notes: Sequence[str] = ()
) -> Unpacked:
    """Unpack a downloaded package into the folder `tree`, which does not exist yet."""
    jail = Jail(
        writable=(tree.parent,),
        readable=(*python_folders(), archive),
        seconds=limits.unpack_seconds,
        file_bytes=limits.tree_bytes,
        memory_bytes=2 * 1024**3,
    )
    program = [sys.executable, "-I", "-m", "firsthand.sources.unpack"]
    bounds = [str(limits.tree_files), str(limits.tree_bytes)]
    done = await run_jailed([*program, str(archive), str(tree), *bounds], jail)
    if done.code != 0:
        raise FetchFailed(f"Unpacking {source} failed: {done.complaint[-300:]}")
    said = msgspec.json.decode(done.stdout, type=_Said)
    if said.error:
        kind = SourceTooLarge if said.too_large else FetchFailed
        raise kind(f"The package {source} cannot be unpacked: {said.error}.")
    if said.files == 0:
        raise EmptySource(f"The package {source} holds no file.")
    skipped = (f"{said.skipped} entries that no tree can hold are left out.",)
    return Unpacked(
        commit=f"sha256:{said.sha256}",
        committed_at=None,
        size_bytes=said.bytes,
        file_count=said.files,
        notes=(*notes, *(skipped if said.skipped else ())),
    )
