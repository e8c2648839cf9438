"""Python packages as sources, asked for with pip as this machine has it configured.

A wheel is taken where there is one: it is only a zip. Else the source archive is taken without
running any of it. `pip download` cannot do that, since it runs a package's build to learn its
dependencies; so `fetch_sdist.py` downloads that one file with unearth, from the places that pip
is configured for.
"""

import ast
import importlib.util
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from urllib.parse import unquote, urlsplit

import msgspec

from firsthand.sources.errors import (
    AuthenticationRequired,
    FetchFailed,
    RefNotFound,
    SourceError,
    SourceNotFound,
)
from firsthand.sources.fetch_sdist import Places
from firsthand.sources.jail import Finished, Jail, find_program, python_folders, run_jailed
from firsthand.sources.limits import FetchLimits
from firsthand.sources.nearest import nearest_versions, read_version
from firsthand.sources.origin import Resolution, Unpacked
from firsthand.sources.packages import unpack_package
from firsthand.sources.progress import Progress, Report
from firsthand.sources.source import Source
from firsthand.sources.surroundings import certificate_files, mounts, network_environment

_SETTING = re.compile(r"(:env:|global|download|index)\.([a-z-]+)=(['\"].*)")
_NO_SUCH = re.compile(r"No matching distribution found|Could not find a version")
_OFFLINE = re.compile(r"Retrying \(|connection error|Could not fetch URL|Max retries exceeded")


class PythonIndex:
    """The origin for packages on PyPI, or on whatever pip is configured to ask instead."""

    def __init__(
        self,
        limits: FetchLimits,
        new_work_folder: Callable[[], AbstractAsyncContextManager[Path]],
    ) -> None:
        self._limits = limits
        self._new_work_folder = new_work_folder

    async def resolve(self, source: Source, report: Report) -> Resolution:
        """Find the version, or without one the newest final version."""
        report(Progress("Asking the package index", detail=source.location))
        versions = await self._versions(source, [])
        if source.ref is None:
            return Resolution(versions[0], versions[0], fixed=False)
        found = _same_version(source.ref, versions)
        if found is None:
            found = _same_version(source.ref, await self._versions(source, ["--pre"]))
        if found is None:
            close = nearest_versions(source.ref, versions)
            raise RefNotFound(
                f"There is no version {source.ref} of the Python package {source.location}.",
                f"Nearest: {', '.join(close)}. Newest: {versions[0]}.",
            )
        return Resolution(found, found, fixed=True)

    async def fetch(self, source: Source, revision: str, report: Report) -> None:
        """Do nothing: packages are small, so one is downloaded when it is unpacked."""

    async def unpack(self, source: Source, revision: str, tree: Path, report: Report) -> Unpacked:
        """Download one file of this version and unpack it."""
        report(Progress("Downloading the package", detail=f"{source.location} {revision}"))
        async with self._new_work_folder() as work:
            archive, note = await self._download(source, revision, work)
            report(Progress("Unpacking the package"))
            return await unpack_package(source, archive, tree, self._limits, note)

    def forget(self, source: Source) -> None:
        """Do nothing: nothing is kept."""

    async def _versions(self, source: Source, options: list[str]) -> list[str]:
        fixed = ["index", "versions", "--ignore-requires-python", "--disable-pip-version-check"]
        done = await self._pip([*fixed, *options, "--", source.location], online=True)
        listed = re.search(rb"^Available versions: (.+)$", done.stdout, re.MULTILINE)
        if done.code != 0 or listed is None:
            raise _explain(done, source)
        return [text.strip() for text in listed[1].decode("utf-8", "replace").split(",")]

    async def _download(
        self, source: Source, version: str, work: Path
    ) -> tuple[Path, tuple[str, ...]]:
        target = work / "download"
        target.mkdir()
        fixed = ["download", "--no-deps", "--only-binary=:all:", "--ignore-requires-python"]
        quiet = ["--disable-pip-version-check", "--no-cache-dir", "--progress-bar=off"]
        wanted = f"{source.location}=={version}"
        done = await self._pip(
            [*fixed, *quiet, f"--dest={target}", "--", wanted], online=True, writable=target
        )
        if done.code == 0:
            return _only_file(target, source), ()
        if not _NO_SUCH.search(done.complaint):
            raise _explain(done, source)
        return await self._download_sdist(source, version, target)

    async def _download_sdist(
        self, source: Source, version: str, target: Path
    ) -> tuple[Path, tuple[str, ...]]:
        settings = await self._settings()
        places = _places(settings)
        request = msgspec.json.encode(places).decode()
        program = [sys.executable, "-I", "-m", "firsthand.sources.fetch_sdist"]
        done = await run_jailed(
            [*program, source.location, version, str(target), request],
            self._jail(settings, online=True, writable=target),
        )
        if done.code != 0:
            raise _explain(done, source)
        return _only_file(target, source), ("Taken from the source archive, nothing was built.",)

    async def _settings(self) -> dict[str, str]:
        done = await self._pip(["config", "list"], online=False)
        return read_settings(done.stdout.decode("utf-8", "replace"))

    async def _pip(
        self, arguments: list[str], *, online: bool, writable: Path | None = None
    ) -> Finished:
        settings = await self._settings() if online else {}
        jail = self._jail(settings, online=online, writable=writable)
        return await run_jailed([*_pip_program(), *arguments], jail)

    def _jail(self, settings: Mapping[str, str], *, online: bool, writable: Path | None) -> Jail:
        local = _local_folders(settings)
        own = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
        temporary = {"TMPDIR": str(writable)} if writable else {}
        return Jail(
            writable=(writable,) if writable else (),
            readable=python_folders(),
            files={**_configuration_files(), **certificate_files(), **mounts(local)},
            environment={
                **network_environment(),
                **own,
                **temporary,
                "HOME": str(Path.home()),
                "PIP_NO_INPUT": "1",
                "PYTHONDONTWRITEBYTECODE": "1",
            },
            network=online,
            seconds=self._limits.fetch_seconds if writable else self._limits.resolve_seconds,
            file_bytes=self._limits.download_bytes,
        )


def read_settings(listing: str) -> dict[str, str]:
    """Read `pip config list`; of one setting the most particular wins, as for pip itself."""
    rank = {"global": 0, "index": 0, "download": 1, ":env:": 2}
    found: dict[str, tuple[int, str]] = {}
    for line in listing.splitlines():
        # pip 23 writes “:env:.find-links”, with the dot.
        if match := _SETTING.match(line.replace("env:..", "env:.")):
            section, name, value = match.groups()
            if name not in found or rank[section] >= found[name][0]:
                found[name] = (rank[section], str(ast.literal_eval(value)))
    return {name: value for name, (_, value) in found.items()}


def _places(settings: Mapping[str, str]) -> Places:
    return Places(
        index_url=None if "no-index" in settings else settings.get("index-url", ""),
        extra_index_urls=settings.get("extra-index-url", "").split(),
        find_links=settings.get("find-links", "").split(),
        trusted_hosts=settings.get("trusted-host", "").split(),
        certificate=settings.get("cert"),
    )


def _local_folders(settings: Mapping[str, str]) -> Iterable[Path]:
    """Folders of this machine that pip is configured to look in."""
    for name in ("index-url", "extra-index-url", "find-links"):
        for value in settings.get(name, "").split():
            parts = urlsplit(value)
            if parts.scheme not in {"", "file"}:
                continue
            path = Path(unquote(parts.path))
            # An index's pages point at files beside the folder of the pages.
            beside = path.parent if name != "find-links" and len(path.parts) > 2 else path
            yield beside
    for name in ("cert", "client-cert"):
        if name in settings:
            yield Path(settings[name])


def _configuration_files() -> dict[Path, Path]:
    home = Path.home()
    paths = [Path("/etc/pip.conf"), home / ".pip", home / ".config/pip", home / ".netrc"]
    paths += [
        Path(value) for name in ("PIP_CONFIG_FILE", "NETRC") if (value := os.environ.get(name))
    ]
    for name in ("XDG_CONFIG_HOME", "XDG_CONFIG_DIRS"):
        paths += [Path(part) / "pip" for part in os.environ.get(name, "").split(":") if part]
    return mounts([*paths, Path("/etc/xdg/pip")])


def _pip_program() -> list[str]:
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip"]
    return [find_program("pip", "Install pip: sudo apt install python3-pip", beside_python=True)]


def _same_version(wanted: str, versions: Iterable[str]) -> str | None:
    listed = list(versions)
    if wanted in listed:
        return wanted
    meant = read_version(wanted)
    if meant is None:
        return None
    # Indexes list what people uploaded, which need not be versions in today's sense.
    return next((text for text in listed if read_version(text) == meant), None)


def _only_file(folder: Path, source: Source) -> Path:
    files = [path for path in folder.iterdir() if path.is_file() and not path.is_symlink()]
    if len(files) != 1:
        raise FetchFailed(f"Downloading {source} gave {len(files)} files instead of one.")
    return files[0]


def _explain(done: Finished, source: Source) -> SourceError:
    complaint = done.complaint
    name = source.location
    if re.search(r"\b40[13] Client Error|\b401\b.*Unauthorized", complaint):
        return AuthenticationRequired(
            f"The package index asks for a password for {name}.",
            "Configure pip with credentials for that index.",
        )
    if _OFFLINE.search(complaint):
        return FetchFailed(f"The package index cannot be reached for {name}.", "Try again later.")
    if _NO_SUCH.search(complaint):
        return SourceNotFound(
            f"There is no Python package {name} on the configured index.", "Check the spelling."
        )
    return FetchFailed(f"pip failed for {name}: {complaint[-300:]}", "Try again later.")
