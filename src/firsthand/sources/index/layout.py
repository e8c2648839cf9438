"""What lies in an index folder, and which version of it this code writes and reads."""

from dataclasses import dataclass
from pathlib import Path

import msgspec

FORMAT_VERSION = 4

FORMAT_FILE = "format.json"
FILES_FILE = "files.json"
PASSAGES = "passages"
FILES = "files"
SYMBOLS = "symbols"


class IndexUnusable(Exception):
    """The index is missing, broken or of another format; building it again mends that."""


class IndexStats(msgspec.Struct, frozen=True, rename="camel"):
    """What an index holds, as counted when it was built."""

    files: int
    passages: int
    symbols: int
    skipped: int
    seconds: float


class IndexFormat(msgspec.Struct, frozen=True, rename="camel"):
    """The content of `format.json`, written last: an index without it is not complete."""

    version: int
    stats: IndexStats


class FileRow(msgspec.Struct, frozen=True, array_like=True):
    """One indexed file; its number is its place in the list."""

    path: str
    lines: int
    nature: str


@dataclass(frozen=True)
class IndexFolder:
    """The paths inside one index folder."""

    root: Path

    @property
    def passages(self) -> Path:
        """Tantivy index of windows of text."""
        return self.root / PASSAGES

    @property
    def files(self) -> Path:
        """Tantivy index of whole files: paths, names, documentation."""
        return self.root / FILES

    @property
    def symbols(self) -> Path:
        """Tantivy index of definitions."""
        return self.root / SYMBOLS

    def read_format(self) -> IndexFormat:
        """Say what was written here; raises `IndexUnusable`."""
        try:
            found = msgspec.json.decode(
                (self.root / FORMAT_FILE).read_bytes(), type=IndexFormat, strict=True
            )
        except (OSError, msgspec.DecodeError) as problem:
            raise IndexUnusable(f"there is no complete index in {self.root}") from problem
        if found.version != FORMAT_VERSION:
            raise IndexUnusable(
                f"the index has format {found.version}, this version reads {FORMAT_VERSION}"
            )
        return found

    def write_format(self, stats: IndexStats) -> None:
        """Mark the index as complete."""
        content = IndexFormat(version=FORMAT_VERSION, stats=stats)
        (self.root / FORMAT_FILE).write_bytes(msgspec.json.encode(content))

    def read_files(self) -> list[FileRow]:
        """Return the table of files; raises `IndexUnusable`."""
        try:
            return msgspec.json.decode((self.root / FILES_FILE).read_bytes(), type=list[FileRow])
        except (OSError, msgspec.DecodeError) as problem:
            raise IndexUnusable(f"the table of files in {self.root} cannot be read") from problem

    def write_files(self, rows: list[FileRow]) -> None:
        """Write the table of files."""
        (self.root / FILES_FILE).write_bytes(msgspec.json.encode(rows))


def is_current(index: Path) -> bool:
    """Whether a complete index of this format lies in the folder; if not, build it again."""
    try:
        IndexFolder(index).read_format()
    except IndexUnusable:
        return False
    return True
