"""The store of checkouts: one copy of a commit per host, however many ask, and whoever is killed.

Two locks of the host guard the work: one for a source (asking the remote, fetching), one for a
revision of it (unpacking, indexing). What is half-done lies apart and becomes visible by one
rename. Who may see which checkout is decided elsewhere.
"""

import hashlib
import importlib.util
import os
import secrets
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import anyio.to_thread

from firsthand.sources.errors import FetchFailed, FetchTimedOut, SourceError
from firsthand.sources.git import Git
from firsthand.sources.git_url import check_url
from firsthand.sources.index.layout import is_current
from firsthand.sources.jail import Jail, python_folders, run_jailed
from firsthand.sources.limits import FetchLimits
from firsthand.sources.links import link_template
from firsthand.sources.locks import HeldLock, hold, try_lock
from firsthand.sources.mirrors import Mirrors, remove_leftovers
from firsthand.sources.npm import NpmRegistry
from firsthand.sources.origin import Origin
from firsthand.sources.progress import Progress, Report, ignore
from firsthand.sources.pypi import PythonIndex
from firsthand.sources.records import CheckoutRecord, Records, RefRecord
from firsthand.sources.source import Source, SourceKind
from firsthand.sources.work import WorkFolders, delete_tree, walk_files

DEFAULT_MAX_AGE = timedelta(minutes=5)
# A person waits for it.
_CHECK_SECONDS = 3.0
_INDEX_MODULE = "firsthand.sources.index"
# Unpacking and indexing take a processor each; more of them at once would only take memory.
_BUILDS_AT_ONCE = max(2, os.cpu_count() or 1)


@dataclass(frozen=True, slots=True)
class Checkout:
    """A read-only tree of one commit, with what is known about it.

    `source` is what was asked, `ref` the name that it was found under, `fetched_at` the last
    time the remote confirmed it. `notes` are sentences for people, about what was left out.
    """

    id: str
    source: Source
    ref: str
    commit: str
    committed_at: datetime | None
    fetched_at: datetime
    tree: Path
    index: Path | None
    size_bytes: int
    file_count: int
    link_template: str | None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StoreSizes:
    """How much the store holds, in bytes of file contents."""

    checkouts: int
    tree_bytes: int
    mirrors: int
    mirror_bytes: int


def _utc_now() -> datetime:
    return datetime.now(UTC)


class SourceStore:
    """All sources of one host under one folder, which several processes may use at once."""

    def __init__(
        self,
        root: Path,
        *,
        allowed_private_hosts: frozenset[str] = frozenset(),
        fetch_limits: FetchLimits | None = None,
        clock: Callable[[], datetime] = _utc_now,
    ) -> None:
        root = root.absolute()
        self._limits = fetch_limits or FetchLimits()
        self._clock = clock
        self._locks = root / "locks"
        self._mirrors_root = root / "mirrors"
        self._trees = root / "trees"
        work = root / "work"
        for folder in (root, self._locks, self._mirrors_root, self._trees, work):
            folder.mkdir(parents=True, exist_ok=True, mode=0o711)
        # Paths in it are unguessable, and it cannot be listed from inside a sandbox.
        self._trees.chmod(0o311)
        self._work_root = work
        self._work = WorkFolders(work, self._locks / "work")
        self._records = Records(root / "records", work)
        self._records.make_folders()
        git = Git(self._limits, allowed_private_hosts)
        mirrors = Mirrors(self._mirrors_root, git, self._limits, self._work.new)
        self._origins: dict[SourceKind, Origin] = {
            SourceKind.GIT: mirrors,
            SourceKind.LOCAL: mirrors,
            SourceKind.PYPI: PythonIndex(self._limits, self._work.new),
            SourceKind.NPM: NpmRegistry(self._limits, self._work.new),
        }
        self._mirrors = mirrors
        self._builders = anyio.Semaphore(_BUILDS_AT_ONCE)
        self._allowed_hosts = allowed_private_hosts

    @property
    def trees(self) -> Path:
        """The folder to mount read-only in sandboxes; holds `<id>/tree` and `<id>/index`."""
        return self._trees

    async def checkout(
        self,
        source: Source,
        *,
        max_age: timedelta | None = None,
        progress: Report | None = None,
    ) -> Checkout:
        """Return a checkout of the source, fetching what is not on this host yet.

        A branch or tag that was looked up within `max_age` is not asked for again. Without
        `max_age` that is five minutes, and where the remote cannot be reached, what is there is
        served however old it is: its `fetched_at` tells. Raises `SourceError`.
        """
        asked_after = self._clock() - (DEFAULT_MAX_AGE if max_age is None else max_age)
        if found := self._find_fresh(source, asked_after):
            return found
        try:
            return await self._fetch(
                source, asked_after, serve_stale=max_age is None, report=progress or ignore
            )
        except OSError as error:
            raise FetchFailed(
                f"The store of sources cannot be written: {error.strerror or error}.",
                "Look at the free space and the permissions of the data folder.",
            ) from error

    async def check_address(self, source: Source) -> None:
        """Refuse at once what would be refused at every fetch.

        Raises `AddressRefused`, or `InvalidSource`. A host that cannot be looked up in a moment is
        let through: that may pass, and the fetch checks again.
        """
        if source.kind is not SourceKind.GIT:
            return
        with anyio.move_on_after(_CHECK_SECONDS), suppress(FetchFailed, FetchTimedOut):
            await check_url(source.location, self._allowed_hosts)

    def find(self, checkout_id: str) -> Checkout | None:
        """Return the checkout of that id, as it was first asked for."""
        record = self._records.checkout(checkout_id)
        if record is None or not self._tree_of(record.id).is_dir():
            return None
        return self._describe_checkout(record, record.source, record.ref, record.fetched_at)

    def find_commit(self, source: Source, commit: str) -> Checkout | None:
        """Return the checkout of a commit of this source, under whichever ref it was asked for."""
        record = self._records.checkout_of(source, commit)
        if record is None and source.kind in (SourceKind.PYPI, SourceKind.NPM):
            # The revision of a package is its version; the commit is the digest of its file.
            record = next(
                (
                    one
                    for one in self._records.all_checkouts()
                    if one.source.key == source.key and one.commit == commit
                ),
                None,
            )
        return None if record is None else self.find(record.id)

    async def remove(self, checkout_id: str) -> bool:
        """Remove a checkout, and the mirror of its source with the last of them."""
        record = self._records.checkout(checkout_id)
        if record is None:
            return False
        key = f"{record.source.key}#{record.revision}"
        async with self._work.new() as work, hold(self._lock_of("revision", key)):
            # A record without a tree is cleared away later; a tree without one would be lost.
            self._withdraw(record.id, work)
            self._records.remove_checkout(record)
        self._forget_unused(record.source)
        return True

    async def clean_up(self) -> None:
        """Remove what killed processes left half-way. Other processes are not disturbed."""
        await self._work.remove_abandoned()
        for record in self._records.all_checkouts():
            if self._records.is_superseded(record) or not self._tree_of(record.id).is_dir():
                await self.remove(record.id)
        await anyio.to_thread.run_sync(self._sweep_mirrors)

    def describe(self) -> StoreSizes:
        """Return how much there is. Looks at every mirror, so call it in a thread."""
        records = self._records.all_checkouts()
        mirrors = [path for path in self._mirrors_root.iterdir() if path.is_dir()]
        return StoreSizes(
            checkouts=len(records),
            tree_bytes=sum(record.size_bytes for record in records),
            mirrors=len(mirrors),
            mirror_bytes=sum(
                path.stat().st_size for mirror in mirrors for path in walk_files(mirror)
            ),
        )

    async def _fetch(
        self, source: Source, asked_after: datetime, *, serve_stale: bool, report: Report
    ) -> Checkout:
        async with hold(self._lock_of("use", source.key), shared=True):
            async with hold(self._lock_of("source", source.key), report=report) as lock:
                tell = _both(report, lock)
                known = await self._resolve(
                    source, asked_after, serve_stale=serve_stale, report=tell
                )
                if found := self._find(source, known):
                    return found
                await self._origins[source.kind].fetch(source, known.revision, tell)
            return await self._unpack(source, known, report)

    async def _resolve(
        self, source: Source, asked_after: datetime, *, serve_stale: bool, report: Report
    ) -> RefRecord:
        known = self._records.ref(source)
        if known is not None and (known.fixed or known.resolved_at >= asked_after):
            return known
        asked_at = self._clock()
        try:
            resolution = await self._origins[source.kind].resolve(source, report)
        except (FetchFailed, FetchTimedOut):
            if known is not None and serve_stale and self._find(source, known):
                return known
            raise
        record = RefRecord(
            source=source,
            revision=resolution.revision,
            name=resolution.name,
            fixed=resolution.fixed,
            resolved_at=asked_at,
        )
        self._records.save_ref(record)
        return record

    async def _unpack(self, source: Source, known: RefRecord, report: Report) -> Checkout:
        key = f"{source.key}#{known.revision}"
        async with hold(self._lock_of("revision", key), report=report) as lock:
            if found := self._find(source, known):
                return found
            tell = _both(report, lock)
            if self._builders.value == 0:
                tell(Progress("Waiting for other sources"))
            async with self._builders, self._work.new() as work:
                await self._make(source, known, work, tell)
        found = self._find(source, known)
        if found is None:
            raise FetchFailed(f"The checkout of {source} was removed meanwhile.", "Try again.")
        return found

    async def _make(self, source: Source, known: RefRecord, work: Path, report: Report) -> None:
        folder = work / "checkout"
        folder.mkdir()
        tree, index = folder / "tree", folder / "index"
        origin = self._origins[source.kind]
        unpacked = await origin.unpack(source, known.revision, tree, report)
        problem = await self._build_index(tree, index, report)
        await _seal(folder)
        checkout_id = secrets.token_hex(16)
        # The record comes first: a tree without a record could never be found and removed,
        # a record without a tree counts for nothing.
        self._records.save_checkout(
            CheckoutRecord(
                id=checkout_id,
                source=source,
                ref=known.name,
                revision=known.revision,
                commit=unpacked.commit,
                committed_at=unpacked.committed_at,
                fetched_at=known.resolved_at,
                has_index=index.is_dir(),
                size_bytes=unpacked.size_bytes,
                file_count=unpacked.file_count,
                link_template=_links(source, unpacked.commit),
                notes=(*unpacked.notes, *([problem] if problem else [])),
            )
        )
        folder.rename(self._trees / checkout_id)
        (self._trees / checkout_id).chmod(0o555)

    async def _build_index(self, tree: Path, index: Path, report: Report) -> str | None:
        """Build the search index; return what went wrong, since a tree alone is useful too."""
        if importlib.util.find_spec(f"{_INDEX_MODULE}.__main__") is None:
            return None
        report(Progress("Building the search index"))
        index.mkdir()
        jail = Jail(
            writable=(index,),
            readable=(*python_folders(), tree),
            seconds=self._limits.index_seconds,
        )
        command = [sys.executable, "-I", "-m", _INDEX_MODULE, str(tree), str(index)]
        try:
            done = await run_jailed(command, jail)
        except SourceError as error:
            problem = error.message
        else:
            if done.code == 0:
                return None
            problem = done.complaint[-300:] or f"exit code {done.code}"
        await anyio.to_thread.run_sync(delete_tree, index)
        return f"The search index could not be built: {problem}"

    def _find_fresh(self, source: Source, asked_after: datetime) -> Checkout | None:
        known = self._records.ref(source)
        if known is None or not (known.fixed or known.resolved_at >= asked_after):
            return None
        return self._find(source, known)

    def _find(self, source: Source, known: RefRecord) -> Checkout | None:
        record = self._records.checkout_of(source, known.revision)
        if record is None or not self._tree_of(record.id).is_dir():
            return None
        if record.has_index and not is_current(self._trees / record.id / "index"):
            # Made by another version of Firsthand. A new checkout takes its place, since this
            # one is read-only and may be in use.
            return None
        return self._describe_checkout(record, source, known.name, known.resolved_at)

    def _describe_checkout(
        self, record: CheckoutRecord, source: Source, ref: str, fetched_at: datetime
    ) -> Checkout:
        folder = self._trees / record.id
        return Checkout(
            id=record.id,
            source=source,
            ref=ref,
            commit=record.commit,
            committed_at=record.committed_at,
            fetched_at=fetched_at,
            tree=folder / "tree",
            index=folder / "index" if record.has_index else None,
            size_bytes=record.size_bytes,
            file_count=record.file_count,
            link_template=record.link_template,
            notes=record.notes,
        )

    def _withdraw(self, checkout_id: str, work: Path) -> None:
        folder = self._trees / checkout_id
        if folder.is_dir():
            # A folder can only be moved by those who may write in it.
            folder.chmod(0o700)
            folder.rename(work / "withdrawn")

    def _forget_unused(self, source: Source) -> None:
        # Whoever is between fetching and unpacking holds this lock together with others.
        if (descriptor := try_lock(self._lock_of("use", source.key))) is not None:
            try:
                if all(r.source.key != source.key for r in self._records.all_checkouts()):
                    self._origins[source.kind].forget(source)
            finally:
                os.close(descriptor)

    def _sweep_mirrors(self) -> None:
        keys = {r.source.key: r.source for r in self._records.all_checkouts()}
        wanted = {self._mirrors.path_of(source) for source in keys.values()}
        for mirror in self._mirrors_root.iterdir():
            descriptor = try_lock(self._locks / f"use-{mirror.name.removesuffix('.git')}")
            if descriptor is not None:
                try:
                    if mirror in wanted:
                        remove_leftovers(mirror)
                    else:
                        delete_tree(mirror)
                finally:
                    os.close(descriptor)

    def _tree_of(self, checkout_id: str) -> Path:
        return self._trees / checkout_id / "tree"

    def _lock_of(self, purpose: str, key: str) -> Path:
        return self._locks / f"{purpose}-{hashlib.sha256(key.encode()).hexdigest()[:32]}"


def _both(report: Report, lock: HeldLock) -> Report:
    def tell(progress: Progress) -> None:
        lock.tell(progress)
        report(progress)

    return tell


def _links(source: Source, commit: str) -> str | None:
    return link_template(source.location, commit) if source.kind is SourceKind.GIT else None


async def _seal(folder: Path) -> None:
    """Make everything in a folder read-only. Done in a jail, by a program that follows no link."""
    inside = [str(folder / name) for name in ("tree", "index") if (folder / name).is_dir()]
    jail = Jail(writable=(folder,), seconds=300.0)
    done = await run_jailed(["/usr/bin/chmod", "-R", "a-w,a+rX", "--", *inside], jail)
    if done.code != 0:
        raise FetchFailed(f"Making the checkout read-only failed: {done.complaint[:300]}")
