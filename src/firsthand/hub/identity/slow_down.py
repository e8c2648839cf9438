"""Slows down who guesses passwords, by login and by address. Kept in memory, forgotten on restart.

An address that guesses one login is stopped early; the login itself only after many failures
from everywhere, so that a stranger cannot easily lock its owner out.
"""

from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timedelta

from firsthand.hub.clock import Clock
from firsthand.hub.errors import TooMany

_FREE_PAIR, _FREE_ADDRESS, _FREE_LOGIN = 5, 30, 100
_LONGEST = timedelta(minutes=15)
# Old entries make room for new ones; each takes some hundred bytes.
_REMEMBERED = 20_000

_Key = tuple[str | None, str | None]


@dataclass(slots=True)
class _Failures:
    count: int
    last_at: datetime


class SlowDown:
    """Counts attempts that have not succeeded, and says who must wait."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._failures: OrderedDict[_Key, _Failures] = OrderedDict()

    def begin(self, login: str, address: str) -> None:
        """Count an attempt before it is made, so that many at once do not slip through.

        Raises `TooMany` if the caller must wait.
        """
        now = self._clock()
        for key, free in _keys(login, address):
            wait = self._wait(key, free, now)
            if wait > timedelta():
                seconds = int(wait.total_seconds()) + 1
                raise TooMany(
                    "Too many failed attempts to sign in.",
                    hint=f"Wait {seconds} seconds and try again.",
                )
        for key, _ in _keys(login, address):
            self._count(key, now)

    def succeeded(self, login: str, address: str) -> None:
        """Forget the attempts of someone who knew the password."""
        self._failures.pop((login, address), None)
        for key in ((None, address), (login, None)):
            failures = self._failures.get(key)
            if failures is not None:
                failures.count -= 1

    def remembered(self) -> int:
        """Return how many logins, addresses and pairs of both are held in memory."""
        return len(self._failures)

    def _wait(self, key: _Key, free: int, now: datetime) -> timedelta:
        failures = self._failures.get(key)
        if failures is None or failures.count < free:
            return timedelta()
        doubled = min(failures.count - free, 10)
        return failures.last_at + min(timedelta(seconds=2**doubled), _LONGEST) - now

    def _count(self, key: _Key, now: datetime) -> None:
        failures = self._failures.pop(key, None)
        if failures is None or now - failures.last_at > _LONGEST:
            failures = _Failures(0, now)
        failures.count += 1
        failures.last_at = now
        self._failures[key] = failures
        while len(self._failures) > _REMEMBERED:
            self._failures.popitem(last=False)


def _keys(login: str, address: str) -> tuple[tuple[_Key, int], ...]:
    return (
        ((login, address), _FREE_PAIR),
        ((None, address), _FREE_ADDRESS),
        ((login, None), _FREE_LOGIN),
    )
