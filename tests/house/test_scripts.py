"""The scripts: what they install from, what they say, and that they are idle when all is there."""

import base64
import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LISTS = sorted((ROOT / "requirements").glob("*.txt"))


@pytest.mark.requirement("HOUSE-2")
@pytest.mark.parametrize("path", LISTS, ids=lambda path: path.name)
def test_every_locked_package_has_hashes_and_no_address(path: Path) -> None:
    text = path.read_text()
    assert "://" not in text
    assert "--index" not in text
    packages = re.split(r"\n(?=\S)", text.strip())
    for package in packages:
        assert re.match(r"[a-z0-9._-]+==\S+", package), package
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", package), package


@pytest.mark.requirement("HOUSE-2")
def test_what_the_project_needs_is_locked() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = {re.split(r"[^A-Za-z0-9._-]", need)[0] for need in project["project"]["dependencies"]}
    locked = set(
        re.findall(r"(?m)^([a-z0-9._-]+)==", (ROOT / "requirements/runtime.txt").read_text())
    )
    assert wanted <= locked


def _programs(folder: Path, *names: str) -> str:
    folder.mkdir()
    for name in names:
        found = shutil.which(name)
        assert found is not None
        (folder / name).symlink_to(found)
    return str(folder)


@pytest.mark.requirement("HOUSE-3")
def test_setup_says_exactly_what_to_install(tmp_path: Path) -> None:
    # A machine without bubblewrap on which nothing may be installed: there is no apt-get.
    copy = tmp_path / "project"
    (copy / "script").mkdir(parents=True)
    shutil.copy(ROOT / "script/setup", copy / "script/setup")
    tools = _programs(tmp_path / "bin", "sh", "dirname", "id", "flock", "git", "cat")
    ended = subprocess.run(
        [copy / "script/setup"],
        env={"PATH": tools, "PYTHON": sys.executable, "HOME": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 1
    assert ended.stderr.splitlines() == [
        "setup: some programs are missing. Install them, then run this again: "
        "sudo apt-get install bubblewrap"
    ]
    assert not (copy / ".venv").exists()


@pytest.mark.parametrize("name", ["setup", "serve", "test", "check", "release", "lock"])
def test_scripts_are_well_formed_and_may_be_run(name: str) -> None:
    script = ROOT / "script" / name
    assert os.access(script, os.X_OK)
    sh = shutil.which("sh")
    assert sh is not None
    assert subprocess.run([sh, "-n", script], check=False).returncode == 0


@pytest.mark.requirement("HOUSE-1")
def test_assets_are_taken_once_checked_and_replaced_as_a_whole(tmp_path: Path) -> None:
    import hatch_build

    npm, log = _npm(tmp_path, {"package/dist/a.js": b"hello"})
    listed, vendor = tmp_path / "assets.toml", tmp_path / "static" / "vendor"
    listed.write_text(_listed(tmp_path / "archive.tgz", '"dist/a.js" = "js/a.js"'))
    command = [sys.executable, "-c", _ENSURE, str(listed), str(vendor)]
    environ = {
        **os.environ,
        "PATH": f"{npm}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }
    assert hatch_build.read_list(listed)[0].name == "thing"
    outputs = [
        subprocess.run(command, env=environ, capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    ]
    assert outputs == ["True\n", "False\n"]
    assert (vendor / "js/a.js").read_bytes() == b"hello"
    assert log.read_text().splitlines() == ["pack --ignore-scripts --silent thing@1.0.0"]


@pytest.mark.requirement("HOUSE-1")
def test_an_archive_that_is_not_the_pinned_one_is_refused(tmp_path: Path) -> None:
    npm, _ = _npm(tmp_path, {"package/dist/a.js": b"hello"})
    listed, vendor = tmp_path / "assets.toml", tmp_path / "vendor"
    listed.write_text(_listed(tmp_path / "archive.tgz", '"dist/a.js" = "a.js"'))
    (tmp_path / "archive.tgz").write_bytes(b"something else")
    ended = subprocess.run(
        [sys.executable, "-c", _ENSURE, str(listed), str(vendor)],
        env={
            **os.environ,
            "PATH": f"{npm}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert "thing@1.0.0 is not the file that assets.toml pins" in ended.stderr
    assert not vendor.exists()


_ENSURE = """
import sys, pathlib, hatch_build
print(hatch_build.ensure_assets(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])))
"""


def _npm(folder: Path, files: dict[str, bytes]) -> tuple[str, Path]:
    """Make an npm that packs one archive from disk and notes how it was called."""
    with tarfile.open(folder / "archive.tgz", "w:gz") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    programs, log = folder / "npm-bin", folder / "npm.log"
    programs.mkdir()
    npm = programs / "npm"
    npm.write_text(f'#!/bin/sh\necho "$@" >> {log}\ncp {folder / "archive.tgz"} thing-1.0.0.tgz\n')
    npm.chmod(0o755)
    return str(programs), log


def _listed(archive: Path, files: str) -> str:
    digest = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    return (
        '[[package]]\nname = "thing"\nversion = "1.0.0"\n'
        f'integrity = "sha512-{digest}"\n[package.files]\n{files}\n'
    )


@pytest.mark.requirement("HOUSE-6")
def test_a_wheel_carries_the_web_assets(tmp_path: Path) -> None:
    import hatch_build

    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=110,
        check=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    for package in hatch_build.read_list(hatch_build.LIST):
        for file in package.files.values():
            assert f"firsthand/hub/web/static/vendor/{file}" in names
    assert "firsthand/hub/web/assets.toml" in names
    assert any(name.startswith("firsthand/hub/web/templates/") for name in names)
