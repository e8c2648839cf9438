"""Runs the ripgrep program over a checkout: bounded in time and output, killed when cancelled.

Nothing of the repository steers it: no configuration file, no ignore file, no pre-processor.
"""

import asyncio
import os
import shutil
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from firsthand.agent.errors import ToolError

_ALWAYS: Final = (
    "--no-config",
    "--no-ignore",
    "--hidden",
    "--color=never",
    "--glob=!.git",
    "--no-messages",
)
_ERROR_CHARS: Final = 600


@dataclass(frozen=True, slots=True)
class Found:
    """What the program printed. `cut` says why it was ended before its time, if it was."""

    output: bytes
    cut: str | None


def program() -> str:
    """Return the path of ripgrep: beside this Python, or wherever PATH has it."""
    beside = Path(sys.executable).with_name("rg")
    if os.access(beside, os.X_OK):
        return str(beside)
    found = shutil.which("rg")
    if found is None:
        raise ToolError(
            "The program rg (ripgrep) is not installed here.",
            hint="Install it: pip install ripgrep, or apt-get install ripgrep.",
            tag="ToolMissing",
        )
    return found


async def run(arguments: Sequence[str], folder: Path, *, seconds: float, max_bytes: int) -> Found:
    """Run ripgrep in a folder. Raises `ToolError` with its own words where it complains."""
    with _pipe() as (reading, writing):
        with os.fdopen(writing, "wb") as given_away:
            process = await asyncio.create_subprocess_exec(
                program(),
                *_ALWAYS,
                *arguments,
                cwd=folder,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=given_away,
                stderr=asyncio.subprocess.PIPE,
                env={"PATH": os.environ.get("PATH", ""), "LANG": "C.UTF-8"},
            )
        assert process.stderr is not None
        complaint = asyncio.ensure_future(_read_complaint(process.stderr))
        # A thread of its own: ripgrep writes file by file, and the event loop takes several times
        # as long for each small piece.
        output = asyncio.ensure_future(asyncio.to_thread(_read_output, reading, max_bytes))
        cut: str | None = None
        try:
            async with asyncio.timeout(seconds):
                if len(await asyncio.shield(output)) > max_bytes:
                    cut = f"more than {max_bytes:,} bytes of matches; only the first are here"
                else:
                    await process.wait()
        except TimeoutError:
            cut = f"the search took longer than {seconds:g} seconds; only what was found is here"
        finally:
            with suppress(ProcessLookupError):
                if process.returncode is None:
                    process.kill()
            # Shielded: a cancelled search must not leave its process unburied.
            await asyncio.shield(asyncio.gather(process.wait(), output))
            said = await complaint
    # 0 says that something was found, 1 that nothing was; anything else that it could not look.
    if cut is None and process.returncode not in {0, 1}:
        if not output.result():
            raise ToolError(_complaint(said))
        cut = "the search broke off; only what was found until then is here"
    return Found(output.result(), cut)


@contextmanager
def _pipe() -> Generator[tuple[int, int]]:
    """Make a pipe. The writing end is closed by whoever gets it, the reading end here."""
    reading, writing = os.pipe()
    try:
        yield reading, writing
    finally:
        os.close(reading)


def _read_output(reading: int, max_bytes: int) -> bytes:
    """Read to the end or just beyond the bound; blocks until then."""
    output = bytearray()
    while len(output) <= max_bytes and (chunk := os.read(reading, 1024 * 1024)):
        output += chunk
    return bytes(output)


async def _read_complaint(stream: asyncio.StreamReader) -> bytes:
    """Read to the end, so that the program never waits for us; keep the beginning."""
    said = b""
    while chunk := await stream.read(64 * 1024):
        said = (said + chunk)[: 64 * 1024]
    return said


def _complaint(said: bytes) -> str:
    text = said.decode("utf-8", "replace").strip().removeprefix("rg: ")
    return f"ripgrep could not search: {text[:_ERROR_CHARS] or 'it ended without a word'}"
