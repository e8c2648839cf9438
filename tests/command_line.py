"""Runs the real command line as a process, with a home and a data folder of its own."""

import os
import pty
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SECONDS = 90
PROGRAM = Path(sys.executable).with_name("firsthand")


@dataclass(frozen=True)
class Ended:
    """How the command ended."""

    code: int
    out: str
    err: str


def environment(home: Path, **settings: str) -> dict[str, str]:
    """What a person's shell has, without any setting of Firsthand but these."""
    ours = ("FIRSTHAND_", "OPENAI_", "ANTHROPIC_", "OPENROUTER_", "OPENCODE_", "OLLAMA_")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
    return {**kept, "HOME": str(home), "FIRSTHAND_DATA_DIR": str(home / "data"), **settings}


def firsthand(home: Path, *arguments: str, **settings: str) -> Ended:
    """Run `firsthand …` to its end, in an empty folder, with no terminal."""
    ended = subprocess.run(
        [PROGRAM, *arguments],
        cwd=home,
        env=environment(home, **settings),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    return Ended(ended.returncode, ended.stdout, ended.stderr)


def firsthand_on_terminal(home: Path, *arguments: str, **settings: str) -> Ended:
    """Run it with both outputs on a terminal of 100 columns; `out` is what the terminal got."""
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        [PROGRAM, *arguments],
        cwd=home,
        env=environment(home, COLUMNS="100", TERM="xterm-256color", **settings),
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
    )
    os.close(terminal)
    received = bytearray()
    with os.fdopen(controller, "rb", buffering=0) as reader:
        while True:
            try:
                chunk = reader.read(65536)
            except OSError:
                break  # Linux: the last program has let go of the terminal.
            if not chunk:
                break
            received += chunk
    return Ended(process.wait(SECONDS), received.decode("utf-8", "replace"), "")


@contextmanager
def started(home: Path, *arguments: str, **settings: str) -> Generator[subprocess.Popen[str]]:
    """Run it side by side with the test, in a process group of its own, as a shell does."""
    with subprocess.Popen(
        [PROGRAM, *arguments],
        cwd=home,
        env=environment(home, **settings),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
