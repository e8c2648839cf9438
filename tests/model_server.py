"""A local model server that speaks the OpenAI and the Anthropic interface, scripted per test.

It is a double of a provider, not of our code: real HTTP on loopback, the providers' own stream
shapes, their error bodies, and their refusals of malformed conversations. It runs in a thread of
its own, so it serves synchronous tests, asynchronous tests and other processes alike:

    with ModelServer() as server:
        server.script(
            Reply(Think("Let me look."), Call("grep", {"pattern": "redirect"})),
            Reply(Say("It follows [httpx/_client.py:10-20]."), usage=Tokens(900, 40)),
        )
        ...                                # FIRSTHAND_MODEL_BASE_URL=server.base_url
        assert server.requests[0].authorization == "Bearer sk-test"

Each request takes the next scripted reply; when none is left, `otherwise` answers (by default a
500 that says so, which fails a test that asks too often). `otherwise` and every scripted item may
also be a function from the `Recorded` request to a reply. Items:

* `Reply(*steps, usage=, finish=, interleave=)`, whose steps are `Say`, `Think`, `Call`,
  `Wait(gate)` (holds the stream until the test sets the `threading.Event`), `Cut()` (drops the
  connection in mid-stream), `StreamError(message)` (an error inside the stream).
* `Refusal(status, message, retry_after=)`: 401, 429, 500 … with the provider's error body.
* `HangUp()`: closes the connection without any answer.

`ModelServer(key="sk-test")` answers 401 to any other key. `python -m tests.model_server --port N`
serves a fixed answer by hand.
"""

import argparse
import json
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self, cast

from tests.model_server_dialects import (
    AnthropicStream,
    Call,
    Cut,
    OpenAIStream,
    Reply,
    Say,
    StreamError,
    Think,
    Tokens,
    Wait,
    anthropic_complaint,
    openai_complaint,
)

__all__ = [
    "Call",
    "Cut",
    "HangUp",
    "ModelServer",
    "Recorded",
    "Refusal",
    "Reply",
    "Say",
    "StreamError",
    "Think",
    "Tokens",
    "Wait",
]

_ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
    500: "api_error",
    529: "overloaded_error",
}
_GATE_SECONDS = 30.0


@dataclass(frozen=True)
class Refusal:
    """An HTTP error in the provider's form."""

    status: int
    message: str = "refused by the script"
    retry_after: float | None = None


@dataclass(frozen=True)
class HangUp:
    """The connection is closed before any byte of an answer."""


@dataclass(frozen=True)
class Recorded:
    """A request as it came; header names are lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: dict[str, Any]

    @property
    def authorization(self) -> str | None:
        return self.headers.get("authorization")

    @property
    def messages(self) -> list[dict[str, Any]]:
        return cast("list[dict[str, Any]]", self.body.get("messages", []))


Scripted = Reply | Refusal | HangUp
Answering = Scripted | Callable[[Recorded], Scripted]


@dataclass
class _State:
    key: str | None
    otherwise: Answering
    replies: deque[Answering] = field(default_factory=deque[Answering])
    requests: list[Recorded] = field(default_factory=list[Recorded])
    changed: threading.Condition = field(default_factory=threading.Condition)
    stopping: threading.Event = field(default_factory=threading.Event)
    clients_gone: int = 0


class ModelServer:
    """The server; a context manager that listens on a free port of 127.0.0.1."""

    def __init__(
        self,
        *,
        key: str | None = None,
        otherwise: Answering = Refusal(500, "the script has no reply left"),
        port: int = 0,
    ) -> None:
        self._state = _State(key=key, otherwise=otherwise)
        self._http = _Server(("127.0.0.1", port), self._state)
        self._thread = threading.Thread(
            target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )

    @property
    def port(self) -> int:
        return int(self._http.server_address[1])

    @property
    def origin(self) -> str:
        """`http://127.0.0.1:PORT`, as an Anthropic base URL."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def base_url(self) -> str:
        """`http://127.0.0.1:PORT/v1`, as an OpenAI base URL."""
        return f"{self.origin}/v1"

    @property
    def requests(self) -> list[Recorded]:
        """All requests for completions so far, in the order in which they came."""
        with self._state.changed:
            return list(self._state.requests)

    @property
    def clients_gone(self) -> int:
        """How many clients left before their stream had ended."""
        with self._state.changed:
            return self._state.clients_gone

    def script(self, *replies: Answering) -> None:
        """Add replies; each answers one request."""
        with self._state.changed:
            self._state.replies.extend(replies)

    def wait_for_requests(self, count: int, *, seconds: float = 10.0) -> list[Recorded]:
        """Block until that many requests came; call it in a thread from asynchronous tests."""
        with self._state.changed:
            if not self._state.changed.wait_for(
                lambda: len(self._state.requests) >= count, timeout=seconds
            ):
                raise AssertionError(f"{len(self._state.requests)} of {count} requests came")
            return list(self._state.requests)

    def wait_for_clients_gone(self, count: int = 1, *, seconds: float = 10.0) -> None:
        """Block until that many clients have left in mid-stream (seen at a `Wait` or a write)."""
        with self._state.changed:
            if not self._state.changed.wait_for(
                lambda: self._state.clients_gone >= count, timeout=seconds
            ):
                raise AssertionError("the client is still connected")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._state.stopping.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join(timeout=5)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # Keep-alive connections of a client may outlive the server; it does not wait for them.
    block_on_close = False

    def __init__(self, address: tuple[str, int], state: _State) -> None:
        self.state = state
        super().__init__(address, _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that leave are part of the tests."""


class _Gone(ConnectionError):
    pass


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # A delta must leave at once.
    disable_nagle_algorithm = True

    @property
    def _state(self) -> _State:
        return cast("_Server", self.server).state

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - inherited name
        """Silent."""

    def do_GET(self) -> None:
        if self.path.split("?")[0].endswith("/models"):
            models = [{"id": "test-model", "object": "model", "owned_by": "tests"}]
            self._json(200, {"object": "list", "data": models})
        else:
            self._refuse(Refusal(404, f"no route {self.path}"))

    def do_POST(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        raw = self.rfile.read(length)
        path = self.path.split("?")[0]
        try:
            body = cast("dict[str, Any]", json.loads(raw))
        except ValueError:
            self._refuse(Refusal(400, "the body is not JSON"))
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        recorded = Recorded("POST", path, headers, body)
        if path.endswith("/chat/completions"):
            self._answer(recorded, openai_complaint(body))
        elif path.endswith("/messages"):
            self._answer(recorded, anthropic_complaint(body, headers))
        else:
            self._refuse(Refusal(404, f"no route {path}"))

    def _answer(self, recorded: Recorded, complaint: str | None) -> None:
        state = self._state
        with state.changed:
            state.requests.append(recorded)
            state.changed.notify_all()
        if state.key is not None and state.key not in (
            (recorded.authorization or "").removeprefix("Bearer "),
            recorded.headers.get("x-api-key"),
        ):
            self._refuse(Refusal(401, "Incorrect API key provided"))
            return
        if complaint is not None:
            self._refuse(Refusal(400, complaint))
            return
        with state.changed:
            reply = state.replies.popleft() if state.replies else state.otherwise
        if callable(reply):
            reply = reply(recorded)
        if isinstance(reply, HangUp):
            self._reset()
        elif isinstance(reply, Refusal):
            self._refuse(reply)
        else:
            self._play(recorded, reply)

    def _play(self, recorded: Recorded, reply: Reply) -> None:
        dialect = OpenAIStream if recorded.path.endswith("/chat/completions") else AnthropicStream
        stream = dialect(recorded.body, reply)
        if not recorded.body.get("stream"):
            self._json(200, stream.whole())
            return
        self.send_response(200)
        self.send_header("content-type", "text/event-stream; charset=utf-8")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        try:
            self._stream(stream.parts())
        except (_Gone, BrokenPipeError, ConnectionResetError):
            self.close_connection = True
            with self._state.changed:
                self._state.clients_gone += 1
                self._state.changed.notify_all()

    def _stream(self, parts: Iterator[bytes | Wait | Cut]) -> None:
        for part in parts:
            if isinstance(part, Cut):
                self._reset()
                return
            if isinstance(part, Wait):
                self._hold(part.gate)
            else:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
        self.wfile.write(b"0\r\n\r\n")

    def _hold(self, gate: threading.Event) -> None:
        """Wait for the test, noticing a client that leaves meanwhile."""
        for _ in range(int(_GATE_SECONDS / 0.02)):
            if gate.wait(0.02) or self._state.stopping.is_set():
                return
            try:
                if not self.connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT):
                    raise _Gone
            except BlockingIOError:
                continue
        raise AssertionError("the test never opened the gate")

    def _reset(self) -> None:
        self.close_connection = True
        # Linger zero makes the kernel send a reset, as a provider's dying proxy does.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.wfile.flush()
        # The handler would flush and shut down politely; closing here leaves it nothing to say.
        self.connection.close()

    def _refuse(self, refusal: Refusal) -> None:
        kind = _ERROR_TYPES.get(refusal.status, "api_error")
        error: dict[str, Any] = {"message": refusal.message, "type": kind}
        if self.path.split("?")[0].endswith("/messages"):
            body: dict[str, Any] = {"type": "error", "error": error}
        else:
            code = "invalid_api_key" if refusal.status == 401 else None
            body = {"error": {**error, "param": None, "code": code}}
        extra = {} if refusal.retry_after is None else {"retry-after": f"{refusal.retry_after:g}"}
        self._json(refusal.status, body, extra)

    def _json(self, status: int, body: object, headers: dict[str, str] | None = None) -> None:
        raw = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(raw)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(raw)


def main() -> None:
    """Serve one fixed answer until interrupted."""
    parser = argparse.ArgumentParser(description="Serve a fixed model answer on loopback.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--text", default="This is a scripted answer.")
    options = parser.parse_args()
    with ModelServer(port=options.port, otherwise=Reply(Say(options.text))) as server:
        print(server.base_url, flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
