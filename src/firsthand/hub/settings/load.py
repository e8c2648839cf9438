"""Reads all settings and checks them against each other. Knows nothing of who uses them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from pathlib import Path

from firsthand.hub.errors import SettingsError
from firsthand.hub.settings.model import EXTRACTIVE, ModelSettings, read_model
from firsthand.hub.settings.names import gather, refuse_unsupported_vendors
from firsthand.hub.settings.values import (
    read_choice,
    read_duration,
    read_host,
    read_hosts,
    read_origins,
    read_port,
    read_url,
)

DEFAULT_PORT = 8700


class SandboxKind(StrEnum):
    """What keeps agents apart."""

    BUBBLEWRAP = "bubblewrap"
    DOCKER = "docker"
    DAYTONA = "daytona"
    KUBERNETES = "kubernetes"


class Runtime(StrEnum):
    """Which agent answers inside a sandbox."""

    NATIVE = "native"
    BTCA = "btca"


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything an operator can decide. Safe to print: secrets are left out."""

    data_dir: Path
    database_url: str
    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    public_url: str | None = None
    client_origins: frozenset[str] = frozenset()
    allowed_private_hosts: frozenset[str] = frozenset()
    sandbox: SandboxKind = SandboxKind.BUBBLEWRAP
    runtime: Runtime = Runtime.NATIVE
    # How long an instance may do nothing before it is stopped.
    idle_stop: timedelta = timedelta(minutes=2)
    model: ModelSettings = field(default=EXTRACTIVE)


def load_settings(environ: Mapping[str, str], cwd: Path) -> Settings:
    """Return the settings of `environ` and of `cwd/firsthand.toml`.

    Raises `SettingsError`, which names the setting, if one is wrong, half-set, misspelt or not
    supported by this version.
    """
    values = gather(environ, cwd)
    refuse_unsupported_vendors(values)
    data_dir = _data_dir(values, environ, cwd)
    return Settings(
        data_dir=data_dir,
        database_url=_database_url(values, data_dir, cwd),
        host=read_host(values, "FIRSTHAND_HOST", "127.0.0.1"),
        port=read_port(values, "FIRSTHAND_PORT", DEFAULT_PORT),
        public_url=read_url(values, "FIRSTHAND_PUBLIC_URL"),
        client_origins=read_origins(values, "CLIENT_ORIGIN"),
        allowed_private_hosts=read_hosts(values, "FIRSTHAND_ALLOWED_PRIVATE_HOSTS"),
        sandbox=_sandbox(values),
        runtime=_runtime(values),
        idle_stop=read_duration(values, "FIRSTHAND_IDLE_STOP", timedelta(minutes=2)),
        model=read_model(values),
    )


def _data_dir(values: Mapping[str, str], environ: Mapping[str, str], cwd: Path) -> Path:
    text = values.get("FIRSTHAND_DATA_DIR")
    home = Path(environ["HOME"]) if environ.get("HOME") else None
    if text is not None:
        # A question mark would end the path inside the database's URL.
        if "?" in text or not text.isprintable():
            raise SettingsError("FIRSTHAND_DATA_DIR must be a path without ? in it.")
        if text == "~" or text.startswith("~/"):
            if home is None:
                raise SettingsError("FIRSTHAND_DATA_DIR starts with ~, but HOME is not set.")
            return home / text[2:]
        return cwd / text
    shared = environ.get("XDG_DATA_HOME", "")
    if shared.startswith("/"):
        return Path(shared) / "firsthand"
    if home is None:
        raise SettingsError("FIRSTHAND_DATA_DIR is missing, and HOME is not set.")
    return home / ".local" / "share" / "firsthand"


def _database_url(values: Mapping[str, str], data_dir: Path, cwd: Path) -> str:
    text = values.get("DATABASE_URL")
    if text is None:
        return f"sqlite:///{data_dir / 'firsthand.sqlite'}"
    scheme, separator, path = text.partition(":///")
    if scheme.partition(":")[0].startswith("postgres"):
        raise SettingsError(
            "DATABASE_URL names PostgreSQL; this version of Firsthand works with SQLite only.",
            hint="Unset DATABASE_URL, or write sqlite:////path/to/file.",
        )
    if scheme != "sqlite" or not separator or not path or path == ":memory:" or "?" in path:
        raise SettingsError(
            "DATABASE_URL must be sqlite:////path/to/file.",
            hint="Unset it to keep the database in FIRSTHAND_DATA_DIR.",
        )
    return f"sqlite:///{cwd / path}"


def _sandbox(values: Mapping[str, str]) -> SandboxKind:
    sandbox = read_choice(values, "FIRSTHAND_SANDBOX", SandboxKind.BUBBLEWRAP)
    if sandbox is not SandboxKind.BUBBLEWRAP:
        raise SettingsError(
            f"FIRSTHAND_SANDBOX={sandbox} is not possible yet: this version has bubblewrap only.",
            hint="Unset FIRSTHAND_SANDBOX, or set it to bubblewrap.",
        )
    return sandbox


def _runtime(values: Mapping[str, str]) -> Runtime:
    runtime = read_choice(values, "FIRSTHAND_RUNTIME", Runtime.NATIVE)
    if runtime is not Runtime.NATIVE:
        raise SettingsError(
            f"FIRSTHAND_RUNTIME={runtime} is not possible yet: this version has native only.",
            hint="Unset FIRSTHAND_RUNTIME, or set it to native.",
        )
    return runtime
