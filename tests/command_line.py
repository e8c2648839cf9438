"""Runs the real command line as a process, with a home and a data folder of its own."""

import os
import pty
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
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


@dataclass
class RunningHub:
    """`firsthand serve` as a process; `lines` is what it printed so far."""

    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list[str])

    @property
    def url(self) -> str:
        """Where it listens."""
        found = re.search(r"https?://\S+", self.lines[0])
        assert found is not None
        return found[0]

    def stop(self) -> str:
        """End it in an orderly way; return what it had left to say."""
        self.process.send_signal(signal.SIGTERM)
        rest, _ = self.process.communicate(timeout=SECONDS)
        return rest


@contextmanager
def serving(home: Path, **settings: str) -> Generator[RunningHub]:
    """Run a new hub on a free port until the block ends; it has printed where, and a link."""
    log = home / "hub.log"
    with (
        log.open("a") as errors,
        subprocess.Popen(
            [PROGRAM, "serve", "--port", "0"],
            cwd=home,
            env=environment(home, **settings),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as process,
    ):
        # A hub that says nothing is killed, which ends the reading below.
        guard = threading.Timer(SECONDS, process.kill)
        guard.start()
        hub = RunningHub(process)
        try:
            assert process.stdout is not None
            hub.lines = [process.stdout.readline().rstrip() for _ in range(2)]
            assert all(hub.lines), log.read_text()
            guard.cancel()
            yield hub
        finally:
            guard.cancel()
            if process.poll() is None:
                hub.stop()
