"""Which folders of this machine make up a local git repository. Reads a few small files only."""

from pathlib import Path

from firsthand.sources.errors import SourceNotFound


def folders_of(place: Path) -> tuple[Path, ...]:
    """Return the folders that git must read to read this repository, none inside another.

    Work trees (`.git` is a file) and borrowed object stores lie outside the repository's folder.
    Raises `SourceNotFound` where there is no repository.
    """
    git_dir = _git_dir(place)
    if git_dir is None:
        raise SourceNotFound(
            f"{place} is not a git repository.", "Name the folder that holds “.git”."
        )
    common = _follow(git_dir / "commondir", git_dir) or git_dir
    found = [place, git_dir, common]
    queue = [common / "objects"]
    while queue and len(found) < 20:
        alternates = queue.pop() / "info" / "alternates"
        if alternates.is_file():
            for line in alternates.read_text("utf-8", "surrogateescape").splitlines():
                borrowed = (alternates.parent.parent / line).resolve()
                if borrowed.is_dir() and borrowed not in found:
                    found.append(borrowed)
                    queue.append(borrowed)
    distinct = dict.fromkeys(path.resolve() for path in found)
    return tuple(p for p in distinct if not any(o in p.parents for o in distinct))


def _git_dir(place: Path) -> Path | None:
    dot_git = place / ".git"
    if dot_git.is_file():
        text = dot_git.read_text("utf-8", "surrogateescape").strip()
        pointed = (place / text.removeprefix("gitdir:").strip()).resolve()
        return pointed if pointed.is_dir() else None
    for candidate in (dot_git, place):
        if (candidate / "HEAD").is_file() and (candidate / "objects").is_dir():
            return candidate
    return None


def _follow(pointer: Path, start: Path) -> Path | None:
    if not pointer.is_file():
        return None
    return (start / pointer.read_text("utf-8", "surrogateescape").strip()).resolve()
