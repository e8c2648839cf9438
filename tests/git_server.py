"""A small smart-HTTP git server for tests: the real `git http-backend` behind loopback HTTP.

It can also misbehave: ask for a password, redirect, answer nothing, cut a transfer off. Every
request is counted, so that a test can say how often something was fetched.
"""

import os
import subprocess
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit


@dataclass
class Behaviour:
    """What the server does out of the ordinary, by the first part of the path."""

    # path of a repository -> what it asks for or does
    private: set[str] = field(default_factory=set[str])
    redirects: dict[str, str] = field(default_factory=dict[str, str])
    silent: set[str] = field(default_factory=set[str])
    # bytes of a transfer after which the connection is dropped
    cut_after: dict[str, int] = field(default_factory=dict[str, int])
    # transfers wait for this before they begin
    gates: dict[str, threading.Event] = field(default_factory=dict[str, threading.Event])
    # speak the first protocol, in which commits cannot be asked for by their hash
    old_protocol: bool = False


class GitServer:
    """Serves every bare repository under `root`. `url_of` says where."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.behaviour = Behaviour()
        self.requests: list[str] = []
        self.transfer_begun = threading.Event()
        self.closing = threading.Event()
        self._server = ThreadingHTTPServer(
            ("127.0.0.1", 0), type("Handler", (_Handler,), {"git": self})
        )
        self._server.daemon_threads = False
        self._server.block_on_close = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self._server.server_port}"

    def url_of(self, repository: str) -> str:
        return f"http://{self.host}/{repository}"

    def count_transfers(self) -> int:
        """How many packs of objects were asked for; looking up refs is not counted."""
        return self.requests.count("pack")

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self.closing.set()
        for gate in self.behaviour.gates.values():
            gate.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@contextmanager
def serve_git(root: Path) -> Generator[GitServer]:
    server = GitServer(root)
    server.start()
    try:
        yield server
    finally:
        server.close()


class _Handler(BaseHTTPRequestHandler):
    # Set by a subclass made for each self.git.
    git: GitServer
    protocol_version = "HTTP/1.0"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its name there
        pass

    def do_GET(self) -> None:
        self._answer(b"")

    def do_POST(self) -> None:
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            body = self._read_chunks()
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self._answer(body)

    def _read_chunks(self) -> bytes:
        body = b""
        while size := int(self.rfile.readline().strip() or b"0", 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        return body

    def _answer(self, body: bytes) -> None:
        parts = urlsplit(self.path)
        name = next(
            (part for part in _prefixes(parts.path) if self._is_special(part)),
            parts.path.strip("/").split("/", 1)[0],
        )
        behaviour = self.git.behaviour
        self.git.requests.append(parts.path.rsplit("/", 1)[-1])
        if name in behaviour.silent:
            self.git.transfer_begun.set()
            self.git.closing.wait(60)
            return
        if name in behaviour.private and "Authorization" not in self.headers:
            self._say(401, {"WWW-Authenticate": 'Basic realm="private"'})
            return
        if (target := behaviour.redirects.get(name)) is not None:
            rest = self.path.removeprefix(f"/{name}")
            self._say(302, {"Location": target + rest})
            return
        self._run_backend(name, body)

    def _is_special(self, name: str) -> bool:
        b = self.git.behaviour
        return name in {*b.private, *b.redirects, *b.silent, *b.cut_after, *b.gates}

    def _say(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _run_backend(self, name: str, body: bytes) -> None:
        parts = urlsplit(self.path)
        is_pack = parts.path.endswith("git-upload-pack") and b"command=ls-refs" not in body
        if is_pack:
            self.git.requests.append("pack")
            self.git.transfer_begun.set()
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": "/nonexistent",
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "safe.directory",
            "GIT_CONFIG_VALUE_0": "*",
            "GIT_PROJECT_ROOT": str(self.git.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": parts.path,
            "QUERY_STRING": parts.query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "REMOTE_ADDR": "127.0.0.1",
        }
        if encoding := self.headers.get("Content-Encoding"):
            environment["HTTP_CONTENT_ENCODING"] = encoding
        protocol = self.headers.get("Git-Protocol")
        if protocol and not self.git.behaviour.old_protocol:
            environment["GIT_PROTOCOL"] = protocol
        if is_pack and (gate := self.git.behaviour.gates.get(name)) is not None:
            gate.wait(60)
        done = subprocess.run(
            ["git", "http-backend"],
            input=body,
            env=environment,
            capture_output=True,
            check=False,
        )
        self._send_cgi(done.stdout, self.git.behaviour.cut_after.get(name) if is_pack else None)

    def _send_cgi(self, said: bytes, cut_after: int | None) -> None:
        head, _, content = said.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode("latin-1").splitlines())
        status = int(headers.pop("Status", "200 OK").split()[0])
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        try:
            self.wfile.write(content if cut_after is None else content[:cut_after])
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True


def _prefixes(path: str) -> list[str]:
    parts = path.strip("/").split("/")
    return ["/".join(parts[:count]) for count in range(len(parts), 0, -1)]
