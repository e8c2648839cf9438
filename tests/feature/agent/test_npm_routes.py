"""The routes of the npm btca server, in the shapes that its client's schemas demand."""

import json
from typing import Any

import anyio
import pytest

from firsthand.protocol.sse import read_events
from tests.feature.agent.conftest import AgentProcess

pytestmark = pytest.mark.requirement("AGT-4")


@pytest.fixture
async def stocked(agent: AgentProcess) -> AgentProcess:
    body = {"type": "local", "name": "demo", "path": str(agent.tree), "specialNotes": "small"}
    added = await agent.json("POST", "/config/resources", body, status=201)
    assert added == body
    return agent


async def stream(agent: AgentProcess, **body: Any) -> list[dict[str, Any]]:
    with anyio.fail_after(30):
        async with agent.http.post("/question/stream", data=json.dumps(body)) as response:
            assert response.status == 200
            assert response.headers["content-type"].startswith("text/event-stream")
            events = [json.loads(e.data) async for e in read_events(response.content.iter_any())]
    return events


async def test_what_is_configured(stocked: AgentProcess) -> None:
    assert await stocked.json("GET", "/config") == {
        "provider": "firsthand",
        "model": "extractive",
        "providerTimeoutMs": None,
        "maxSteps": 24,
        "resourcesDirectory": str(stocked.tree.parent),
        "resourceCount": 1,
    }
    assert await stocked.json("GET", "/resources") == {
        "resources": [
            {"name": "demo", "type": "local", "path": str(stocked.tree), "specialNotes": "small"}
        ]
    }
    providers = await stocked.json("GET", "/providers")
    assert {"id": "openai", "models": {}} in providers["all"]
    assert providers["connected"] == ["firsthand"]
    reloaded = await stocked.json("POST", "/reload-config")
    assert reloaded == {"ok": True, "resources": ["demo"]}


async def test_resources_of_runs_are_known(agent: AgentProcess) -> None:
    await agent.start(agent.request())
    await agent.follow()
    (resource,) = (await agent.json("GET", "/resources"))["resources"]
    assert (resource["type"], resource["url"], resource["branch"]) == (
        "git",
        "https://example.org/demo",
        "main",
    )
    assert (await agent.json("POST", "/clear"))["cleared"] == 1


async def test_a_question_at_once(stocked: AgentProcess) -> None:
    body = {"question": "How are redirects followed?", "resources": ["demo"], "quiet": True}
    answer = await stocked.json("POST", "/question", body)
    assert "def follow_redirects" in answer["answer"]
    assert answer["model"] == {"provider": "firsthand", "model": "extractive"}
    assert answer["resources"] == ["demo"]
    assert answer["collection"] == {"key": "demo", "path": str(stocked.tree.parent)}


async def test_a_question_as_a_stream(stocked: AgentProcess) -> None:
    events = await stream(stocked, question="How are redirects followed?")
    kinds = {event["type"] for event in events}
    # The npm client complains aloud about events that it does not know.
    assert kinds == {"meta", "text.delta", "tool.updated", "done"}
    meta = events[0]
    assert meta["resources"] == ["demo"]
    assert set(meta["collection"]) == {"key", "path"}
    done = events[-1]
    assert done["text"] == "".join(e["delta"] for e in events if e["type"] == "text.delta")
    assert set(done["metrics"]["timing"]) == {"totalMs", "genMs"}
    assert all(tool["state"]["status"] == "completed" for tool in done["tools"])


async def test_a_failed_tool_has_an_error(stocked: AgentProcess) -> None:
    await stocked.json("PUT", "/config/model", {"provider": "scripted", "model": "script"})
    script = [{"tool": "read_file", "input": {"path": "nothing"}}, {"text": "Not there."}]
    events = await stream(stocked, question=f"```json\n{json.dumps(script)}\n```")
    (failed,) = (e for e in events if e.get("state", {}).get("status") == "error")
    assert "no such file" in failed["state"]["error"]
    assert "output" not in failed["state"]


async def test_a_failed_run(stocked: AgentProcess) -> None:
    model = {"provider": "scripted", "model": "fail:Out of order"}
    saved = await stocked.json("PUT", "/config/model", model)
    assert saved == {**model, "savedTo": "memory"}
    events = await stream(stocked, question="How?")
    assert events[-1] == {"type": "error", "tag": "ModelFailed", "message": "Out of order"}
    problem = await stocked.json("POST", "/question", {"question": "How?"}, status=500)
    assert problem == {"error": "Out of order", "tag": "ModelFailed"}


async def test_a_stream_that_is_left_stops_its_run(stocked: AgentProcess) -> None:
    model = {"provider": "scripted", "model": "slow:100000x5ms"}
    await stocked.json("PUT", "/config/model", model)
    with anyio.fail_after(30):
        async with stocked.http.post("/question/stream", data='{"question":"How?"}') as response:
            await response.content.readline()
            response.close()
        # Sixteen runs may be in progress: were the left ones not stopped, this would be refused.
        for _ in range(20):
            async with stocked.http.post(
                "/question/stream", data='{"question":"How?"}'
            ) as response:
                assert response.status == 200
                await response.content.readline()
                response.close()
            await stocked.json("GET", "/")


@pytest.mark.parametrize(
    ("method", "path", "body", "tag"),
    [
        ("POST", "/question", {"question": "How?", "resources": ["other"]}, "ResourceError"),
        ("POST", "/question", {"question": ""}, "BadRequest"),
        ("POST", "/question", {}, "RequestError"),
        ("PUT", "/config/model", {"provider": "", "model": "x"}, "ConfigError"),
        (
            "POST",
            "/config/resources",
            {"type": "git", "name": "x", "url": "https://example.org/x"},
            "ResourceError",
        ),
        (
            "POST",
            "/config/resources",
            {"type": "local", "name": "e", "path": "/etc"},
            "ResourceError",
        ),
        (
            "POST",
            "/config/resources",
            {"type": "local", "name": "demo", "path": "/"},
            "ConfigError",
        ),
        ("DELETE", "/config/resources", {"name": "other"}, "ConfigError"),
    ],
)
async def test_errors_have_the_npm_form(
    stocked: AgentProcess, method: str, path: str, body: object, tag: str
) -> None:
    problem = await stocked.json(method, path, body, status=400)
    assert problem["tag"] == tag
    assert isinstance(problem["error"], str)
    assert set(problem) <= {"error", "tag", "hint"}


async def test_a_resource_is_removed(stocked: AgentProcess) -> None:
    removed = await stocked.json("DELETE", "/config/resources", {"name": "demo"})
    assert removed == {"success": True, "name": "demo"}
    assert (await stocked.json("GET", "/resources"))["resources"] == []
