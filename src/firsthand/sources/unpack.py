"""Unpacks one package file: a wheel, a zip or a tar. Run in a jail, by `packages.py`.

Writes regular files, folders and symbolic links and nothing else, never outside the folder and
never beyond the limits. Prints one JSON object: {"files", "bytes", "sha256", "skipped"} or
{"error", "tooLarge"}.
"""

import hashlib
import json
import stat
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

_CHUNK = 1024 * 1024


class Refused(Exception):  # it ends this program, with its message
    """The archive cannot be unpacked."""

    def __init__(self, message: str, *, too_large: bool = False) -> None:
        super().__init__(message)
        self.too_large = too_large


@dataclass(frozen=True, slots=True)
class Member:
    """One entry: a file with its bytes, or a symbolic link with its target."""

    name: str
    content: IO[bytes] | None
    target: str | None = None


class Unpacker:
    """Writes members into one folder and counts them."""

    def __init__(self, tree: Path, max_files: int, max_bytes: int) -> None:
        self._tree = tree
        self._max_files = max_files
        self._max_bytes = max_bytes
        self._links: dict[PurePosixPath, str] = {}
        self.files = 0
        self.bytes = 0
        self.skipped = 0

    def add(self, member: Member) -> None:
        """Write a file at once; keep a link for the end, so that no file goes through one."""
        path = _safe(member.name)
        if path is None or (member.content is None and member.target is None):
            self.skipped += 1
            return
        self.files += 1
        if self.files > self._max_files:
            raise Refused(f"it holds more than {self._max_files:,} files", too_large=True)
        if member.content is None:
            self._links[path] = member.target or ""
            return
        place = self._tree / path
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            with place.open("wb") as out:
                self._copy(member.content, out)
        except (FileExistsError, IsADirectoryError, NotADirectoryError):
            self.skipped += 1

    def finish(self) -> None:
        """Make the links, where nothing else lies."""
        for path, target in self._links.items():
            place = self._tree / path
            try:
                if any(p.is_symlink() for p in place.parents):
                    raise FileExistsError
                place.parent.mkdir(parents=True, exist_ok=True)
                place.symlink_to(target)
            except (FileExistsError, NotADirectoryError):
                self.skipped += 1

    def _copy(self, content: IO[bytes], out: IO[bytes]) -> None:
        while chunk := content.read(_CHUNK):
            self.bytes += len(chunk)
            if self.bytes > self._max_bytes:
                raise Refused(f"it holds more than {self._max_bytes:,} bytes", too_large=True)
            out.write(chunk)


def read_members(archive: Path) -> Iterator[Member]:
    """Give every entry of the archive, whatever its form is."""
    if zipfile.is_zipfile(archive):
        yield from _read_zip(archive)
    else:
        yield from _read_tar(archive)


def _read_zip(archive: Path) -> Iterator[Member]:
    with zipfile.ZipFile(archive) as opened:
        for info in opened.infolist():
            if info.is_dir():
                continue
            with opened.open(info) as content:
                if stat.S_ISLNK(info.external_attr >> 16):
                    yield Member(info.filename, None, content.read(4096).decode("utf-8", "replace"))
                else:
                    yield Member(info.filename, content)


def _read_tar(archive: Path) -> Iterator[Member]:
    with tarfile.open(archive, errors="surrogateescape") as opened:
        for info in opened:
            if info.isdir():
                continue
            if info.issym():
                yield Member(info.name, None, info.linkname)
            elif info.isreg() or info.islnk():
                # For a hard link tarfile gives the bytes of what it points at in the archive.
                yield Member(info.name, opened.extractfile(info))
            else:
                yield Member(info.name, None)


def _safe(name: str) -> PurePosixPath | None:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts or "\0" in name:
        return None
    return path


def _lift(tree: Path) -> None:
    """Drop the one folder that source archives wrap everything in."""
    inside = list(tree.iterdir())
    if len(inside) == 1 and inside[0].is_dir() and not inside[0].is_symlink():
        wrapper = inside[0].rename(tree.parent / "wrapper")
        tree.rmdir()
        wrapper.rename(tree)


def main(archive: Path, tree: Path, max_files: int, max_bytes: int) -> dict[str, object]:
    """Unpack and say what was done."""
    tree.mkdir()
    unpacker = Unpacker(tree, max_files, max_bytes)
    try:
        for member in read_members(archive):
            unpacker.add(member)
        unpacker.finish()
    except Refused as refused:
        return {"error": str(refused), "tooLarge": refused.too_large}
    except (
        OSError, EOFError, KeyError, ValueError, RuntimeError,
        tarfile.TarError, zipfile.BadZipFile,
    ) as error:  # fmt: skip
        return {"error": f"it is damaged: {error}", "tooLarge": False}
    if archive.suffix != ".whl":
        _lift(tree)
    with archive.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        "files": unpacker.files,
        "bytes": unpacker.bytes,
        "sha256": digest,
        "skipped": unpacker.skipped,
    }


if __name__ == "__main__":
    said = main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
    sys.stdout.write(json.dumps(said))
