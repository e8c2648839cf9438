"""The first thing that anyone does: clone, run script/serve, open the link."""

import os
import re
import signal
import subprocess
import tempfile
import threading
import urllib.request
from collections.abc import Generator
from http.cookiejar import CookieJar
from pathlib import Path

import pytest

from tests.hub_process import HubProcess

ROOT = Path(__file__).parents[2]
# A whole environment is installed, from the network.
SECONDS = 540


@pytest.fixture
def clone() -> Generator[Path]:
    """A clone of what is committed here, at a short path, as the sockets of a hub need."""
    with tempfile.TemporaryDirectory(prefix="fh-") as folder:
        place = Path(folder) / "clone"
        subprocess.run(["git", "clone", "--quiet", ROOT, place], check=True, timeout=60)
        try:
            yield place
        finally:
            # The hub has ended, its sandbox lives on, as it should.
            HubProcess(Path(folder) / "data", 0, {}).destroy()


@pytest.mark.timeout(600)
@pytest.mark.requirement("HOUSE-1", "HOUSE-7", "HUB-1")
def test_a_fresh_clone_serves_and_signs_its_owner_in(clone: Path) -> None:
    environ = {**os.environ, "FIRSTHAND_DATA_DIR": str(clone.parent / "data")}
    log = clone.parent / "log"
    with (
        log.open("wb") as errors,
        subprocess.Popen(
            [clone / "script/serve", "--port", "0"],
            cwd=clone.parent,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as hub,
    ):
        guard = threading.Timer(SECONDS, hub.kill)
        guard.start()
        try:
            assert hub.stdout is not None
            link = next((line for line in hub.stdout if "/welcome?token=" in line), None)
            assert link is not None, log.read_text()
            found = re.search(r"http://\S+", link)
            assert found is not None
            assert "<form" in _open(found[0])
        finally:
            guard.cancel()
            hub.send_signal(signal.SIGTERM)
            hub.communicate(timeout=60)
    assert hub.returncode == 0
    again = subprocess.run(
        [clone / "script/setup"],
        env=environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    # Nothing was left to do, so nothing is said.
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
    assert _git_status(clone) == ""


def _open(link: str) -> str:
    jar = urllib.request.HTTPCookieProcessor(CookieJar())
    with urllib.request.build_opener(jar).open(link, timeout=30) as page:
        assert page.status == 200
        return page.read().decode()


def _git_status(clone: Path) -> str:
    return subprocess.run(
        ["git", "status", "--porcelain"], cwd=clone, capture_output=True, text=True, check=True
    ).stdout
