"""Makes real git repositories for tests, out of nothing, in one stream to `git fast-import`."""

import os
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "HOME": "/nonexistent",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.org",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.org",
}
FIRST_COMMIT_AT = 1_700_000_000


@dataclass(frozen=True)
class Link:
    """A symbolic link with its target."""

    target: bytes


@dataclass(frozen=True)
class Submodule:
    """A commit of another repository."""

    commit: str


@dataclass(frozen=True)
class Commit:
    """The whole content of one commit: path to bytes, link or submodule."""

    files: Mapping[bytes, "bytes | Link | Submodule"]
    branch: str = "main"
    tags: Sequence[str] = ()
    annotated_tags: Sequence[str] = ()


@dataclass
class Repository:
    path: Path
    commits: list[str] = field(default_factory=list[str])

    def git(self, *arguments: str) -> str:
        return run_git(["-C", str(self.path), *arguments])


def run_git(arguments: Sequence[str], data: bytes | None = None) -> str:
    done = subprocess.run(
        ["git", *arguments], input=data, env=ENVIRONMENT, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode("utf-8", "replace")
    return done.stdout.decode("utf-8", "surrogateescape").strip()


def make_repository(path: Path, commits: Iterable[Commit], *, default: str = "main") -> Repository:
    """Make a bare repository with these commits, each on top of the last of its branch."""
    run_git(["init", "--quiet", "--bare", f"--initial-branch={default}", str(path)])
    repository = Repository(path)
    add_commits(repository, commits)
    return repository


def add_commits(repository: Repository, commits: Iterable[Commit]) -> None:
    for commit in commits:
        number = len(repository.commits)
        stream = bytearray(_stream(commit, number, has_parent=_has_branch(repository, commit)))
        run_git(["-C", str(repository.path), "fast-import", "--quiet", "--force"], bytes(stream))
        made = repository.git("rev-parse", f"refs/heads/{commit.branch}")
        repository.commits.append(made)
        for tag in commit.tags:
            repository.git("tag", tag, made)
        for tag in commit.annotated_tags:
            repository.git("tag", "--annotate", "--message=A release", tag, made)


def _has_branch(repository: Repository, commit: Commit) -> bool:
    listed = repository.git("for-each-ref", "--format=%(refname)", f"refs/heads/{commit.branch}")
    return f"refs/heads/{commit.branch}" in listed.splitlines()


def _stream(commit: Commit, number: int, *, has_parent: bool) -> bytes:
    at = FIRST_COMMIT_AT + number * 3600
    message = f"Commit {number}".encode()
    parts = [
        b"commit refs/heads/" + commit.branch.encode() + b"\n",
        f"committer Ada <ada@example.org> {at} +0000\n".encode(),
        b"data %d\n%s\n" % (len(message), message),
    ]
    if has_parent:
        parts.append(b"from refs/heads/" + commit.branch.encode() + b"^0\n")
    parts.append(b"deleteall\n")
    for path, content in commit.files.items():
        parts.append(_entry(path, content))
    return b"".join(parts)


def _entry(path: bytes, content: "bytes | Link | Submodule") -> bytes:
    quoted = b'"' + b"".join(b"\\%03o" % byte for byte in path) + b'"'
    if isinstance(content, Submodule):
        return b"M 160000 " + content.commit.encode() + b" " + quoted + b"\n"
    mode, data = (b"120000", content.target) if isinstance(content, Link) else (b"100644", content)
    return b"M " + mode + b" inline " + quoted + b"\ndata %d\n%s\n" % (len(data), data)
