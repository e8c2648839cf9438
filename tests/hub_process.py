"""A real hub: `firsthand serve` as a process of its own, on a free port, over its own folder.

    with running_hub(folder) as hub:
        owner = hub.sign_in()          # a cookie header of the owner, by the printed link
        ...
        hub.kill()                     # SIGKILL, as a power cut would
        hub.start()                    # the next process, same folder and same port

Sandboxes outlive the process; leaving the context destroys them.
"""

import json
import os
import queue
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any

from firsthand.protocol.sse import EventStreamParser, ServerSentEvent

_START_SECONDS = 60
_FIRSTHAND = Path(sys.executable).with_name("firsthand")


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class HubProcess:
    """One data folder and one port, with a hub on them or not."""

    folder: Path
    port: int
    settings: Mapping[str, str]
    link: str | None = None
    lines: list[str] = field(default_factory=list[str])
    _process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def token(self) -> str:
        """The token of the owner's own programs."""
        return str(json.loads((self.folder / "hub.json").read_bytes())["token"])

    def start(self) -> None:
        """Start the hub and wait until it has greeted."""
        process = subprocess.Popen(
            [str(_FIRSTHAND), "serve"],
            cwd=self.folder.parent,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._process = process
        self.link = None
        said: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        threading.Thread(target=self._listen, args=(process, said), daemon=True).start()
        deadline = time.monotonic() + _START_SECONDS
        while True:
            line = said.get(timeout=max(0.1, deadline - time.monotonic()))
            if line is None:
                raise AssertionError("the hub did not start:\n" + "\n".join(self.lines))
            if "stopped" in line:
                raise AssertionError("the hub stopped:\n" + "\n".join(self.lines))
            found = re.search(r"http\S+token=\S+", line)
            self.link = found.group() if found else self.link
            # The last line of the greeting: the link, or without one the address.
            if self.link or "/sign-in" in line:
                return

    def _listen(
        self, process: subprocess.Popen[str], said: "queue.SimpleQueue[str | None]"
    ) -> None:
        assert process.stdout is not None
        with process.stdout as output:
            for line in output:
                self.lines.append(line.rstrip())
                said.put(line)
        said.put(None)

    def _environment(self) -> dict[str, str]:
        kept = {"PATH", "HOME", "LANG", "TMPDIR"}
        passed = ("PIP_", "SSL_", "REQUESTS_", "npm_config_", "NODE_", "XDG_CONFIG")
        environment = {
            name: value
            for name, value in os.environ.items()
            if name in kept or name.startswith(passed)
        }
        return {
            **environment,
            "FIRSTHAND_DATA_DIR": str(self.folder),
            "FIRSTHAND_PORT": str(self.port),
            **self.settings,
        }

    def kill(self) -> None:
        """End the process at once, without a word."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """Ask the process to end; return its exit code."""
        return self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> int:
        process = self._process
        assert process is not None
        process.send_signal(how)
        code = process.wait(timeout=30)
        self._process = None
        return code

    @contextmanager
    def request(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> Generator[HTTPResponse]:
        """Send one request as the owner's own program, and have its answer open."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        sent = {"Authorization": f"Bearer {self.token}", **(headers or {})}
        data = None if body is None else json.dumps(body)
        try:
            connection.request(method, path, data, sent)
            yield connection.getresponse()
        finally:
            connection.close()

    def call(self, method: str, path: str, body: object = None) -> Any:
        """Send one request and return the JSON of its answer; raises on an error."""
        with self.request(method, path, body) as answer:
            raw = answer.read()
            assert answer.status < 400, raw
            return json.loads(raw) if raw else None

    def sign_in(self) -> str:
        """Open the printed link; return the `Cookie` header of the owner's session."""
        assert self.link is not None
        path = self.link.removeprefix(self.url)
        with self.request("GET", path, headers={"Authorization": ""}) as answer:
            answer.read()
            cookie = answer.getheader("set-cookie") or ""
        return cookie.partition(";")[0]

    def destroy(self) -> None:
        """End everything that runs on this folder."""
        if self._process is not None:
            self.kill()
        # At any depth: those that were kept ready lie deeper than those of instances.
        for folder in self.folder.glob("sandboxes/**/run"):
            _end_sandbox(str(folder))


def _end_sandbox(folder: str) -> None:
    """End the processes of a sandbox whose provider is no longer there."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            opened = str((process / "fd" / "1").readlink())
        except OSError:
            continue
        if opened.startswith(folder):
            try:
                os.kill(int(process.name), signal.SIGKILL)
            except ProcessLookupError:
                continue


def events_of(answer: HTTPResponse) -> Iterator[ServerSentEvent]:
    """Yield the events of a streamed answer as they come; ends where the connection does."""
    parser = EventStreamParser()
    while chunk := answer.read1(65536):
        yield from parser.feed(chunk)


@contextmanager
def running_hub(**settings: str) -> Generator[HubProcess]:
    """Have a hub over a new folder, with these settings beside the folder and the port."""
    # Not under pytest's own folder: a Unix socket's path has at most 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix="fh"))
    hub = HubProcess(folder / "data", free_port(), settings)
    try:
        hub.start()
        yield hub
    finally:
        hub.destroy()
        subprocess.run(["/bin/chmod", "-R", "u+rwX", folder], check=False)
        shutil.rmtree(folder, ignore_errors=True)
