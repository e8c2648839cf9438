"""One life of a sandbox: its processes, and the folder by which any hub finds them again.

The folder holds a lock file. The keeper, the process around the sandbox, inherits the lock with
its descriptor (`fcntl_locking(2)`, open file description locks) and holds it exactly as long as
it lives; the agent never has that descriptor. So "it runs" is a question to the kernel and not a
remembered process id, two hubs cannot start one sandbox twice, and a hub that was killed at any
moment leaves nothing that needs repair. bubblewrap itself writes the id of the innermost
process, which is trusted only while the lock is held: then it cannot have been given to another.
"""

import contextlib
import fcntl
import itertools
import json
import os
import select
import signal
import socket
import struct
import subprocess
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

import anyio

from firsthand.hub.sandboxes.provider import SandboxFailed

_STOP_GRACE_SECONDS = 2.0
_STOP_LIMIT_SECONDS = 15.0
_LOG_KEPT_BYTES = 256 * 1024
_LOG_MAX_BYTES = 1024 * 1024
_BACKLOG = 128


@dataclass(frozen=True, slots=True)
class Descriptors:
    """What a starting incarnation inherits, by number."""

    listener: int
    info: int
    seccomp: int


@dataclass(frozen=True, slots=True)
class Incarnation:
    """The processes that belong to one folder. Holds no state: the folder does."""

    folder: Path

    @property
    def socket_path(self) -> Path:
        """Where the hub reaches the agent. The name is short because its path may be 107 bytes."""
        return self.folder / "s"

    @property
    def log(self) -> Path:
        """What its processes print."""
        return self.folder / "log"

    def is_alive(self) -> bool:
        """Tell whether any process of it is left."""
        try:
            with self._lock_file(os.O_RDWR) as lock:
                return _lock_holder_exists(lock)
        except FileNotFoundError:
            return False

    def start(
        self, filter_program: bytes, command: Callable[[Descriptors], Sequence[str]]
    ) -> "subprocess.Popen[bytes] | None":
        """Start it, unless it lives; return the outermost process, which the caller must reap.

        The listening socket is made here and inherited by the agent. So a request may be sent
        at once and waits until the agent takes it, and nothing inside can put something else
        at the place where the hub connects.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.ExitStack() as stack:
            lock = stack.enter_context(self._lock_file(os.O_RDWR | os.O_CREAT))
            if not _take_lock(lock):
                return None
            listener = stack.enter_context(self._listen())
            info = _open(stack, self.folder / "info.json", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            log = _open(stack, self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            seccomp = _memory_file(stack, filter_program)
            inherited = Descriptors(listener.fileno(), info, seccomp)
            return subprocess.Popen(
                command(inherited),
                stdin=lock,
                stdout=log,
                stderr=log,
                pass_fds=(inherited.listener, inherited.info, inherited.seccomp),
                env={},
                cwd="/",
                start_new_session=True,
            )

    async def end(self) -> None:
        """Ask it to end, then make it; return when nothing of it is left.

        Raises `SandboxFailed` if the kernel does not let go of it in time.
        """
        try:
            with anyio.fail_after(_STOP_LIMIT_SECONDS):
                await self._end()
                await self._until_released()
        except TimeoutError as error:
            raise SandboxFailed(
                f"The processes of {self.folder} did not end.",
                hint="A process may hang in the kernel; look at them with ps.",
            ) from error

    async def _end(self) -> None:
        process = await self._open_process_one()
        if process is None:
            return
        try:
            signal.pidfd_send_signal(process, signal.SIGTERM)
            with anyio.move_on_after(_STOP_GRACE_SECONDS):
                await anyio.wait_readable(process)
                return
            # With process 1 the kernel ends all others of its world, and waits for them.
            signal.pidfd_send_signal(process, signal.SIGKILL)
            await anyio.wait_readable(process)
        except ProcessLookupError:
            return
        finally:
            os.close(process)

    async def _until_released(self) -> None:
        """Wait for the outer processes, which end by themselves a moment after the inner."""
        for _ in itertools.takewhile(lambda _: self.is_alive(), itertools.count()):
            await anyio.sleep(0.002)

    async def _open_process_one(self) -> int | None:
        """Return a descriptor of the agent's process, or `None` when nothing lives."""
        while self.is_alive():
            pid = self._process_one()
            if pid is not None:
                with contextlib.suppress(ProcessLookupError):
                    process = os.pidfd_open(pid)
                    # Only now: what lives now lived when the descriptor was made.
                    if self.is_alive():
                        return process
                    os.close(process)
            await anyio.sleep(0.002)
        return None

    def can_answer(self) -> bool:
        """Tell whether the agent itself lives; the processes around it end a moment later."""
        pid = self._process_one()
        if pid is None or not self.is_alive():
            return False
        try:
            process = os.pidfd_open(pid)
        except ProcessLookupError:
            return False
        try:
            # A descriptor of a process becomes readable when it ends (pidfd_open(2)).
            return not _is_readable(process)
        finally:
            os.close(process)

    def _process_one(self) -> int | None:
        try:
            return int(json.loads((self.folder / "info.json").read_bytes())["child-pid"])
        except (OSError, ValueError, KeyError):
            return None  # bubblewrap has not written it yet

    def read_log(self, max_bytes: int) -> str:
        """Return the end of the log."""
        try:
            with self.log.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - max_bytes))
                return file.read(max_bytes).decode(errors="replace")
        except FileNotFoundError:
            return ""

    def trim_log(self) -> None:
        """Keep the log small while it is being written; a file-size limit bounds it in between."""
        try:
            if self.log.stat().st_size <= _LOG_MAX_BYTES:
                return
        except FileNotFoundError:
            return
        end = self.read_log(_LOG_KEPT_BYTES)
        # Its writers append, so that they go on at the new end.
        os.truncate(self.log, 0)
        with self.log.open("a") as file:
            file.write(end)

    @contextlib.contextmanager
    def _lock_file(self, flags: int) -> Generator[int]:
        lock = os.open(self.folder / "lock", flags | os.O_CLOEXEC, 0o600)
        try:
            yield lock
        finally:
            os.close(lock)

    def _listen(self) -> socket.socket:
        self.socket_path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listener.bind(str(self.socket_path))
            listener.listen(_BACKLOG)
        except OSError:
            listener.close()
            raise
        return listener


def _is_readable(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))


def _open(stack: contextlib.ExitStack, path: Path, flags: int) -> int:
    descriptor = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    stack.callback(os.close, descriptor)
    return descriptor


def _memory_file(stack: contextlib.ExitStack, content: bytes) -> int:
    descriptor = os.memfd_create("seccomp")
    stack.callback(os.close, descriptor)
    os.write(descriptor, content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _flock(kind: int) -> bytes:
    """A `struct flock` over the whole file, as 64-bit Linux lays it out."""
    return struct.pack("=hh4xqqi4x", kind, os.SEEK_SET, 0, 0, 0)


def _take_lock(lock: int) -> bool:
    try:
        fcntl.fcntl(lock, fcntl.F_OFD_SETLK, _flock(fcntl.F_WRLCK))
    except (BlockingIOError, PermissionError):
        return False
    return True


def _lock_holder_exists(lock: int) -> bool:
    """Ask without taking it, so that asking never gets in a start's way."""
    answer = fcntl.fcntl(lock, fcntl.F_OFD_GETLK, _flock(fcntl.F_WRLCK))
    (kind,) = struct.unpack_from("=h", answer)
    return kind != fcntl.F_UNLCK
