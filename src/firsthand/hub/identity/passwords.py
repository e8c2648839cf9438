"""Hashes and checks passwords with argon2id (RFC 9106), off the event loop."""

import anyio
import anyio.to_thread
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

# A hash takes 64 MiB and tens of milliseconds: more at once would starve everything else.
_AT_ONCE = 2


class Passwords:
    """Bounded hashing. The default cost is that of argon2-cffi; tests pass a cheaper hasher."""

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher or PasswordHasher()
        self._limiter = anyio.CapacityLimiter(_AT_ONCE)
        self._nobodys: str | None = None

    async def hash(self, password: str) -> str:
        """Return what is stored of a password."""
        return await anyio.to_thread.run_sync(
            self._hasher.hash, _storable(password), limiter=self._limiter
        )

    async def matches(self, password: str, stored: str | None) -> bool:
        """Say whether the password is the stored one.

        With nothing stored the answer is no, and takes as long.
        """
        return await anyio.to_thread.run_sync(
            self._matches_now, password, stored, limiter=self._limiter
        )

    def is_outdated(self, stored: str) -> bool:
        """Say whether the hash was made with another cost than today's."""
        return self._hasher.check_needs_rehash(stored)

    def _matches_now(self, password: str, stored: str | None) -> bool:
        if self._nobodys is None:
            self._nobodys = self._hasher.hash("nobody's")
        try:
            self._hasher.verify(stored or self._nobodys, _storable(password))
        except (VerificationError, InvalidHashError):
            return False
        return stored is not None


def _storable(password: str) -> bytes:
    # A form field can hold lone surrogates, which no encoding takes.
    return password.encode("utf-8", "surrogatepass")
