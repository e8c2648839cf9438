"""Runs one program in a throw-away bubblewrap sandbox, with limits on time, output and size.

Only the folders named as writable can be written; of the file system there is only what
programs need; there is no home, no terminal, and no network unless asked for. The program dies
with the process that started it. What is run, and why, is the caller's business.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import anyio
from anyio.abc import ByteReceiveStream, Process

import firsthand
from firsthand.sources.errors import FetchFailed, FetchTimedOut, SourceTooLarge, ToolMissing

HOME = Path("/home/jail")
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_CONFIGURATION = (
    "/etc/alternatives", "/etc/ca-certificates", "/etc/group", "/etc/hosts", "/etc/host.conf",
    "/etc/gai.conf", "/etc/ld.so.cache", "/etc/localtime", "/etc/nsswitch.conf", "/etc/passwd",
    "/etc/pki", "/etc/resolv.conf", "/etc/ssl",
)  # fmt: skip
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


@dataclass(frozen=True, slots=True)
class Jail:
    """What a program may see and use.

    `files` maps further paths inside to what is mounted there read-only. `file_bytes` bounds
    each file that is written, `output_bytes` each of the two outputs.
    """

    writable: tuple[Path, ...] = ()
    readable: tuple[Path, ...] = ()
    files: Mapping[Path, Path] = field(default_factory=dict[Path, Path])
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    network: bool = False
    seconds: float = 120.0
    output_bytes: int = 16 * 1024 * 1024
    file_bytes: int = 4 * 1024**3
    memory_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Finished:
    """How a program ended."""

    code: int
    stdout: bytes
    stderr: bytes

    @property
    def complaint(self) -> str:
        """What it said on standard error, fit to be shown to people."""
        return printable(self.stderr.decode("utf-8", "replace"))


def printable(text: str) -> str:
    """Replace control characters, which a remote may have sent to fool a terminal."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text.replace("\r", "\n")).strip()


def find_program(name: str, install: str, *, beside_python: bool = False) -> str:
    """Return the path of a program, or raise `ToolMissing` saying how to install it."""
    found = shutil.which(name)
    if found is None and beside_python:
        found = shutil.which(name, path=str(Path(sys.executable).parent))
    if found is None:
        raise ToolMissing(f"The program {name} is not installed.", install)
    return found


def python_folders() -> tuple[Path, ...]:
    """What a jail must be able to read to run this Python with this project."""
    package = Path(firsthand.__file__).resolve().parent.parent
    return tuple(dict.fromkeys((Path(sys.base_prefix), Path(sys.prefix), package)))


async def run_jailed(
    command: Sequence[str],
    jail: Jail,
    *,
    on_stderr: Callable[[bytes], None] | None = None,
) -> Finished:
    """Run a program to its end, whatever its exit code.

    Raises `FetchTimedOut`, `SourceTooLarge` (too much output, or a file beyond its limit) and
    `ToolMissing`. On cancellation everything inside is killed before this returns.
    """
    bwrap = find_program("bwrap", "Install bubblewrap: sudo apt install bubblewrap")
    arguments = [bwrap, *_arguments(jail), "--", *_limited(command, jail)]
    try:
        process = await anyio.open_process(arguments, stdin=subprocess.DEVNULL, env={}, cwd="/")
    except OSError as error:
        raise FetchFailed(f"The sandbox could not be started: {error}.") from error
    stdout, stderr = bytearray(), bytearray()
    name = Path(command[0]).name
    try:
        with anyio.fail_after(jail.seconds):
            async with anyio.create_task_group() as readers:
                readers.start_soon(_drain, process, process.stdout, stdout, jail, None)
                readers.start_soon(_drain, process, process.stderr, stderr, jail, on_stderr)
            code = await process.wait()
    except TimeoutError as error:
        raise FetchTimedOut(
            f"{name} did not finish within {jail.seconds:.0f} seconds.", "Try again later."
        ) from error
    finally:
        await _end(process)
    if max(len(stdout), len(stderr)) > jail.output_bytes:
        raise SourceTooLarge(f"{name} gave more than {jail.output_bytes:,} bytes of output.")
    if stderr.startswith(b"bwrap: "):
        raise FetchFailed(
            f"The sandbox could not be started: {printable(stderr.decode(errors='replace'))}",
            "Bubblewrap needs user namespaces; run `firsthand doctor`.",
        )
    if code != 0 and b"File too large" in stderr:
        raise SourceTooLarge(f"{name} tried to write a file beyond {jail.file_bytes:,} bytes.")
    return Finished(code, bytes(stdout), bytes(stderr))


async def _drain(
    process: Process,
    stream: ByteReceiveStream | None,
    into: bytearray,
    jail: Jail,
    listener: Callable[[bytes], None] | None,
) -> None:
    if stream is None:
        return
    async for chunk in stream:
        into += chunk
        if len(into) > jail.output_bytes:
            process.kill()
            return
        if listener is not None:
            listener(chunk)


async def _end(process: Process) -> None:
    with anyio.CancelScope(shield=True):
        if process.returncode is None:
            process.kill()
        await process.wait()
        await process.aclose()


def _limited(command: Sequence[str], jail: Jail) -> Iterator[str]:
    # A write beyond the file limit is to fail with a reason, where the signal would kill silently.
    yield from ("/bin/sh", "-c", 'trap "" XFSZ; exec "$@"', "sh")
    yield from ("/usr/bin/prlimit", "--core=0", f"--fsize={jail.file_bytes}", "--nofile=1024")
    if jail.memory_bytes is not None:
        yield f"--as={jail.memory_bytes}"
    yield "--"
    yield from command


def _arguments(jail: Jail) -> Iterator[str]:
    yield from ("--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL")
    if jail.network:
        yield "--share-net"
    for path in _SYSTEM:
        if Path(path).is_symlink():
            yield from ("--symlink", str(Path(path).readlink()), path)
        else:
            yield from ("--ro-bind-try", path, path)
    for path in _CONFIGURATION:
        yield from ("--ro-bind-try", path, path)
    yield from ("--proc", "/proc", "--dev", "/dev")
    yield from ("--size", str(64 * 1024**2), "--tmpfs", "/tmp")  # noqa: S108  # of the jail
    yield from ("--dir", str(HOME))
    for path in jail.readable:
        yield from ("--ro-bind", str(path), str(path))
    for inside, outside in jail.files.items():
        yield from ("--ro-bind-try", str(outside), str(inside))
    for path in jail.writable:
        yield from ("--bind", str(path), str(path))
    # The root itself is memory that nothing bounds, and so is /dev. Where this process is root,
    # the jailed one owns the settings of the kernel, with or without capabilities.
    for path in ("/", "/dev", "/proc"):
        yield from ("--remount-ro", path)
    yield from ("--chdir", str(jail.writable[0] if jail.writable else "/"), "--clearenv")
    environment = {
        "HOME": str(HOME),
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "PATH": os.pathsep.join(("/usr/local/bin", "/usr/bin", "/bin")),
        "TMPDIR": "/tmp",  # noqa: S108  # of the jail
        **jail.environment,
    }
    for name, value in environment.items():
        yield from ("--setenv", name, value)
