"""Sizes, ages and durations as people read them."""

from datetime import UTC, datetime, timedelta

import pytest

from firsthand.hub.web import words

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (9_940, "9.9 kB"),
        (9_960, "10 kB"),
        (412_000_000, "412 MB"),
        (999_600, "1.0 MB"),
        (5 * 10**15, "5000 TB"),
    ],
)
def test_sizes(count: int, text: str) -> None:
    assert words.size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0 ms"),
        (0.0804, "80 ms"),
        (0.9996, "1.0 s"),
        (3.21, "3.2 s"),
        (59.97, "1 min"),
        (125, "2 min 5 s"),
        (3600, "1 h"),
        (4260, "1 h 11 min"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert words.duration(seconds) == text
    assert words.duration(timedelta(seconds=seconds)) == text


@pytest.mark.parametrize(
    ("ago", "text"),
    [
        (timedelta(seconds=-5), "just now"),
        (timedelta(seconds=44), "just now"),
        (timedelta(minutes=12), "12 min ago"),
        (timedelta(minutes=60), "1 hour ago"),
        (timedelta(hours=5), "5 hours ago"),
        (timedelta(days=1), "yesterday"),
        (timedelta(days=30), "30 days ago"),
        (timedelta(days=365), "23 Nov 2025"),
    ],
)
def test_ages(ago: timedelta, text: str) -> None:
    assert words.age(NOW - ago, NOW) == text


def test_counts_ranges_and_commits() -> None:
    assert words.count(1, "entry", "entries") == "1 entry"
    assert words.count(1200, "entry", "entries") == "1,200 entries"
    assert words.line_range(7, 7) == "7"
    assert words.line_range(7, 9) == "7\N{EN DASH}9"
    assert words.short_commit("sha256:0123456789") == "0123456"
    assert words.exact(NOW) == "2026-11-23 09:00:00 UTC"
