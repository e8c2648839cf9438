"""The npm btca server as a peer: a process with a configuration of its own, on loopback only.

    with npm_server(command, home, tree=folder, model_url=server.base_url) as npm:
        npm.url, npm.pid

`{port}` in the command is replaced by a free port. Its telemetry is turned off.
"""

import json
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from tests.hub_process import free_port

RESOURCE = "tree"
_START_SECONDS = 60
_FIRST_PAUSE_SECONDS = 0.001
_LONGEST_PAUSE_SECONDS = 0.02
# The slowest of its calls seen here took 18 seconds.
_ANSWER_SECONDS = 300


@dataclass(frozen=True)
class NpmServer:
    """One running server; `started_in` is how many seconds it took to its first health answer."""

    port: int
    pid: int
    started_in: float

    def ask(self, question: str) -> dict[str, Any]:
        """Ask about the tree and wait for the whole answer."""
        body = json.dumps({"question": question, "resources": [RESOURCE], "quiet": True})
        status, raw = _send(self.port, "POST", "/question", body, _ANSWER_SECONDS)
        if status >= 400:
            raise RuntimeError(f"the npm server answered {status}: {raw[:500]!r}")
        return json.loads(raw)


@contextmanager
def npm_server(
    command: str, home: Path, *, tree: Path | None = None, model_url: str | None = None
) -> Generator[NpmServer]:
    """Have the server running, with `tree` as its only resource."""
    _configure(home, tree, model_url)
    port = free_port()
    words = [word.replace("{port}", str(port)) for word in shlex.split(command)]
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "BTCA_TELEMETRY": "0",
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "safe.directory",
        "GIT_CONFIG_VALUE_0": "*",
    }
    began = time.perf_counter()
    process = subprocess.Popen(
        words,
        cwd=home,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        _until_healthy(port, process)
        yield NpmServer(port, process.pid, time.perf_counter() - began)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _configure(home: Path, tree: Path | None, model_url: str | None) -> None:
    folder = home / ".config" / "btca"
    folder.mkdir(parents=True, exist_ok=True)
    resources = [{"type": "local", "name": RESOURCE, "path": str(tree)}] if tree else []
    options = {"openai-compat": {"baseURL": model_url or "http://127.0.0.1:9/v1", "name": "bench"}}
    config = {
        "resources": resources,
        "provider": "openai-compat",
        "model": "test-model",
        "providerOptions": options,
    }
    (folder / "btca.config.jsonc").write_text(json.dumps(config))


def _until_healthy(port: int, process: "subprocess.Popen[bytes]") -> None:
    """Ask at once, then after pauses that grow from a millisecond."""
    pause, give_up = _FIRST_PAUSE_SECONDS, time.monotonic() + _START_SECONDS
    while True:
        try:
            if _send(port, "GET", "/", None, 5)[0] == 200:
                return
        except ConnectionError:
            pass
        if process.poll() is not None or time.monotonic() > give_up:
            raise RuntimeError("the npm server did not start")
        time.sleep(pause)
        pause = min(pause * 1.5, _LONGEST_PAUSE_SECONDS)


def _send(port: int, method: str, path: str, body: str | None, seconds: float) -> tuple[int, bytes]:
    connection = HTTPConnection("127.0.0.1", port, timeout=seconds)
    try:
        connection.request(method, path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()
