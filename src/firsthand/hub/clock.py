"""Time, as the hub sees it. Everything that asks for the time takes a `Clock`."""

from collections.abc import Callable
from datetime import UTC, datetime

# A clock is a plain function, so that a test passes its own.
Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """Return the present moment in UTC."""
    return datetime.now(UTC)
