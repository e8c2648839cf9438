"""What the store remembers: small JSON files, each replaced in one step.

Nothing here knows git or packages, and nothing is locked here: the store does that.
"""

import hashlib
import secrets
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import msgspec

from firsthand.sources.source import Source

_Record = TypeVar("_Record")


class RefRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What a ref meant when the remote was last asked."""

    source: Source
    revision: str
    name: str
    fixed: bool
    resolved_at: datetime


class CheckoutRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One tree on disk and where it came from."""

    id: str
    source: Source
    ref: str
    revision: str
    commit: str
    committed_at: datetime | None
    fetched_at: datetime
    has_index: bool
    size_bytes: int
    file_count: int
    link_template: str | None
    notes: tuple[str, ...] = ()


class _Pointer(msgspec.Struct, frozen=True):
    id: str


class Records:
    """Reads and writes the records under one folder."""

    def __init__(self, root: Path, scratch: Path) -> None:
        self._refs = root / "refs"
        self._checkouts = root / "checkouts"
        self._revisions = root / "revisions"
        self._scratch = scratch

    def make_folders(self) -> None:
        """Make the folders, once."""
        for folder in (self._refs, self._checkouts, self._revisions):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def ref(self, source: Source) -> RefRecord | None:
        """Return what is known of the ref of this source."""
        return _read(self._refs / _name(f"{source.key}@{source.ref or ''}"), RefRecord)

    def save_ref(self, record: RefRecord) -> None:
        """Remember what a ref means now."""
        source = record.source
        self._write(self._refs / _name(f"{source.key}@{source.ref or ''}"), record)

    def checkout(self, checkout_id: str) -> CheckoutRecord | None:
        """Return the checkout of that id."""
        if not checkout_id.isalnum():
            return None
        return _read(self._checkouts / f"{checkout_id}.json", CheckoutRecord)

    def checkout_of(self, source: Source, revision: str) -> CheckoutRecord | None:
        """Return the checkout of a revision, under whichever ref it was asked for first."""
        pointer = _read(self._revisions / _name(f"{source.key}#{revision}"), _Pointer)
        return None if pointer is None else self.checkout(pointer.id)

    def is_superseded(self, record: CheckoutRecord) -> bool:
        """Whether another checkout has taken the place of this one."""
        present = self.checkout_of(record.source, record.revision)
        return present is not None and present.id != record.id

    def save_checkout(self, record: CheckoutRecord) -> None:
        """Remember a checkout."""
        self._write(self._checkouts / f"{record.id}.json", record)
        pointer = self._revisions / _name(f"{record.source.key}#{record.revision}")
        self._write(pointer, _Pointer(record.id))

    def remove_checkout(self, record: CheckoutRecord) -> None:
        """Forget a checkout, but not the one that has taken its place."""
        if not self.is_superseded(record):
            pointer = self._revisions / _name(f"{record.source.key}#{record.revision}")
            pointer.unlink(missing_ok=True)
        (self._checkouts / f"{record.id}.json").unlink(missing_ok=True)

    def all_checkouts(self) -> list[CheckoutRecord]:
        """Return every checkout that is remembered."""
        found = (_read(path, CheckoutRecord) for path in self._checkouts.glob("*.json"))
        return [record for record in found if record is not None]

    def _write(self, path: Path, record: msgspec.Struct) -> None:
        half_done = self._scratch / f"record-{secrets.token_hex(8)}"
        half_done.write_bytes(msgspec.json.encode(record))
        half_done.rename(path)


def _name(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:32] + ".json"


def _read(path: Path, form: type[_Record]) -> _Record | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=form)
    except (FileNotFoundError, msgspec.DecodeError):
        # An unreadable record is as good as none: what it describes is fetched again.
        return None
