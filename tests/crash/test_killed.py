"""SIGKILL to a real hub: real wiring, real SQLite, real sandbox, real agent, a slow answer."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest

from firsthand.hub.sandboxes.bubblewrap.provider import BubblewrapProvider
from tests.git_server import GitServer, serve_git
from tests.repositories import Commit, make_repository

pytestmark = pytest.mark.timeout(180)

Said = dict[str, Any]
WORDS = 150
SLOW = f"slow:{WORDS}x20ms"


class Hub:
    """A process of the hub, spoken to line by line."""

    def __init__(self, folder: Path, model: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.hub_runner", str(folder), model],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "HOME": str(folder)},
        )

    def tell(self, **command: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()

    def hear(self) -> Said:
        assert self._process.stdout is not None
        while line := self._process.stdout.readline():
            # Beside answers there are lines of the log.
            if line.startswith("{"):
                return json.loads(line)
        raise AssertionError("the hub has ended")

    def until(self, wanted: Callable[[Said], object]) -> list[Said]:
        """Hear until something is as wanted; return all that was heard."""
        heard = [self.hear()]
        while not wanted(heard[-1]):
            heard.append(self.hear())
        return heard

    def ask(self, question: str, resource: str) -> str:
        self.tell(ask=question, resource=resource)
        return self.until(lambda said: "run" in said and "number" not in said)[-1]["run"]

    def kill(self) -> None:
        self._process.kill()
        self._close()

    def terminate(self) -> None:
        """Ask for the end in the middle of whatever is under way."""
        self._process.terminate()
        self.end()

    def end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        assert self._process.wait(timeout=30) == 0
        self._close()

    def _close(self) -> None:
        self._process.wait(timeout=30)
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()


@pytest.fixture
def remote(tmp_path: Path) -> Generator[GitServer]:
    root = tmp_path / "remote"
    root.mkdir()
    make_repository(root / "tiny.git", [Commit({b"a.py": b"def a():\n    return 1\n"})])
    with serve_git(root) as server:
        yield server


StartHub = Callable[[str], Hub]


@pytest.fixture
def start_hub() -> Generator[StartHub]:
    """Start hubs one after another over one folder, each with a model."""
    # Not under pytest's own folder: a Unix socket's path has at most 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix="fh"))
    hubs: list[Hub] = []

    def start(model: str) -> Hub:
        hubs.append(Hub(folder, model))
        hubs[-1].until(lambda said: said.get("ready"))
        return hubs[-1]

    try:
        yield start
    finally:
        for hub in hubs:
            hub.kill()
        asyncio.run(_end_sandboxes(folder))
        subprocess.run(["/bin/chmod", "-R", "u+rwX", folder], check=False)
        shutil.rmtree(folder, ignore_errors=True)


async def _end_sandboxes(folder: Path) -> None:
    provider = BubblewrapProvider(folder / "sandboxes", checkouts=folder / "sources" / "trees")
    for sandbox_id in await provider.list_sandboxes():
        await provider.destroy(sandbox_id)
    await provider.close()


def deltas(heard: list[Said]) -> str:
    events = [said["event"] for said in heard if "event" in said]
    return "".join(event["delta"] for event in events if event["type"] == "text.delta")


def _says(word: str) -> Callable[[Said], bool]:
    return lambda said: word in str(said.get("event"))


@pytest.mark.requirement("HUB-6", "HUB-7", "BOX-7")
def test_an_answer_completes_over_two_kills(start_hub: StartHub, remote: GitServer) -> None:
    hub = start_hub(SLOW)
    run = hub.ask("Well?", remote.url_of("tiny.git"))
    heard: list[Said] = []
    for part in (0.2, 0.5):
        hub.tell(follow=run, after=heard[-1]["number"] if heard else 0)
        word = f"word-{int(WORDS * part):04d}"
        heard += hub.until(_says(word))
        hub.kill()
        hub = start_hub(SLOW)
    hub.tell(follow=run, after=heard[-1]["number"])
    heard += hub.until(lambda said: "ended" in said)
    assert heard[-1]["ended"] == "succeeded"
    numbers = [said["number"] for said in heard if "number" in said]
    assert numbers == list(range(1, len(numbers) + 1))
    assert deltas(heard) == "".join(f"word-{n:04d} " for n in range(1, WORDS + 1))
    # A reader that comes only now sees the very same.
    hub.tell(follow=run, after=0)
    assert hub.until(lambda said: "ended" in said) == heard
    hub.end()


@pytest.mark.requirement("HUB-6")
def test_an_orderly_end_does_not_fail_the_answer_either(
    start_hub: StartHub, remote: GitServer
) -> None:
    hub = start_hub(SLOW)
    run = hub.ask("Well?", remote.url_of("tiny.git"))
    hub.tell(follow=run, after=0)
    hub.until(_says("word-0020"))
    hub.terminate()
    hub = start_hub(SLOW)
    hub.tell(follow=run, after=0)
    heard = hub.until(lambda said: "ended" in said)
    assert heard[-1]["ended"] == "succeeded"
    assert deltas(heard) == "".join(f"word-{n:04d} " for n in range(1, WORDS + 1))
    hub.end()


@pytest.mark.requirement("HUB-5")
def test_ten_questions_at_once_wake_a_real_sandbox_once(
    start_hub: StartHub, remote: GitServer
) -> None:
    hub = start_hub("say:It works.")
    url = remote.url_of("tiny.git")
    for number in range(10):
        hub.tell(ask=f"Question {number}?", resource=url)
    runs = [hub.until(lambda said: "run" in said)[-1]["run"] for _ in range(10)]
    for run in runs:
        hub.tell(follow=run, after=0)
    ended = [hub.until(lambda said: "ended" in said)[-1]["ended"] for _ in runs]
    assert ended == ["succeeded"] * 10
    hub.tell(instance=True)
    said = hub.until(lambda said: "state" in said)[-1]
    # Into `provisioning`, into `running`, and nothing else.
    assert (said["state"], said["generation"]) == ("running", 2)
    hub.end()
