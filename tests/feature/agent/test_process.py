"""The agent as the hub meets it: a process behind a Unix socket."""

import asyncio
import json
import os
import signal
import socket
import sys
import threading
from pathlib import Path

import aiohttp
import anyio
import pytest

from firsthand.agent.local import answer_locally
from firsthand.protocol.events import (
    CitationsChecked,
    Done,
    NumberedEvent,
    RunFailed,
    TextDelta,
    ToolUpdated,
    Verdict,
)
from firsthand.protocol.questions import Dialect
from tests.feature.agent.conftest import AgentProcess, GatewaySocket, running_agent
from tests.model_server import Call, ModelServer, Refusal, Reply, Say, StreamError, Wait

RESUME = pytest.mark.requirement("AGT-1")


def text_of(events: list[NumberedEvent]) -> str:
    return "".join(e.event.delta for e in events if isinstance(e.event, TextDelta))


def end_of(events: list[NumberedEvent]) -> Done | RunFailed:
    end = events[-1].event
    assert isinstance(end, Done | RunFailed)
    return end


async def test_health(agent: AgentProcess) -> None:
    health = await agent.json("GET", "/")
    assert health["ok"] is True
    assert health["service"] == "firsthand-agent"


@RESUME
async def test_a_run_is_resumed_where_a_reader_left(agent: AgentProcess) -> None:
    await agent.start(agent.request(model="slow:60x5ms"))
    first = await agent.follow(until=lambda event: isinstance(event, TextDelta))
    rest = await agent.follow(after=first[-1].number)
    numbers = [event.number for event in [*first, *rest]]
    assert numbers == list(range(1, len(numbers) + 1))
    end = end_of(rest)
    assert isinstance(end, Done)
    assert end.text == text_of([*first, *rest])
    assert end.text.split() == [f"word-{n:04d}" for n in range(1, 61)]


@RESUME
async def test_last_event_id_does_the_same(agent: AgentProcess) -> None:
    await agent.start(agent.request())
    whole = await agent.follow()
    async with agent.http.get(
        "/runs/run-1/events", headers={"Last-Event-ID": str(len(whole) - 1)}
    ) as response:
        body = await response.text()
    assert body.count("id: ") == 1
    assert "event: done" in body


@pytest.mark.requirement("AGT-2")
async def test_the_same_run_again_starts_nothing(agent: AgentProcess) -> None:
    first = await agent.start(agent.request())
    events = await agent.follow()
    again = await agent.start(agent.request())
    assert again.run_id == first.run_id
    assert again.last_number == len(events)
    assert await agent.follow() == events


@pytest.mark.requirement("AGT-12")
async def test_without_a_model_the_answer_is_quoted_and_cited(agent: AgentProcess) -> None:
    await agent.start(agent.request(dialect=Dialect.EXTRACTIVE, model="extractive"))
    events = await agent.follow()
    assert {e.event.tool for e in events if isinstance(e.event, ToolUpdated)} == {
        "search",
        "read_file",
    }
    end = end_of(events)
    assert isinstance(end, Done)
    assert "No language model is configured" in end.text
    assert "FIRSTHAND_MODEL" in end.text
    assert "def follow_redirects" in end.text
    (checked,) = (e.event for e in events if isinstance(e.event, CitationsChecked))
    assert checked.citations
    assert {citation.verdict for citation in checked.citations} == {Verdict.VERIFIED}


@pytest.mark.requirement("AGT-3")
async def test_cancel_stops_the_stream_of_the_model(tmp_path: Path, tree: Path) -> None:
    with ModelServer() as server:
        server.script(Reply(Say("It begins", piece=9), Wait(threading.Event())))
        async with running_agent(tmp_path, tree, "--gateway", server.origin) as agent:
            await agent.start(agent.request(dialect=Dialect.OPENAI, model="m", token="t"))
            await agent.follow(until=lambda event: isinstance(event, TextDelta))
            snapshot = await agent.json("DELETE", "/runs/run-1")
            assert snapshot["state"] == "cancelled"
            with anyio.fail_after(20):
                await anyio.to_thread.run_sync(server.wait_for_clients_gone)
            end = end_of(await agent.follow())
            assert isinstance(end, RunFailed)
            assert end.error_tag == "Cancelled"


@pytest.mark.requirement("AGT-3")
async def test_cancel_kills_a_search_that_is_running(agent: AgentProcess) -> None:
    # ripgrep waits for a pipe that nobody fills, for as long as it is let.
    os.mkfifo(agent.tree / "pipe.txt")
    script = [{"tool": "grep", "input": {"pattern": "x", "path": "demo/pipe.txt"}}]
    await agent.start(agent.request(f"```json\n{json.dumps(script)}\n```"))
    children = Path(f"/proc/{agent.process.pid}/task/{agent.process.pid}/children")
    with anyio.fail_after(20):
        await agent.follow(
            until=lambda event: isinstance(event, ToolUpdated) and event.state.status == "running"
        )
        while not children.read_text().strip():
            await anyio.lowlevel.checkpoint()
        assert (await agent.json("DELETE", "/runs/run-1"))["state"] == "cancelled"
    assert not children.read_text().strip()


async def test_bad_requests_say_what_is_wrong(agent: AgentProcess) -> None:
    bad = await agent.json("POST", "/runs", {"runId": "x"}, status=400)
    assert "question" in bad["error"]
    assert (await agent.json("GET", "/runs/none", status=404))["tag"] == "UnknownRun"
    assert (await agent.json("GET", "/runs/none/events", status=404))["tag"] == "UnknownRun"
    assert (await agent.json("GET", "/nothing", status=404))["tag"] == "RouteNotFound"
    long = agent.request("x" * 100_001)
    assert "100,000" in (await agent.json("POST", "/runs", long, status=400))["error"]
    assert "empty" in (await agent.json("POST", "/runs", agent.request(" "), status=400))["error"]


async def test_what_is_no_http_is_refused_and_harms_nobody(
    agent: AgentProcess, tmp_path: Path
) -> None:
    reader, writer = await asyncio.open_unix_connection(str(tmp_path / "agent.sock"))
    with anyio.fail_after(20):
        writer.write(b"\x16\x03\x01 not http\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 400")
        writer.close()
        await writer.wait_closed()
        assert (await agent.json("GET", "/"))["ok"]


async def test_a_tool_without_a_run(agent: AgentProcess) -> None:
    body = {"checkouts": [agent.checkout()], "input": {"pattern": "redirects"}}
    answer = await agent.json("POST", "/tools/grep", body)
    assert "demo/README.md:3" in answer["output"]
    body["input"] = {"pattern": "("}
    problem = await agent.json("POST", "/tools/grep", body, status=422)
    assert "unclosed group" in problem["error"]


@pytest.mark.requirement("AGT-15")
async def test_left_alone_it_ends_but_not_during_a_run(tmp_path: Path, tree: Path) -> None:
    async with running_agent(tmp_path, tree, "--idle-seconds", "0.3") as agent:
        await agent.start(agent.request(model="slow:100x10ms"))
        assert isinstance(end_of(await agent.follow()), Done)
        with anyio.fail_after(30):
            assert await agent.process.wait() == 0
    assert not (tmp_path / "agent.sock").exists()


async def test_a_signal_ends_it_and_its_runs(agent: AgentProcess) -> None:
    await agent.start(agent.request(model="slow:100000x5ms"))
    async with asyncio.TaskGroup() as group:
        following = group.create_task(agent.follow())
        await agent.follow(until=lambda event: isinstance(event, TextDelta))
        agent.process.send_signal(signal.SIGTERM)
        with anyio.fail_after(20):
            assert await agent.process.wait() == 0
    # Whoever was reading saw a proper end, which is not that of a run someone cancelled.
    end = end_of(following.result())
    assert isinstance(end, RunFailed)
    assert end.error_tag == "AgentStopped"


async def test_it_listens_on_a_socket_that_it_inherits(tmp_path: Path) -> None:
    path = tmp_path / "inherited.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "firsthand.agent", "--socket", f"fd:{listener.fileno()}"),
            pass_fds=(listener.fileno(),),
            stderr=asyncio.subprocess.PIPE,
        )
    try:
        with anyio.fail_after(30):
            connector = aiohttp.UnixConnector(str(path))
            async with (
                aiohttp.ClientSession(connector=connector) as http,
                http.get("http://agent/") as response,
            ):
                assert response.status == 200
    finally:
        process.terminate()
        await process.communicate()


GATEWAY = pytest.mark.requirement("AGT-11")


@GATEWAY
async def test_a_gateway_that_comes_back_lets_the_answer_go_on(tmp_path: Path, tree: Path) -> None:
    with ModelServer() as server:
        server.script(
            Reply(Say("The client follows ", piece=30), Wait(threading.Event())),
            Reply(Say("redirects [demo/README.md:3].")),
        )
        gateway = GatewaySocket(tmp_path / "gateway.sock", server.port)
        await gateway.come()
        async with running_agent(tmp_path, tree, "--gateway", str(gateway.path)) as agent:
            await agent.start(agent.request(dialect=Dialect.OPENAI, model="m", token="fh-run"))
            await agent.follow(until=lambda event: isinstance(event, TextDelta))
            await gateway.go()
            await gateway.come()
            events = await agent.follow()
        await gateway.go()
        end = end_of(events)
        assert isinstance(end, Done), end
        assert end.text == "The client follows redirects [demo/README.md:3]."
        first, second = server.requests
        assert first.authorization == second.authorization == "Bearer fh-run"
        assert [m["role"] for m in second.messages[-2:]] == ["assistant", "user"]
        assert second.messages[-2]["content"] == "The client follows"
        assert "Go on at that very character" in second.messages[-1]["content"]


@GATEWAY
async def test_a_gateway_that_is_late_is_asked_again_plainly(tmp_path: Path, tree: Path) -> None:
    with ModelServer(otherwise=Reply(Say("Here."))) as server:
        gateway = GatewaySocket(tmp_path / "gateway.sock", server.port)
        async with running_agent(tmp_path, tree, "--gateway", str(gateway.path)) as agent:
            await agent.start(agent.request(dialect=Dialect.ANTHROPIC, model="m", token="t"))
            await gateway.come()
            end = end_of(await agent.follow())
        await gateway.go()
        assert isinstance(end, Done)
        assert end.text == "Here."
        assert [message["role"] for message in server.requests[0].messages] == ["user"]


@GATEWAY
@pytest.mark.parametrize("dialect", [Dialect.OPENAI, Dialect.ANTHROPIC])
async def test_the_real_path_through_a_gateway(
    tmp_path: Path, tree: Path, dialect: Dialect
) -> None:
    with ModelServer(key="run-token") as server:
        server.script(
            Refusal(429, "Slow down", retry_after=0.05),
            Refusal(500, "Oops"),
            Reply(Call("search", {"query": "redirects"}), Call("grep", {"pattern": "redirects"})),
            Reply(Call("read_file", {"path": "demo/src/client.py"})),
            Reply(Say("They are followed [demo/src/client.py:7-9].")),
        )
        gateway = GatewaySocket(tmp_path / "gateway.sock", server.port)
        await gateway.come()
        async with running_agent(tmp_path, tree, "--gateway", str(gateway.path)) as agent:
            await agent.start(agent.request(dialect=dialect, model="m", token="run-token"))
            events = await agent.follow()
        await gateway.go()
    end = end_of(events)
    assert isinstance(end, Done), end
    assert [call.tool for call in end.tools] == ["search", "grep", "read_file"]
    assert end.usage.total_tokens == 3 * 120
    (checked,) = (e.event for e in events if isinstance(e.event, CitationsChecked))
    assert [citation.verdict for citation in checked.citations] == [Verdict.VERIFIED]


@GATEWAY
@pytest.mark.parametrize(
    ("reply", "tag"),
    [
        (Refusal(401, "no"), "ModelUnauthorized"),
        (Refusal(404, "no such model"), "ModelFailed"),
        (Refusal(429, "in an hour", retry_after=3_600), "ModelRateLimited"),
        (
            Reply(Say("It begins"), StreamError("The provider broke off", "upstream_cut")),
            "UpstreamCut",
        ),
    ],
)
async def test_what_will_not_pass_fails_clearly(
    tmp_path: Path, tree: Path, reply: Reply | Refusal, tag: str
) -> None:
    with ModelServer() as server:
        server.script(reply)
        gateway = GatewaySocket(tmp_path / "gateway.sock", server.port)
        await gateway.come()
        async with running_agent(tmp_path, tree, "--gateway", str(gateway.path)) as agent:
            await agent.start(agent.request(dialect=Dialect.OPENAI, model="m", token="t"))
            events = await agent.follow()
        await gateway.go()
        assert len(server.requests) == 1
    end = end_of(events)
    assert isinstance(end, RunFailed)
    assert end.error_tag == tag
    assert end.hint
    if isinstance(reply, Reply):
        assert text_of(events) == "It begins"


async def test_no_gateway_is_a_clear_error(agent: AgentProcess) -> None:
    await agent.start(agent.request(dialect=Dialect.OPENAI, model="m"))
    end = end_of(await agent.follow())
    assert isinstance(end, RunFailed)
    assert end.error_tag == "NoModelEndpoint"


async def test_the_same_answer_inside_the_calling_process(agent: AgentProcess) -> None:
    request = agent.request(dialect=Dialect.EXTRACTIVE, model="extractive")
    events: list[NumberedEvent] = []
    with anyio.fail_after(30):
        snapshot = await answer_locally(request, model_endpoint=None, emit=events.append)
    await agent.start(request)
    there = await agent.follow()
    assert snapshot.state == "succeeded"
    assert text_of(events) == text_of(there)


async def test_the_log_holds_no_question(tmp_path: Path, tree: Path) -> None:
    async with running_agent(tmp_path, tree) as agent:
        await agent.start(agent.request("What of the zebra?"))
        await agent.follow()
        agent.process.terminate()
        assert agent.process.stderr is not None
        with anyio.fail_after(20):
            said = await agent.process.stderr.read()
    assert b"zebra" not in said
    assert b"run-1" in said
