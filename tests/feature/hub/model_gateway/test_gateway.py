"""The gateway between a run in a sandbox and a model server on loopback, over real sockets."""

import asyncio
import tempfile
import threading
from collections.abc import AsyncGenerator, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import anyio.abc
import pytest
from sqlalchemy import insert, select, update

from firsthand.hub.clock import utc_now
from firsthand.hub.db import schema
from firsthand.hub.db.engine import Connection, Database
from firsthand.hub.ids import SandboxId, hash_token
from firsthand.hub.model_gateway.gateway import ModelGateway
from firsthand.hub.model_gateway.provider import ModelProvider
from firsthand.protocol.questions import Dialect
from firsthand.protocol.sse import ServerSentEvent, read_events
from tests.model_server import Cut, ModelServer, Refusal, Reply, Say, Tokens, Wait

KEY = "sk-real-key"
TOKEN = "token-of-the-run"
BOX = SandboxId("sb_one")
NOW = datetime(2026, 11, 23, tzinfo=UTC)


def add_run(conn: Connection) -> None:
    conn.execute(insert(schema.users).values(id="us_1", name="A", role="owner", created_at=NOW))
    conn.execute(
        insert(schema.projects).values(id="pr_1", owner_id="us_1", name="p", created_at=NOW)
    )
    conn.execute(
        insert(schema.instances).values(
            id="in_1",
            user_id="us_1",
            state="running",
            runtime="native",
            sandbox_id=BOX,
            state_changed_at=NOW,
            created_at=NOW,
        )
    )
    conn.execute(
        insert(schema.threads).values(
            id="th_1", user_id="us_1", project_id="pr_1", title="t", created_at=NOW, updated_at=NOW
        )
    )
    for position, message in enumerate(("me_q", "me_a"), start=1):
        conn.execute(
            insert(schema.messages).values(
                id=message, thread_id="th_1", position=position, role="user", created_at=NOW
            )
        )
    conn.execute(
        insert(schema.runs).values(
            id="ru_1",
            thread_id="th_1",
            user_id="us_1",
            question_id="me_q",
            answer_id="me_a",
            state="running",
            sources="[]",
            model="{}",
            gateway_token_hash=hash_token(TOKEN),
            created_at=NOW,
        )
    )


@dataclass
class Bench:
    db: Database
    gateway: ModelGateway
    socket: Path
    folder: Path

    @asynccontextmanager
    async def post(
        self,
        body: dict[str, Any],
        *,
        token: str = TOKEN,
        path: str = "/v1/chat/completions",
        socket: Path | None = None,
    ) -> AsyncGenerator[aiohttp.ClientResponse]:
        connector = aiohttp.UnixConnector(path=str(socket or self.socket))
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.post(
                "http://gateway" + path, json=body, headers={"Authorization": f"Bearer {token}"}
            ) as answer,
        ):
            yield answer

    async def calls(self) -> list[Any]:
        return list(await self.db.read(lambda conn: conn.execute(select(schema.model_calls)).all()))


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer(key=KEY) as running:
        yield running


def bench(server: ModelServer, **changes: Any) -> AbstractAsyncContextManager[Bench]:
    provider = ModelProvider(
        dialect=Dialect.OPENAI,
        name="testing",
        model="configured-model",
        base_url=server.base_url,
        api_key=KEY,
    )
    return open_bench(replace(provider, **changes))


@asynccontextmanager
async def open_bench(provider: ModelProvider | None) -> AsyncGenerator[Bench]:
    # Not under pytest's own folder: a Unix socket's path has at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="gw") as name:
        folder = Path(name)
        db = Database.open(f"sqlite:///{folder / 'hub.sqlite'}")
        await db.write(add_run)
        gateway = ModelGateway(db, utc_now, provider)
        socket = folder / "gateway.sock"
        await gateway.serve(BOX, socket)
        try:
            with anyio.fail_after(30):
                yield Bench(db, gateway, socket, folder)
        finally:
            await gateway.close()
            await db.close()


async def events(answer: aiohttp.ClientResponse) -> list[ServerSentEvent]:
    return [event async for event in read_events(answer.content.iter_any())]


ASK = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "hello"}]}
ASK_ANTHROPIC = {**ASK, "max_tokens": 100}


@pytest.mark.requirement("HUB-10", "HUB-11")
async def test_a_stream_passes_with_the_real_key_and_leaves_the_real_count(
    server: ModelServer,
) -> None:
    server.script(Reply(Say("Hel"), Say("lo"), usage=Tokens(900, 40)))
    async with bench(server) as b:
        async with b.post(ASK) as answer:
            assert answer.status == 200
            seen = await events(answer)
        assert seen[-1].data == "[DONE]"
        assert "Hel" in "".join(event.data for event in seen)
        (request,) = server.requests
        assert request.authorization == f"Bearer {KEY}"
        assert request.body["model"] == "configured-model"
        (call,) = await b.calls()
        assert (call.run_id, call.input_tokens, call.output_tokens) == ("ru_1", 900, 40)
        assert not call.estimated


@pytest.mark.requirement("HUB-10", "HUB-11")
async def test_the_anthropic_dialect_passes_with_its_own_header(server: ModelServer) -> None:
    server.script(Reply(Say("Hello"), usage=Tokens(70, 9)))
    base = server.base_url.removesuffix("/v1")
    async with bench(server, dialect=Dialect.ANTHROPIC, base_url=base) as b:
        async with b.post(ASK_ANTHROPIC, path="/v1/messages") as answer:
            assert answer.status == 200
            await events(answer)
        assert server.requests[0].headers["x-api-key"] == KEY
        assert TOKEN not in str(server.requests[0].headers)
        (call,) = await b.calls()
        assert (call.input_tokens, call.output_tokens) == (70, 9)


@pytest.mark.parametrize("token", ["", "wrong", "Bearer"])
async def test_a_token_of_no_run_gets_nothing(server: ModelServer, token: str) -> None:
    async with bench(server) as b, b.post(ASK, token=token) as answer:
        assert answer.status == 401
    assert not server.requests


async def test_the_token_dies_with_its_run(server: ModelServer) -> None:
    async with bench(server) as b:
        await b.db.write(
            lambda conn: conn.execute(update(schema.runs).values(ended_at=NOW, state="failed"))
        )
        async with b.post(ASK) as answer:
            assert answer.status == 401
            assert (await answer.json())["error"]["type"] == "run_ended"
    assert not server.requests


async def test_another_sandbox_cannot_use_the_token(server: ModelServer) -> None:
    async with bench(server) as b:
        other = b.folder / "other.sock"
        await b.gateway.serve(SandboxId("sb_other"), other)
        async with b.post(ASK, socket=other) as answer:
            assert answer.status == 401
    assert not server.requests


async def test_a_dialect_that_is_not_configured_is_refused(server: ModelServer) -> None:
    async with bench(server) as b, b.post(ASK_ANTHROPIC, path="/v1/messages") as answer:
        assert answer.status == 409
    assert not server.requests


@pytest.mark.parametrize(("status", "kind"), [(429, "provider_busy"), (500, "provider_error")])
async def test_refusals_keep_status_words_and_pause_but_never_the_key(
    server: ModelServer, status: int, kind: str
) -> None:
    server.script(Refusal(status, f"no, {KEY} must wait", retry_after=7))
    async with bench(server) as b, b.post(ASK) as answer:
        error = (await answer.json())["error"]
        assert (answer.status, error["type"]) == (status, kind)
        assert answer.headers.get("Retry-After") == "7"
        assert "must wait" in error["message"]
        assert KEY not in await answer.text()


async def test_a_refused_key_is_told_without_the_providers_words(server: ModelServer) -> None:
    async with bench(server, api_key="sk-wrong") as b, b.post(ASK) as answer:
        assert answer.status == 401
        error = (await answer.json())["error"]
        assert error["type"] == "provider_auth"
        assert "sk-" not in error["message"]


async def test_a_cut_at_the_providers_side_is_said_inside_the_stream(
    server: ModelServer,
) -> None:
    server.script(Reply(Say("Half of an"), Cut()))
    async with bench(server) as b:
        async with b.post(ASK) as answer:
            seen = await events(answer)
        assert seen[-1].event == "error"
        assert "upstream_cut" in seen[-1].data
        (call,) = await b.calls()
        assert call.estimated


async def test_a_provider_that_is_not_there_is_a_clear_refusal(server: ModelServer) -> None:
    async with bench(server, base_url="http://127.0.0.1:9/v1") as b, b.post(ASK) as answer:
        assert answer.status == 502
        error = (await answer.json())["error"]
        assert error["type"] == "provider_unreachable"
        assert "127.0.0.1" not in error["message"]


async def test_without_a_model_nothing_is_passed_on() -> None:
    async with open_bench(None) as b, b.post(ASK) as answer:
        assert answer.status == 409
        assert "FIRSTHAND_MODEL" in (await answer.json())["error"]["hint"]


async def test_an_agent_that_leaves_still_costs_what_was_counted(server: ModelServer) -> None:
    gate = threading.Event()
    server.script(Reply(Say("Hello"), Wait(gate), Say("again"), usage=Tokens(5, 5)))
    async with bench(server) as b:
        async with b.post(ASK) as answer:
            await answer.content.readany()
        gate.set()
        await b.gateway.close()
        (call,) = await b.calls()
        assert call.estimated


async def test_serving_again_replaces_a_socket_left_by_a_dead_hub(server: ModelServer) -> None:
    server.script(Reply(Say("Hello")))
    async with bench(server) as b:
        await b.gateway.unserve(BOX)
        b.socket.write_text("left behind")
        await b.gateway.serve(BOX, b.socket)
        async with b.post(ASK) as answer:
            assert answer.status == 200
            await events(answer)


async def test_a_body_that_is_no_json_is_refused(server: ModelServer) -> None:
    async with bench(server) as b:
        connector = aiohttp.UnixConnector(path=str(b.socket))
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.post(
                "http://gateway/v1/chat/completions",
                data=b"[1",
                headers={"Authorization": f"Bearer {TOKEN}"},
            ) as answer,
        ):
            assert answer.status == 400


async def test_a_request_is_passed_on_as_it_was_written(server: ModelServer) -> None:
    # Neither can be told apart and put together again without a change or a failure.
    nested: list[Any] = []
    for _ in range(500):
        nested = [nested]
    asked = {**ASK, "seed": 10**22 + 1, "metadata": nested}
    server.script(Reply(Say("Hello")))
    async with bench(server) as b, b.post(asked) as answer:
        assert answer.status == 200
        await events(answer)
    assert server.requests[0].body["seed"] == 10**22 + 1
    assert server.requests[0].body["metadata"] == nested


async def test_one_sandbox_cannot_use_up_the_connections_of_the_hub(server: ModelServer) -> None:
    server.script(Reply(Say("Hello")))
    async with bench(server) as b, AsyncExitStack() as stack:
        greedy = b.folder / "greedy.sock"
        await b.gateway.serve(SandboxId("sb_greedy"), greedy)

        async def connect() -> anyio.abc.SocketStream:
            return await stack.enter_async_context(await anyio.connect_unix(greedy))

        held = [await connect() for _ in range(64)]
        with pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
            await (await connect()).receive()
        async with b.post(ASK) as answer:
            assert answer.status == 200
            await events(answer)
        # One that is given back can be had again.
        await held[0].aclose()
        async with b.post(ASK, socket=greedy) as answer:
            assert answer.status == 401


async def test_an_agent_that_leaves_before_the_answer_begins_still_costs(
    server: ModelServer,
) -> None:
    asked = anyio.Event()
    left = anyio.Event()

    async def think(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        await left.wait()
        writer.close()

    thinking = await asyncio.start_server(think, "127.0.0.1", 0)
    host, port = thinking.sockets[0].getsockname()
    async with thinking, bench(server, base_url=f"http://{host}:{port}/v1") as b:
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as tasks:

                async def leave() -> None:
                    await asked.wait()
                    scope.cancel()

                tasks.start_soon(leave)
                async with b.post(ASK):
                    raise AssertionError
        await b.gateway.close()
        left.set()
        (call,) = await b.calls()
        assert (call.status, call.estimated) == (499, True)
