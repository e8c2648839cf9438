"""Turns the text of one setting into its value, or says what is wrong with it, by name."""

import ipaddress
import re
from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from typing import TypeVar
from urllib.parse import SplitResult, urlsplit

from firsthand.hub.errors import SettingsError

E = TypeVar("E", bound=StrEnum)

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_HOST_NAME = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*\.?", re.ASCII)


def read_choice(values: Mapping[str, str], name: str, default: E) -> E:
    """Return one of the words of `default`'s enumeration."""
    text = values.get(name)
    if text is None:
        return default
    kind = type(default)
    try:
        return kind(text.lower())
    except ValueError as error:
        raise SettingsError(f"{name} must be one of: {', '.join(kind)}.") from error


def read_port(values: Mapping[str, str], name: str, default: int) -> int:
    """Return a TCP port; 0 lets the system choose one."""
    text = values.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= 65535):
        raise SettingsError(f"{name} must be a port number from 0 to 65535.")
    return int(text)


def read_duration(values: Mapping[str, str], name: str, default: timedelta) -> timedelta:
    """Return a duration written as `90`, `90s`, `5m`, `2h` or `1d`, from 1 second to 1 year."""
    text = values.get(name)
    if text is None:
        return default
    match = re.fullmatch(r"([0-9]{1,9})\s*([smhd]?)", text.lower(), re.ASCII)
    seconds = int(match[1]) * _UNITS[match[2] or "s"] if match else 0
    if not 1 <= seconds <= 365 * 86400:
        raise SettingsError(f"{name} must be a duration such as 90s, 5m or 2h.")
    return timedelta(seconds=seconds)


def read_host(values: Mapping[str, str], name: str, default: str) -> str:
    """Return a host name or address to listen on."""
    host = values.get(name, default).lower()
    if not _is_host(host):
        raise SettingsError(f"{name} must be a host name or an address, without port.")
    return host


def read_hosts(values: Mapping[str, str], name: str) -> frozenset[str]:
    """Return host names and addresses separated by commas or spaces, in lower case."""
    hosts = {host.lower() for host in re.split(r"[,\s]+", values.get(name, "")) if host}
    for host in hosts:
        if not _is_host(host):
            raise SettingsError(
                f"{name} must be a list of host names; {host!r} is none.",
                hint="Write names only, without https://, port or path, separated by commas.",
            )
    return frozenset(hosts)


def read_origins(values: Mapping[str, str], name: str) -> frozenset[str]:
    """Return web origins such as `https://app.example.org`, separated by commas or spaces."""
    origins: set[str] = set()
    for text in re.split(r"[,\s]+", values.get(name, "")):
        if text:
            parts = check_url(name, text)
            if parts.path not in {"", "/"}:
                raise SettingsError(f"{name} must list origins, without a path.")
            origins.add(f"{parts.scheme}://{parts.netloc.lower()}")
    return frozenset(origins)


def read_url(values: Mapping[str, str], name: str) -> str | None:
    """Return an http or https URL without a slash at the end."""
    text = values.get(name)
    if text is None:
        return None
    check_url(name, text)
    return text.rstrip("/")


def read_secret(values: Mapping[str, str], name: str) -> str | None:
    """Return a key that can be sent in a header. The message never shows it."""
    text = values.get(name)
    if text is not None and not (text.isascii() and text.isprintable() and " " not in text):
        raise SettingsError(f"{name} holds characters that no key can have.")
    return text


def check_url(name: str, text: str) -> SplitResult:
    """Return the parts of a plain http or https URL, or raise `SettingsError`."""
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port, parts = None, None, urlsplit("")
    if (
        parts.scheme not in {"http", "https"}
        or host is None
        or not _is_host(host)
        or port == 0
        or not text.isprintable()
    ):
        raise SettingsError(f"{name} must be a URL such as https://host/path.")
    if parts.username is not None or parts.password is not None:
        raise SettingsError(f"{name} must not hold a user name or password.")
    if parts.query or parts.fragment:
        raise SettingsError(f"{name} must be a URL without ? and #.")
    return parts


def _is_host(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return len(host) <= 253 and _HOST_NAME.fullmatch(host) is not None
    return True
