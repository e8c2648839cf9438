"""Folders for half-done work, each owned by the process that made it and by nobody else.

The owner holds a lock on its folder; a folder whose lock is free belonged to a process that
was killed, and is removed by `remove_abandoned`.
"""

import fcntl
import os
import secrets
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.to_thread

from firsthand.sources.locks import hold

_YOUNG_SECONDS = 60.0


class WorkFolders:
    """Makes and removes folders under one root, which is on the store's own file system."""

    def __init__(self, root: Path, lock: Path) -> None:
        self._root = root
        self._lock = lock

    @asynccontextmanager
    async def new(self) -> AsyncGenerator[Path]:
        """Give an empty folder, and remove what is left of it afterwards."""
        folder = self._root / secrets.token_hex(16)
        # Shared by those who make folders, so that the sweep cannot see one without its lock.
        async with hold(self._lock, shared=True):
            descriptor = _make_locked(folder)
        try:
            yield folder
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(delete_tree, folder)
            os.close(descriptor)

    async def remove_abandoned(self) -> int:
        """Remove the folders of dead processes; return how many there were."""
        async with hold(self._lock):
            abandoned = _lock_abandoned(self._root)
        for folder, descriptor in abandoned:
            await anyio.to_thread.run_sync(delete_tree, folder)
            os.close(descriptor)
        return len(abandoned)


def _make_locked(folder: Path) -> int:
    folder.mkdir(mode=0o700)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return descriptor


def _lock_abandoned(root: Path) -> list[tuple[Path, int]]:
    found: list[tuple[Path, int]] = []
    for folder in root.iterdir():
        if _is_young_file(folder):
            continue
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            # Its owner has just finished.
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
        else:
            found.append((folder, descriptor))
    return found


def _is_young_file(path: Path) -> bool:
    # Records are written here without a lock, in an instant, before they take their place.
    try:
        return path.is_file() and time.time() - path.stat().st_mtime < _YOUNG_SECONDS
    except FileNotFoundError:
        return True


def delete_tree(folder: Path) -> None:
    """Remove a folder with all that is in it, read-only folders included. Absent is fine."""
    if not folder.is_dir() or folder.is_symlink():
        folder.unlink(missing_ok=True)
        return
    waiting = [folder]
    while waiting:
        inner = waiting.pop()
        inner.chmod(0o700)
        for path in list(inner.iterdir()):
            if path.is_symlink() or not path.is_dir():
                path.unlink()
            elif inner == folder:
                waiting.append(path)
            else:
                # Moved up: what others wrote may be nested deeper than a call stack or a path
                # can be long. And a folder can only be moved by those who may write in it.
                path.chmod(0o700)
                waiting.append(path.rename(folder / secrets.token_hex(16)))
        if inner != folder:
            inner.rmdir()
    folder.rmdir()


def walk_files(folder: Path) -> Iterator[Path]:
    """Yield every file below a folder, however deep it lies, and no link."""
    waiting = [folder]
    while waiting:
        for path in waiting.pop().iterdir():
            if path.is_symlink():
                continue
            if path.is_dir():
                waiting.append(path)
            else:
                yield path
