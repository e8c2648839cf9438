"""Locks between processes of this host, which the kernel frees when their holder dies.

A lock is an flock(2) on a small file that stays. While it is held, the file says how far its
holder has come, so that those who wait can tell their own callers.
"""

import fcntl
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path

import anyio
import msgspec

from firsthand.sources.progress import Progress, Report, ignore

_FIRST_PAUSE = 0.005
_LONGEST_PAUSE = 0.1


class HeldLock:
    """A lock in the hands of this process."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def tell(self, progress: Progress) -> None:
        """Let those who wait for this lock know how far its holder has come."""
        text = msgspec.json.encode(asdict(progress))
        os.pwrite(self._descriptor, text, 0)
        os.ftruncate(self._descriptor, len(text))


def try_lock(path: Path, *, shared: bool = False) -> int | None:
    """Take the lock if it is free; return its open descriptor, which is closed to free it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


@asynccontextmanager
async def hold(
    path: Path, *, shared: bool = False, report: Report = ignore
) -> AsyncGenerator[HeldLock]:
    """Wait for the lock and hold it. `report` hears the progress of whoever has it meanwhile."""
    pause = _FIRST_PAUSE
    last: Progress | None = None
    # flock(2) itself cannot be waited for without a thread that nobody could cancel.
    while (descriptor := try_lock(path, shared=shared)) is None:
        if (told := _read(path)) is not None and told != last:
            last = told
            report(told)
        await anyio.sleep(pause)
        pause = min(pause * 1.5, _LONGEST_PAUSE)
    try:
        if not shared:
            os.ftruncate(descriptor, 0)
        yield HeldLock(descriptor)
    finally:
        os.close(descriptor)


def _read(path: Path) -> Progress | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Progress)
    except (OSError, msgspec.DecodeError):
        return None
