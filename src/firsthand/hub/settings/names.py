"""Every name a setting can have, and where its value comes from.

The environment beats `firsthand.toml`, which uses the same names. An empty value is unset.
"""

import difflib
import tomllib
from collections.abc import Mapping
from pathlib import Path

from firsthand.hub.errors import SettingsError

FILE_NAME = "firsthand.toml"

OWN_NAMES = frozenset(
    {
        "FIRSTHAND_DATA_DIR",
        "FIRSTHAND_HOST",
        "FIRSTHAND_PORT",
        "FIRSTHAND_PUBLIC_URL",
        "FIRSTHAND_ALLOWED_PRIVATE_HOSTS",
        "FIRSTHAND_SANDBOX",
        "FIRSTHAND_RUNTIME",
        "FIRSTHAND_IDLE_STOP",
        "FIRSTHAND_MODEL",
        "FIRSTHAND_MODEL_BASE_URL",
        "FIRSTHAND_MODEL_API_KEY",
        "FIRSTHAND_MODEL_DIALECT",
    }
)
# Names of others that mean to us what they mean to them.
SHARED_NAMES = frozenset(
    {
        "DATABASE_URL",
        "CLIENT_ORIGIN",
        "OPENCODE_API_KEY",
        "OPENROUTER_API_KEY",
        "OPENAI_API_KEY",
        "OPENAI_BASE_URL",
        "ANTHROPIC_API_KEY",
        "ANTHROPIC_BASE_URL",
        "OLLAMA_HOST",
    }
)
# An operator who sets one of these relies on it: going on without would be worse than stopping.
UNSUPPORTED_VENDORS: Mapping[str, tuple[frozenset[str], str]] = {
    "Clerk": (
        frozenset({"CLERK_PUBLISHABLE_KEY", "CLERK_JWKS_URL", "CLERK_WEBHOOK_SECRET"}),
        "signs people in with its own accounts only",
    ),
    "OpenID Connect": (
        frozenset({"OIDC_ISSUER", "OIDC_CLIENT_ID", "OIDC_CLIENT_SECRET"}),
        "signs people in with its own accounts only",
    ),
    "Daytona": (
        frozenset({"DAYTONA_API_KEY", "DAYTONA_API_URL", "DAYTONA_WEBHOOK_SECRET"}),
        "runs sandboxes with bubblewrap on this host only",
    ),
    "Autumn": (
        frozenset({"AUTUMN_SECRET_KEY", "AUTUMN_WEBHOOK_SECRET"}),
        "has no billing",
    ),
}
_VENDOR_NAMES = frozenset(name for names, _ in UNSUPPORTED_VENDORS.values() for name in names)
ALL_NAMES = OWN_NAMES | SHARED_NAMES | _VENDOR_NAMES


def gather(environ: Mapping[str, str], folder: Path) -> dict[str, str]:
    """Return what is set, by name, stripped. Raises `SettingsError` on a name that is misspelt."""
    values = _from_file(folder / FILE_NAME)
    for name, value in environ.items():
        if name in ALL_NAMES:
            values[name] = value
        elif name.startswith("FIRSTHAND_"):
            # Scripts may use names of their own with our prefix; a near miss is a mistake.
            near = difflib.get_close_matches(name, OWN_NAMES, n=1, cutoff=0.88)
            if near:
                raise SettingsError(f"{name} is not a setting.", hint=f"Did you mean {near[0]}?")
    stripped = {name: value.strip() for name, value in values.items()}
    return {name: value for name, value in stripped.items() if value}


def refuse_unsupported_vendors(values: Mapping[str, str]) -> None:
    """Raise `SettingsError` if a vendor is set up that this version cannot work with."""
    for vendor, (names, instead) in UNSUPPORTED_VENDORS.items():
        found = sorted(names & values.keys())
        if found:
            raise SettingsError(
                f"{', '.join(found)} cannot be used: this version of Firsthand {instead}, "
                f"not with {vendor}.",
                hint=f"Unset {', '.join(found)}.",
            )


def _from_file(path: Path) -> dict[str, str]:
    try:
        text = path.read_bytes().decode()
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} cannot be read: {error}.") from error
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path} is not valid TOML: {error}.") from error
    return {name: _as_text(path, name, value) for name, value in table.items()}


def _as_text(path: Path, name: str, value: object) -> str:
    if name not in ALL_NAMES:
        near = difflib.get_close_matches(name.upper(), ALL_NAMES, n=1)
        raise SettingsError(
            f"{name} in {path} is not a setting.",
            hint=f"Did you mean {near[0]}?" if near else "The README lists all settings.",
        )
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, list):
        return ",".join(str(item) for item in value)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    raise SettingsError(f"{name} in {path} must be a text, a number or a list of texts.")
