"""Sizes, ages, durations and counts as people read them; no knowledge of what is measured."""

from datetime import datetime, timedelta

_UNITS = ("kB", "MB", "GB", "TB")


def size(count: int) -> str:
    """Return bytes in decimal units with at most three figures, such as `4.2 MB`."""
    if count < 1000:
        return f"{count} B"
    value = float(count)
    unit = ""
    for name in _UNITS:
        value, unit = value / 1000, name
        if value < 999.5:
            break
    return f"{value:.1f} {unit}" if value < 9.95 else f"{value:.0f} {unit}"


def duration(length: timedelta | float) -> str:
    """Return a duration as `80 ms`, `3.2 s`, `2 min 5 s` or `1 h 10 min`."""
    seconds = length.total_seconds() if isinstance(length, timedelta) else length
    seconds = max(0.0, seconds)
    if seconds < 0.9995:
        return f"{round(seconds * 1000)} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole % 60 else f"{whole // 60} min"
    minutes = whole // 60
    return f"{minutes // 60} h {minutes % 60} min" if minutes % 60 else f"{minutes // 60} h"


def age(moment: datetime, now: datetime) -> str:
    """Return how long ago a moment was; from 30 days on, the date."""
    seconds = (now - moment).total_seconds()
    if seconds < 45:
        return "just now"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min ago"
    hours = round(seconds / 3600)
    if hours < 24:
        return "1 hour ago" if hours == 1 else f"{hours} hours ago"
    days = round(seconds / 86_400)
    if days <= 30:
        return "yesterday" if days == 1 else f"{days} days ago"
    return f"{moment.day} {moment:%b %Y}"


def exact(moment: datetime) -> str:
    """Return a moment to the second, for a tooltip."""
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def count(number: int, singular: str, plural: str | None = None) -> str:
    """Return `1 file` or `3 files`; thousands are set apart."""
    word = singular if number == 1 else plural or singular + "s"
    return f"{number:,} {word}"


def line_range(start: int, end: int) -> str:
    """Return one line's number, or two with an en dash between."""
    return str(start) if start == end else f"{start}\N{EN DASH}{end}"


def short_commit(commit: str) -> str:
    """Return the first 7 characters of a commit, or of a package's digest."""
    return commit.rpartition(":")[2][:7]
