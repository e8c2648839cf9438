"""How the benches put figures: medians and 95th percentiles, and the machine they were taken on."""

import os
import platform
import statistics
from collections.abc import Sequence
from datetime import UTC, datetime


def in_ms(seconds: Sequence[float]) -> dict[str, float]:
    """Return count, median and 95th percentile of durations given in seconds."""
    ordered = sorted(seconds)
    return {
        "n": len(ordered),
        "median_ms": round(statistics.median(ordered) * 1000, 2),
        "p95_ms": round(ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))] * 1000, 2),
    }


def machine() -> dict[str, object]:
    """Return when and on what a bench runs; the load is that of the minute before it."""
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpus": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
        "memory_mib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20,
        "kernel": platform.release(),
        "python": platform.python_version(),
    }
