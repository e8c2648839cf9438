"""What a program in the jail may know of this machine's network set-up: proxies, certificates."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
_CERTIFICATES = (
    "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO",
    "GIT_SSL_CAPATH", "NODE_EXTRA_CA_CERTS", "PIP_CERT", "npm_config_cafile",
)  # fmt: skip


def network_environment(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the variables that say how the network is reached and whom to trust there."""
    proxies = {name for low in _PROXIES for name in (low, low.upper())}
    names = proxies | set(_CERTIFICATES)
    return {name: environ[name] for name in sorted(names) if environ.get(name)}


def certificate_files(environ: Mapping[str, str] = os.environ) -> dict[Path, Path]:
    """Return what must be mounted for those variables to mean the same inside."""
    paths = [Path(environ[name]) for name in _CERTIFICATES if environ.get(name)]
    return mounts(path for path in paths if path.is_absolute())


def mounts(paths: Iterable[Path]) -> dict[Path, Path]:
    """Return a mount for each path that exists and is not in the jail anyway."""
    there = ("/usr/", "/etc/ssl/", "/etc/pki/", "/etc/ca-certificates/")
    return {p: p.resolve() for p in paths if p.exists() and not f"{p}/".startswith(there)}
