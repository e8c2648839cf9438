"""One hub per data folder, and how programs on the same machine find it.

The running hub holds a lock on `hub.lock` and describes itself in `hub.json`, readable by the
owner of the folder alone. Whoever can read that file is the owner; its token lasts as long as
the process.
"""

import fcntl
import os
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import msgspec

from firsthand.hub.errors import SettingsError
from firsthand.protocol.message import Message


class Presence(Message, frozen=True, kw_only=True):
    """What `hub.json` says: where the hub listens, its process, and the owner's token."""

    url: str
    pid: int
    token: str


@contextmanager
def claim_folder(data_dir: Path) -> Generator[None]:
    """Hold the data folder for this process, making it where it is missing.

    Raises `SettingsError` if it cannot be used or another hub holds it.
    """
    try:
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = (data_dir / "hub.lock").open("a+b")
    except OSError as error:
        raise SettingsError(
            f"The data folder {data_dir} cannot be used: {error.strerror}.",
            hint="Set FIRSTHAND_DATA_DIR to a folder that you may write to.",
        ) from error
    with lock:
        if not _lock(lock):
            raise SettingsError(
                f"Firsthand already runs with the data folder {data_dir}{_where(data_dir)}.",
                hint="Use that one, stop it, or set FIRSTHAND_DATA_DIR to another folder.",
            )
        try:
            yield
        finally:
            _file(data_dir).unlink(missing_ok=True)


def _lock(lock: BinaryIO) -> bool:
    # `find_hub` of another program may hold the lock for a moment.
    for attempt in range(5):
        if attempt:
            time.sleep(0.02)
        with suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
    return False


def announce(data_dir: Path, url: str, token: str) -> None:
    """Write `hub.json`, whole or not at all, so that no reader sees half of it."""
    presence = Presence(url=url, pid=os.getpid(), token=token)
    coming = _file(data_dir).with_suffix(".new")
    coming.unlink(missing_ok=True)
    descriptor = os.open(coming, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.encode(presence))
    coming.replace(_file(data_dir))


def find_hub(data_dir: Path) -> Presence | None:
    """Return the running hub of this folder, or `None`.

    A file that a killed hub left behind does not count: its lock went with the process.
    """
    presence = _read(data_dir)
    if presence is None:
        return None
    try:
        with (data_dir / "hub.lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return presence
    except OSError:
        return None
    return None


def _read(data_dir: Path) -> Presence | None:
    try:
        return msgspec.json.decode(_file(data_dir).read_bytes(), type=Presence)
    except (OSError, msgspec.MsgspecError):
        return None


def _file(data_dir: Path) -> Path:
    return data_dir / "hub.json"


def _where(data_dir: Path) -> str:
    presence = _read(data_dir)
    return "" if presence is None else f" (process {presence.pid}, {presence.url})"
