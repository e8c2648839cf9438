"""The only place that runs git. Every run is in a jail, and none runs a hook or a filter.

The network is reached only for addresses that were checked a moment before; redirects are not
followed by git but here, each after the same check.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin

from firsthand.sources.errors import (
    AddressRefused,
    FetchFailed,
    InvalidSource,
    RefNotFound,
    SourceTooLarge,
)
from firsthand.sources.git_output import RemoteRefs, explain, progress_listener, read_refs
from firsthand.sources.git_url import check_url
from firsthand.sources.jail import Finished, Jail, find_program, run_jailed
from firsthand.sources.limits import FetchLimits
from firsthand.sources.local_repository import folders_of
from firsthand.sources.progress import Report, ignore
from firsthand.sources.source import Source, SourceKind
from firsthand.sources.surroundings import certificate_files, network_environment

_CONFIGURATION = Path(__file__).with_name("git.conf")
_INERT = "* -text -eol -ident -filter -working-tree-encoding -crlf\n"
_REDIRECTS = 5
_LOCATION = re.compile(r"<= Recv header: Location: *(\S+)", re.IGNORECASE)
_SERVICE = "/info/refs?service=git-upload-pack"
_MEMORY = 6 * 1024**3


@dataclass(frozen=True, slots=True)
class TreeEntry:
    """One entry of a commit: a file, a symbolic link, or a submodule (which has no bytes)."""

    mode: str
    size: int
    path: bytes


class Git:
    """Asks remotes, fetches commits into bare repositories, and writes trees of files."""

    def __init__(self, limits: FetchLimits, allowed_private_hosts: frozenset[str]) -> None:
        self._limits = limits
        self._allowed = allowed_private_hosts

    async def list_refs(self, source: Source) -> RemoteRefs:
        """Ask the remote which branches and tags it has."""

        def ask(url: str) -> list[str]:
            return ["ls-remote", "--quiet", "--symref", "--", url]

        listing = await self._ask(source, ask, seconds=self._limits.resolve_seconds)
        return read_refs(listing.stdout)

    async def init(self, repository: Path, *, hash_chars: int = 40) -> None:
        """Make an empty bare repository in which attributes of commits mean nothing."""
        form = "sha256" if hash_chars == 64 else "sha1"
        arguments = ["init", "--quiet", "--bare", "--template=", f"--object-format={form}"]
        made = await self._run([*arguments, "--", str(repository)], writable=(repository.parent,))
        if made.code != 0:
            raise FetchFailed(f"Making a repository failed: {made.complaint[:300]}")
        # This file comes before every .gitattributes: no conversion of line ends, no encoding,
        # no $Id$, no filter such as LFS. The bytes in the tree are the bytes of the commit.
        (repository / "info").mkdir(exist_ok=True)
        (repository / "info" / "attributes").write_text(_INERT, encoding="ascii")

    async def fetch_commit(
        self, source: Source, repository: Path, commit: str, report: Report
    ) -> None:
        """Fetch one commit without its history; with it where the remote gives no other way."""
        target = f"+{commit}:refs/firsthand/{commit}"
        try:
            await self._fetch(source, repository, ["--depth=1"], [target], report)
        except _NotByHash:
            deepen = ["--unshallow"] if (repository / "shallow").exists() else []
            refs = ["+refs/heads/*:refs/remote/heads/*", "+refs/tags/*:refs/remote/tags/*"]
            await self._fetch(source, repository, deepen, refs, report)
        if not await self.has_commit(repository, commit):
            raise RefNotFound(f"{source.location} has no commit {commit}.")

    async def list_commits(self, source: Source, scratch: Path, report: Report) -> list[str]:
        """Fetch the names of all commits, and no files where the remote can do that."""
        await self.init(scratch)
        refs = ["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"]
        await self._fetch(source, scratch, ["--filter=tree:0"], refs, report)
        listed = await self._run(
            ["rev-list", "--all", "--missing=allow-any"],
            repository=scratch,
            output_bytes=256 * 1024**2,
        )
        return listed.stdout.decode("ascii", "replace").split()

    async def has_commit(self, repository: Path, commit: str) -> bool:
        """Say whether the repository holds this commit."""
        asked = await self._run(["cat-file", "-t", commit], repository=repository)
        return asked.code == 0 and asked.stdout.strip() == b"commit"

    async def commit_time(self, repository: Path, commit: str) -> int | None:
        """Return when the commit was made, in seconds since 1970, if it says so sensibly."""
        shown = await self._run(["show", "-s", "--format=%ct", commit], repository=repository)
        text = shown.stdout.strip()
        return int(text) if re.fullmatch(rb"\d{1,11}", text) else None

    async def list_tree(self, repository: Path, commit: str) -> list[TreeEntry]:
        """List all entries of a commit."""
        listed = await self._run(
            ["ls-tree", "-r", "-l", "-z", "--full-tree", commit],
            repository=repository,
            output_bytes=self._limits.tree_files * 400,
        )
        if listed.code != 0:
            raise FetchFailed(f"Reading the commit failed: {listed.complaint[:300]}")
        return [_read_entry(record) for record in listed.stdout.split(b"\0") if record]

    async def write_tree(self, repository: Path, commit: str, tree: Path) -> None:
        """Write the files of a commit into an empty folder and make all of it read-only."""
        index = tree.with_name("git-index")
        steps = (
            ["read-tree", commit],
            ["checkout-index", "--all", "--force", "--quiet", f"--prefix={tree}/"],
        )
        for step in steps:
            done = await self._run(
                step,
                repository=repository,
                writable=(tree.parent,),
                environment={"GIT_INDEX_FILE": str(index), "GIT_WORK_TREE": str(tree)},
                seconds=self._limits.unpack_seconds,
            )
            if done.code != 0:
                raise FetchFailed(
                    f"Writing the files of {commit[:12]} failed: {done.complaint[:300]}",
                    "The repository may be damaged or hold names that git refuses.",
                )
        index.unlink(missing_ok=True)

    async def _fetch(
        self,
        source: Source,
        repository: Path,
        options: Sequence[str],
        refs: Sequence[str],
        report: Report,
    ) -> None:
        def ask(url: str) -> list[str]:
            fixed = ["fetch", "--no-tags", "--no-write-fetch-head", "--progress", "--force"]
            return [*fixed, *options, "--", url, *refs]

        await self._ask(
            source,
            ask,
            seconds=self._limits.fetch_seconds,
            repository=repository,
            writable=(repository,),
            report=report,
        )

    async def _ask(
        self,
        source: Source,
        make: Callable[[str], Sequence[str]],
        *,
        seconds: float,
        repository: Path | None = None,
        writable: Sequence[Path] = (),
        report: Report = ignore,
    ) -> Finished:
        """Run a command against a remote, following redirects after a check of each."""
        if source.kind is SourceKind.LOCAL:
            done = await self._run(
                make(f"file://{source.location}"),
                repository=repository,
                writable=writable,
                readable=folders_of(Path(source.location)),
                seconds=seconds,
                report=report,
            )
            return _checked(done, source.location)
        url = source.location
        for _ in range(_REDIRECTS + 1):
            done = await self._run_online(
                make, url, repository=repository, writable=writable, seconds=seconds, report=report
            )
            if done.code == 0 or not re.search(r"returned error: 30[12378]\b", done.complaint):
                return _checked(done, url)
            url = await self._where_to(url)
        raise FetchFailed(f"{source.location} redirects more than {_REDIRECTS} times.")

    async def _where_to(self, url: str) -> str:
        # git names the new place only in its trace of the headers.
        done = await self._run_online(
            lambda place: ["ls-remote", "--quiet", "--", place],
            url,
            seconds=self._limits.resolve_seconds,
            environment={"GIT_TRACE_CURL": "1", "GIT_TRACE_CURL_NO_DATA": "1"},
        )
        found = _LOCATION.findall(done.complaint)
        if not found or not found[-1].endswith(_SERVICE):
            raise FetchFailed(
                f"{url} redirects to something that is not a git repository.",
                "Check the spelling of the address.",
            )
        # It may be relative (RFC 9110, section 10.2.2).
        return urljoin(url, found[-1]).removesuffix(_SERVICE)

    async def _run_online(
        self,
        make: Callable[[str], Sequence[str]],
        url: str,
        *,
        seconds: float,
        repository: Path | None = None,
        writable: Sequence[Path] = (),
        environment: Mapping[str, str] | None = None,
        report: Report = ignore,
    ) -> Finished:
        try:
            pinned = await check_url(url, self._allowed)
        except InvalidSource as error:
            raise AddressRefused(f"A redirect leads to {url[:200]}: {error.message}") from error
        return await self._run(
            ["-c", f"http.curloptResolve={pinned.curl_resolve}", *make(url)],
            repository=repository,
            writable=writable,
            files=certificate_files(),
            environment={**network_environment(), **(environment or {})},
            network=True,
            seconds=seconds,
            report=report,
        )

    async def _run(
        self,
        arguments: Sequence[str],
        *,
        repository: Path | None = None,
        writable: Sequence[Path] = (),
        readable: Iterable[Path] = (),
        files: Mapping[Path, Path] | None = None,
        environment: Mapping[str, str] | None = None,
        network: bool = False,
        seconds: float = 120.0,
        output_bytes: int | None = None,
        report: Report = ignore,
    ) -> Finished:
        git = find_program("git", "Install git: sudo apt install git")
        own = () if repository is None or repository in writable else (repository,)
        jail = Jail(
            writable=tuple(writable),
            readable=(*readable, *own),
            files={Path("/etc/gitconfig"): _CONFIGURATION, **(files or {})},
            environment={
                "GIT_TERMINAL_PROMPT": "0",
                "GIT_ASKPASS": "",
                "GIT_NO_LAZY_FETCH": "1",
                "GIT_OPTIONAL_LOCKS": "0",
                "GIT_ATTR_NOSYSTEM": "1",
                **(environment or {}),
            },
            network=network,
            seconds=seconds,
            output_bytes=output_bytes or self._limits.refs_bytes,
            file_bytes=self._limits.download_bytes,
            memory_bytes=_MEMORY,
        )
        where = [f"--git-dir={repository}"] if repository is not None else []
        return await run_jailed(
            [git, *where, *arguments], jail, on_stderr=progress_listener(report)
        )


class _NotByHash(FetchFailed):
    """The remote gives only what its branches and tags point at."""


def _checked(done: Finished, place: str) -> Finished:
    if done.code == 0:
        return done
    complaint = done.complaint
    if re.search(r"unadvertised object|dumb http transport does not support", complaint):
        raise _NotByHash(f"{place} gives commits only with their history.")
    if match := re.search(r"not our ref ([0-9a-f]{40,64})", complaint):
        raise RefNotFound(f"{place} has no commit {match[1]}.", "Check the hash.")
    if "out of memory" in complaint.lower():
        raise SourceTooLarge(f"{place} needs more memory than one fetch may use.")
    raise explain(complaint, place)


def _read_entry(record: bytes) -> TreeEntry:
    about, _, path = record.partition(b"\t")
    mode, _, _, size = about.split()
    return TreeEntry(mode.decode("ascii"), 0 if size == b"-" else int(size), path)
