"""Git repositories as sources: one bare mirror each, holding the wanted commits and no more."""

import hashlib
import re
import stat
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from pathlib import Path

from firsthand.sources.errors import EmptySource, RefNotFound, SourceTooLarge
from firsthand.sources.git import Git, TreeEntry
from firsthand.sources.git_output import RemoteRefs
from firsthand.sources.limits import FetchLimits
from firsthand.sources.nearest import nearest
from firsthand.sources.origin import Resolution, Unpacked
from firsthand.sources.progress import Progress, Report
from firsthand.sources.source import Source
from firsthand.sources.work import delete_tree, walk_files

_FULL_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_ABBREVIATED = re.compile(r"[0-9a-f]{4,63}")
_SUBMODULE = "160000"


class Mirrors:
    """The origin for git repositories, remote and local."""

    def __init__(
        self,
        root: Path,
        git: Git,
        limits: FetchLimits,
        new_work_folder: Callable[[], AbstractAsyncContextManager[Path]],
    ) -> None:
        self._root = root
        self._git = git
        self._limits = limits
        self._new_work_folder = new_work_folder

    def path_of(self, source: Source) -> Path:
        """Where the mirror of this source lies, or would lie."""
        return self._root / f"{hashlib.sha256(source.key.encode()).hexdigest()[:32]}.git"

    async def resolve(self, source: Source, report: Report) -> Resolution:
        """Look the ref up: branch, tag, full commit, abbreviated commit, in this order."""
        report(Progress("Asking the remote", detail=source.location))
        wanted = source.ref
        refs = await self._git.list_refs(source)
        if not refs.names and refs.head is None:
            raise EmptySource(
                f"{source.location} is empty: it has no commit.", "Push something to it first."
            )
        if wanted is None:
            return _default_of(refs, source)
        short = wanted.removeprefix("refs/heads/").removeprefix("refs/tags/")
        for names in (refs.branches, refs.tags):
            if commit := names.get(wanted) or names.get(short):
                return Resolution(commit, short, fixed=False)
        lower = wanted.lower()
        if _FULL_COMMIT.fullmatch(lower):
            return Resolution(lower, lower, fixed=True)
        if _ABBREVIATED.fullmatch(lower):
            return await self._complete(source, lower, refs, report)
        raise _no_such_ref(source, refs)

    async def fetch(self, source: Source, revision: str, report: Report) -> None:
        """Fetch one commit into the mirror. A new mirror appears only when it is complete."""
        mirror = self.path_of(source)
        if mirror.is_dir():
            remove_leftovers(mirror)
            if not await self._git.has_commit(mirror, revision):
                await self._git.fetch_commit(source, mirror, revision, report)
            return
        async with self._new_work_folder() as work:
            fresh = work / "mirror.git"
            await self._git.init(fresh, hash_chars=len(revision))
            await self._git.fetch_commit(source, fresh, revision, report)
            fresh.rename(mirror)

    async def unpack(self, source: Source, revision: str, tree: Path, report: Report) -> Unpacked:
        """Write the files of a commit, after a look at how many and how large they are."""
        mirror = self.path_of(source)
        entries = await self._git.list_tree(mirror, revision)
        files = [entry for entry in entries if entry.mode != _SUBMODULE]
        size = sum(entry.size for entry in files)
        self._check_size(source, len(files), size)
        report(Progress("Writing files", 0, len(files)))
        tree.mkdir()
        await self._git.write_tree(mirror, revision, tree)
        report(Progress("Writing files", len(files), len(files)))
        made_at = await self._git.commit_time(mirror, revision)
        return Unpacked(
            commit=revision,
            committed_at=None if made_at is None else datetime.fromtimestamp(made_at, UTC),
            size_bytes=size,
            file_count=len(files),
            notes=_notes(entries),
        )

    def forget(self, source: Source) -> None:
        """Remove the mirror."""
        delete_tree(self.path_of(source))

    def _check_size(self, source: Source, count: int, size: int) -> None:
        if count == 0:
            raise EmptySource(f"{source.location} holds no file at this commit.")
        if count > self._limits.tree_files:
            raise SourceTooLarge(
                f"{source.location} holds {count:,} files; the limit is "
                f"{self._limits.tree_files:,}."
            )
        if size > self._limits.tree_bytes:
            raise SourceTooLarge(
                f"{source.location} holds {size:,} bytes; the limit is {self._limits.tree_bytes:,}."
            )

    async def _complete(
        self, source: Source, start: str, refs: RemoteRefs, report: Report
    ) -> Resolution:
        known = {*refs.branches.values(), *refs.tags.values()}
        found = {commit for commit in known if commit.startswith(start)}
        if not found:
            report(Progress("Looking for the commit", detail=start))
            async with self._new_work_folder() as work:
                commits = await self._git.list_commits(source, work / "commits.git", report)
            found = {commit for commit in commits if commit.startswith(start)}
        if len(found) > 1:
            listed = ", ".join(sorted(commit[: len(start) + 8] for commit in found)[:5])
            raise RefNotFound(
                f"{len(found)} commits of {source.location} start with {start}: {listed}.",
                "Write more of the commit's hash.",
            )
        if not found:
            raise _no_such_ref(source, refs)
        return Resolution(found.pop(), start, fixed=True)


def remove_leftovers(mirror: Path) -> None:
    """Remove what a fetch that was killed has left in a mirror. Its lock must be held."""
    for pattern in ("*.lock", "objects/pack/tmp_*", "objects/tmp_*"):
        for path in mirror.glob(pattern):
            path.unlink(missing_ok=True)
    for path in [path for path in walk_files(mirror / "refs") if path.suffix == ".lock"]:
        path.unlink(missing_ok=True)
    for path in mirror.glob("objects/incoming-*"):
        delete_tree(path)


def _default_of(refs: RemoteRefs, source: Source) -> Resolution:
    if refs.head is None:
        listed = ", ".join(refs.names[:5])
        raise RefNotFound(
            f"{source.location} does not say which branch comes first.",
            f"Name a branch or tag after “@”. It has: {listed}.",
        )
    return Resolution(refs.head, refs.default or refs.head, fixed=False)


def _no_such_ref(source: Source, refs: RemoteRefs) -> RefNotFound:
    wanted = source.ref or ""
    close = nearest(wanted, refs.names)
    others = [name for name in (refs.default, *refs.branches) if name]
    listed = ", ".join(close or list(dict.fromkeys(others))[:5])
    return RefNotFound(
        f"{source.location} has no branch, tag or commit “{wanted}”.",
        f"Nearest: {listed}." if close else f"It has: {listed}.",
    )


def _notes(entries: Sequence[TreeEntry]) -> tuple[str, ...]:
    left_out = [e.path.decode("utf-8", "replace") for e in entries if e.mode == _SUBMODULE]
    links = sum(stat.S_ISLNK(int(entry.mode, 8)) for entry in entries)
    notes: list[str] = []
    if left_out:
        more = f" and {len(left_out) - 10} more" if len(left_out) > 10 else ""
        notes.append(f"Submodules are left out: {', '.join(left_out[:10])}{more}.")
    if links:
        notes.append(f"Symbolic links are kept as links: {links}.")
    return tuple(notes)
