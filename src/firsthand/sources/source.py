"""The name of a source: what a person writes, and what it means. Nothing is fetched here."""

import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit

from firsthand.sources.errors import InvalidSource
from firsthand.sources.git_url import check_spelling

REF_CHARS = 128

_PYPI_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_NPM_NAME = re.compile(r"(?:@[a-z0-9~][a-z0-9._~-]*/)?[a-zA-Z0-9~][a-zA-Z0-9._~-]*")
_SCP_STYLE = re.compile(r"[\w.-]+@[\w.-]+:.+")
_FORMS = (
    "Write an HTTPS address of a git repository, pypi:NAME[@VERSION] or npm:NAME[@VERSION]; "
    "@REF after a repository picks a branch, tag or commit."
)


class SourceKind(StrEnum):
    """Where a source comes from."""

    GIT = "git"
    LOCAL = "local"
    PYPI = "pypi"
    NPM = "npm"


@dataclass(frozen=True, slots=True)
class Source:
    """A source as it was asked for.

    `location` is an HTTPS address, an absolute path or the name of a package; `ref` a branch,
    tag, commit or version, or `None` for what the remote itself offers first.
    """

    kind: SourceKind
    location: str
    ref: str | None = None

    def __str__(self) -> str:
        prefix = f"{self.kind.value}:" if self.kind in {SourceKind.PYPI, SourceKind.NPM} else ""
        suffix = f"@{self.ref}" if self.ref else ""
        return f"{prefix}{self.location}{suffix}"

    @property
    def suggested_name(self) -> str:
        """A short name for people: the last part of the location."""
        last = self.location.rstrip("/").rsplit("/", 1)[-1].removesuffix(".git")
        name = re.sub(r"[^A-Za-z0-9@._-]", "-", last).strip("-.")[:64]
        return name or self.kind.value

    @property
    def key(self) -> str:
        """Equal for sources that are one and the same apart from the ref."""
        return f"{self.kind.value}:{self.location}"


def parse_source(text: str, *, allow_local: bool) -> Source:
    """Read what a person wrote. Raises `InvalidSource` with what to write instead."""
    text = text.strip()
    if not text or not text.isprintable():
        raise InvalidSource("A source must be one line of printable text.", _FORMS)
    if text.startswith("pypi:"):
        return _parse_pypi(text.removeprefix("pypi:"))
    if text.startswith("npm:"):
        return _parse_npm(text.removeprefix("npm:"))
    if re.match(r"https?://", text, re.IGNORECASE):
        return _parse_url(text)
    if text.startswith("file://") and allow_local:
        return _parse_path(text.removeprefix("file://"))
    if allow_local and (text.startswith(("/", "./", "../", "~")) or text in {".", ".."}):
        return _parse_path(text)
    raise InvalidSource(f"“{_shorten(text)}” is not a source.", _hint_for(text, allow_local))


def check_ref(ref: str) -> str:
    """Return the ref unchanged, or raise `InvalidSource` naming the limit that it breaks."""
    if len(ref) > REF_CHARS:
        raise InvalidSource(f"A ref may have at most {REF_CHARS} characters.")
    # The rules of git-check-ref-format that matter to a command line and to a file name.
    bad = (
        not ref
        or ref.startswith(("-", "/"))
        or ref.endswith(("/", ".lock", "."))
        or any(part in ref for part in ("..", "//", "@{"))
        or re.search(r"[\x00-\x20\x7f~^:?*\[\\]", ref)
    )
    if bad:
        raise InvalidSource(
            f"“{_shorten(ref)}” cannot be a branch, tag, commit or version.",
            "It must not be empty, start with “-”, or hold spaces, “..” or any of ~^:?*[\\.",
        )
    return ref


def _parse_pypi(text: str) -> Source:
    name, version = _split_ref(text.replace("==", "@", 1))
    if not _PYPI_NAME.fullmatch(name):
        raise InvalidSource(
            f"“{_shorten(name)}” cannot be the name of a Python package.",
            "Write pypi:NAME or pypi:NAME@VERSION, for example pypi:httpx@0.28.1.",
        )
    # The normal form of the packaging specification, so that one package has one name.
    return Source(SourceKind.PYPI, re.sub(r"[-_.]+", "-", name).lower(), version)


def _parse_npm(text: str) -> Source:
    scope_mark = "@" if text.startswith("@") else ""
    name, version = _split_ref(text.removeprefix("@"))
    name = scope_mark + name
    if not _NPM_NAME.fullmatch(name) or len(name) > 214:
        raise InvalidSource(
            f"“{_shorten(name)}” cannot be the name of an npm package.",
            "Write npm:NAME or npm:NAME@VERSION, for example npm:is-number@7.0.0.",
        )
    return Source(SourceKind.NPM, name, version)


def _parse_url(text: str) -> Source:
    scheme, _, rest = text.partition("://")
    host, slash, path = rest.partition("/")
    path, ref = _split_ref(path)
    location = f"{scheme.lower()}://{host.lower()}{slash}{path.rstrip('/')}"
    check_spelling(location)
    if urlsplit(location).hostname in {"github.com", "gitlab.com", "bitbucket.org"}:
        # These hosts serve one repository under both spellings; elsewhere they may differ.
        location = location.removesuffix(".git")
    return Source(SourceKind.GIT, location, ref)


def _parse_path(text: str) -> Source:
    whole = Path(text).expanduser()
    if whole.is_dir() or "@" not in text:
        return Source(SourceKind.LOCAL, str(whole.resolve()))
    for at in (match.start() for match in re.finditer("@", text)):
        if (folder := Path(text[:at]).expanduser()).is_dir():
            return Source(SourceKind.LOCAL, str(folder.resolve()), check_ref(text[at + 1 :]))
    return Source(SourceKind.LOCAL, str(whole.resolve()))


def _split_ref(text: str) -> tuple[str, str | None]:
    name, at, ref = text.partition("@")
    return name, check_ref(ref) if at else None


def _hint_for(text: str, allow_local: bool) -> str:
    if text.startswith(("/", "./", "../", "~", "file:")) and not allow_local:
        return "Folders of this machine can be read in one-process mode only. " + _FORMS
    if _SCP_STYLE.fullmatch(text) or text.startswith(("ssh://", "git://")):
        return "Only HTTPS is spoken to git hosts: write the https:// address of the repository."
    if re.fullmatch(r"[\w-]+(\.[\w-]+)+/[\w./~-]+(@\S+)?", text):
        return f"Did you mean https://{text} ?"
    if _PYPI_NAME.fullmatch(text.split("@", 1)[0]):
        return f"Did you mean pypi:{text} or npm:{text} ?"
    return _FORMS


def _shorten(text: str) -> str:
    return text if len(text) <= 80 else text[:79] + "…"
