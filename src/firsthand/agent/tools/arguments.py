"""Reading a tool's arguments: models send almost the right thing, and are told what is wrong."""

import re
from collections.abc import Mapping
from typing import Any, Final

from firsthand.agent.errors import ToolError

_WHOLE_NUMBER: Final = re.compile(r"-?[0-9]{1,18}")


def text(given: Mapping[str, Any], name: str, *, max_chars: int = 2_000) -> str:
    """Return a required text. Raises `ToolError`."""
    value = given.get(name)
    if not isinstance(value, str) or not value.strip():
        raise ToolError(f"`{name}` is required and must be a text.")
    if len(value) > max_chars:
        raise ToolError(f"`{name}` is longer than {max_chars} characters.")
    return value


def optional_text(given: Mapping[str, Any], name: str) -> str | None:
    """Return a text or `None`; an empty text counts as none."""
    value = given.get(name)
    if value is None or value == "":
        return None
    return text(given, name)


def number(given: Mapping[str, Any], name: str, default: int, *, low: int, high: int) -> int:
    """Return a whole number between the bounds; values beyond are brought to the bound."""
    value = given.get(name)
    if value is None:
        return default
    if isinstance(value, str) and _WHOLE_NUMBER.fullmatch(value.strip()):
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise ToolError(f"`{name}` must be a whole number.")
    return max(low, min(high, value))


def flag(given: Mapping[str, Any], name: str, *, default: bool = False) -> bool:
    """Return a yes or no."""
    value = given.get(name)
    if value is None:
        return default
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in {"true", "false"}:
        return value.lower() == "true"
    raise ToolError(f"`{name}` must be true or false.")


def refuse_unknown(given: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    """Raise `ToolError` for arguments that the tool does not have."""
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise ToolError(
            f"There is no argument {', '.join(f'`{name}`' for name in unknown)}; "
            f"there are {', '.join(f'`{name}`' for name in known)}."
        )
