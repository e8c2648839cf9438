"""Whether a git address may be asked: its spelling, and where its host really lies.

The addresses that were checked are handed to git, so that a name that answers differently a
moment later (DNS rebinding) leads nowhere else. What the answer holds is no concern here.
"""

import ipaddress
import re
import socket
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

import anyio
import anyio.to_thread

from firsthand.sources.errors import AddressRefused, FetchFailed, FetchTimedOut, InvalidSource

URL_CHARS = 2_000
_RESOLVE_SECONDS = 20.0
_DEFAULT_PORTS = {"https": 443, "http": 80}
# As `urlsplit` gives it. Other letters, and letters written as %XX, are read by curl in other
# ways than by our own look-up, so that curl would ask for a host that was never checked.
_HOST = re.compile(r"[a-z0-9._-]+|[0-9a-f:.]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class PinnedUrl:
    """An address that may be asked, with the network addresses that it was checked for."""

    url: str
    host: str
    port: int
    addresses: tuple[str, ...]

    @property
    def curl_resolve(self) -> str:
        """The value of git's `http.curloptResolve`: `HOST:PORT:ADDRESS[,ADDRESS]`.

        Empty where the host is an IPv6 address itself: there is nothing to look up, and no way
        to write it.
        """
        if ":" in self.host:
            return ""
        listed = ",".join(f"[{a}]" if ":" in a else a for a in self.addresses)
        return f"{self.host}:{self.port}:{listed}"


def check_spelling(url: str) -> SplitResult:
    """Take an address apart. Raises `InvalidSource` for anything but a plain repository URL."""
    if len(url) > URL_CHARS:
        raise InvalidSource(f"An address may have at most {URL_CHARS} characters.")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise InvalidSource(f"“{url[:80]}” is not a valid address.") from error
    if "@" in parts.netloc:
        raise InvalidSource(
            "The address holds a user name or a password.",
            "Remove everything between “//” and “@”; only public repositories can be read.",
        )
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname or port == 0:
        raise InvalidSource(f"“{url[:80]}” is not an HTTPS address of a git repository.")
    if not _HOST.fullmatch(parts.hostname):
        raise InvalidSource(
            f"The host of “{url[:80]}” may have letters a to z, digits, “.”, “-” and “_” only.",
            "Names in other letters have a second form, which begins with “xn--”: write that.",
        )
    if parts.query or parts.fragment or not parts.path.strip("/"):
        raise InvalidSource(
            f"“{url[:80]}” does not name a repository.",
            "Write the address that `git clone` takes, without “?” and “#”.",
        )
    return parts


async def check_url(url: str, allowed_private_hosts: frozenset[str]) -> PinnedUrl:
    """Look up where the host lies, now. Raises `AddressRefused` if that must not be reached.

    `allowed_private_hosts` names a company's own hosts as `host` or `host:port`; they may lie
    anywhere and speak plain HTTP on any port.
    """
    parts = check_spelling(url)
    host = parts.hostname or ""
    port = parts.port or _DEFAULT_PORTS[parts.scheme]
    allowed = not {host, f"{host}:{port}", f"[{host}]:{port}"}.isdisjoint(
        entry.lower() for entry in allowed_private_hosts
    )
    if parts.scheme != "https" and not allowed:
        raise AddressRefused(
            f"{host} may only be asked over HTTPS.", "Write the address with https:// ."
        )
    if parts.port not in {None, 443} and not allowed:
        raise AddressRefused(f"{host} may only be asked on port 443.", _allow_hint(host))
    addresses = await _look_up(host, port)
    if not allowed and not all(_is_public(address) for address in addresses):
        raise AddressRefused(
            f"{host} lies on a private, loopback, link-local or reserved network.",
            _allow_hint(host),
        )
    return PinnedUrl(url, host, port, addresses)


async def _look_up(host: str, port: int) -> tuple[str, ...]:
    def ask() -> tuple[str, ...]:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return tuple(dict.fromkeys(str(entry[4][0]) for entry in found))

    try:
        with anyio.fail_after(_RESOLVE_SECONDS):
            return await anyio.to_thread.run_sync(ask, abandon_on_cancel=True)
    except (OSError, UnicodeError) as error:
        if isinstance(error, TimeoutError):
            raise FetchTimedOut(f"Looking up {host} took too long.", "Try again.") from error
        raise FetchFailed(
            f"The host {host} cannot be found.",
            "Check the spelling of the address and the network of this machine.",
        ) from error


def _is_public(text: str) -> bool:
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        # Each of these carries an IPv4 address inside, which is where the packets would go.
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
        if inner is None and address in ipaddress.ip_network("64:ff9b::/96"):
            inner = ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
        if inner is not None:
            return _is_public(str(inner))
        if address.is_site_local:
            return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def _allow_hint(host: str) -> str:
    return f"The operator can allow it by naming {host} in FIRSTHAND_ALLOWED_PRIVATE_HOSTS."
