"""The looks that `firsthand doctor` takes, each at one thing, each by trying it for real."""

import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Awaitable, Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import anyio

from firsthand.hub.errors import SettingsError
from firsthand.hub.presence import find_hub
from firsthand.hub.settings import Settings, load_settings
from firsthand.protocol.questions import Dialect
from firsthand.sources.errors import SourceError

_PROGRAM_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `mend` says what to do, where there is something to do."""

    name: str
    ok: bool
    found: str
    mend: str | None = None
    needed: bool = True


async def examine_all(environ: Mapping[str, str], cwd: Path) -> list[Finding]:
    """Look at everything, in the order in which a person would mend it."""
    looks: list[Callable[[], Awaitable[Finding]]] = [
        lambda: _program("git", ["--version"], "sudo apt install git"),
        _bubblewrap,
        lambda: _program("rg", ["--version"], "run script/setup, or: sudo apt install ripgrep"),
        lambda: _program("pip", ["--version"], "sudo apt install python3-venv, then script/setup"),
        lambda: _program("npm", ["--version"], "sudo apt install npm", purpose="npm: sources"),
    ]
    findings = [_python(), *[await look() for look in looks], _user_namespaces(), _assets()]
    try:
        settings = load_settings(environ, cwd)
    except SettingsError as error:
        return [*findings, Finding("settings", False, error.detail, error.hint)]
    return [
        *findings,
        _data_folder(settings),
        _database(settings),
        _port(settings),
        _model(settings),
    ]


def _python() -> Finding:
    # An older Python cannot even import this: packaging refuses it.
    return Finding("python", True, ".".join(str(part) for part in sys.version_info[:3]))


async def _program(
    name: str, arguments: list[str], mend: str, *, purpose: str | None = None
) -> Finding:
    # As the product looks for them: on the PATH, or beside this Python.
    beside = str(Path(sys.executable).parent)
    path = shutil.which(name) or shutil.which(name, path=beside)
    needed = purpose is None
    if path is None:
        missing = "missing" if purpose is None else f"missing; needed for {purpose} only"
        return Finding(name, False, missing, mend, needed)
    try:
        with anyio.fail_after(_PROGRAM_SECONDS):
            ended = await anyio.run_process(
                [path, *arguments], check=False, stdin=subprocess.DEVNULL
            )
    except (OSError, TimeoutError) as error:
        return Finding(name, False, f"{path} does not run: {error}", mend, needed)
    said = (ended.stdout or ended.stderr).decode("utf-8", "replace").strip().splitlines()
    found = said[0] if said else path
    if ended.returncode != 0:
        return Finding(name, False, f"{path} fails: {found}", mend, needed)
    return Finding(name, True, found, needed=needed)


async def _bubblewrap() -> Finding:
    """Run a program in the very jail that sources are fetched in."""
    from firsthand.sources.jail import Jail, run_jailed

    try:
        ended = await run_jailed(["/usr/bin/true"], Jail(seconds=_PROGRAM_SECONDS))
    except SourceError as error:
        return Finding("bubblewrap", False, error.message, error.hint or _NAMESPACES_HINT)
    if ended.code != 0:
        return Finding("bubblewrap", False, f"fails: {ended.complaint}", _NAMESPACES_HINT)
    return Finding("bubblewrap", True, "a sandbox starts")


_NAMESPACES_HINT = (
    "Let unprivileged users make namespaces: sudo sysctl kernel.unprivileged_userns_clone=1; "
    "in a container, allow them in its seccomp profile."
)


def _user_namespaces() -> Finding:
    try:
        allowed = int(Path("/proc/sys/user/max_user_namespaces").read_text())
    except (OSError, ValueError):
        return Finding("user namespaces", True, "the kernel does not say", needed=False)
    if allowed > 0:
        return Finding("user namespaces", True, f"up to {allowed}")
    mend = "sudo sysctl user.max_user_namespaces=10000"
    return Finding("user namespaces", False, "none allowed", mend)


def _assets() -> Finding:
    web = files("firsthand.hub.web")
    listed = tomllib.loads(web.joinpath("assets.toml").read_text())["package"]
    names = [name for package in listed for name in package["files"].values()]
    missing = [n for n in names if not web.joinpath("static", "vendor", *n.split("/")).is_file()]
    if missing:
        return Finding("web assets", False, f"{len(missing)} files missing", "Run script/setup.")
    return Finding("web assets", True, f"{len(names)} files")


def _data_folder(settings: Settings) -> Finding:
    folder = settings.data_dir
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        mend = "Set FIRSTHAND_DATA_DIR to a folder that you may write to."
        return Finding("data folder", False, f"{folder}: {error.strerror}", mend)
    free = shutil.disk_usage(nearest).free // 10**9
    made = "" if nearest == folder else ", will be made"
    return Finding("data folder", True, f"{folder}{made}, {free} GB free")


def _database(settings: Settings) -> Finding:
    from firsthand.hub.db.migrate import HEAD

    path = Path(settings.database_url.removeprefix("sqlite:///"))
    if not path.exists():
        return Finding("database", True, "none yet, will be made")
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)) as connection:
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.Error as error:
        mend = "Put back a copy of the file, or set FIRSTHAND_DATA_DIR to another folder."
        return Finding("database", False, f"{path}: {error}", mend)
    version = str(row[0]) if row else "0000"
    if version > HEAD:
        mend = "Start the newer version, or set FIRSTHAND_DATA_DIR to another folder."
        return Finding("database", False, f"{path} is of a newer version ({version})", mend)
    return Finding("database", True, f"version {version}")


def _port(settings: Settings) -> Finding:
    presence = find_hub(settings.data_dir)
    if presence is not None:
        return Finding("port", True, f"the hub runs at {presence.url}")
    where = f"{settings.host}:{settings.port}"
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM
        )[0]
        with socket.socket(family, kind, proto) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        mend = "Set FIRSTHAND_PORT to another port, or stop what listens there."
        return Finding("port", False, f"{where}: {error.strerror}", mend)
    return Finding("port", True, f"{where} is free")


def _model(settings: Settings) -> Finding:
    model = settings.model
    if model.dialect is Dialect.EXTRACTIVE:
        mend = "For explanations set OPENAI_API_KEY, ANTHROPIC_API_KEY or OLLAMA_HOST; see README."
        return Finding("model", False, "none; answers are passages", mend, needed=False)
    return Finding("model", True, f"{model.provider}/{model.model}", needed=False)
