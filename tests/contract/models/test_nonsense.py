"""Whatever a provider sends in place of its interface, an adapter calls it the model's failure."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import anyio
import pytest

from firsthand.agent.models.anthropic import Anthropic
from firsthand.agent.models.endpoint import ModelEndpoint
from firsthand.agent.models.openai import OpenAI
from firsthand.agent.models.port import Model, ModelError, ModelTurn, UserMessage

pytestmark = pytest.mark.requirement("AGT-11")

TURN = ModelTurn("", (UserMessage("How?"),), (), 100)
DEEP = "[" * 5_000
OPENAI: list[Any] = [
    {"choices": 1},
    {"choices": ["x"]},
    {"choices": [{"delta": "x"}]},
    {"choices": [{"delta": {"tool_calls": [1]}}]},
    {"choices": [{"delta": {"tool_calls": [{"index": 0, "function": "x"}]}}]},
    {"usage": {"completion_tokens_details": "x"}},
]
ANTHROPIC: list[Any] = [
    {"type": "message_start", "message": "x"},
    {"type": "message_start", "message": {"usage": {"input_tokens": "x"}}},
    {"type": "content_block_start", "index": 0, "content_block": "x"},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "tool_use"}},
    {"type": "content_block_delta", "index": 0, "delta": None},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": 1}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta"}},
]


@asynccontextmanager
async def provider(*events: str) -> AsyncGenerator[str]:
    """A server that answers everything with these events."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = "".join(f"data: {event}\n\n" for event in events)
        head = f"HTTP/1.1 200 OK\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
        writer.write((head + body).encode())
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"


async def refuses(model: Model) -> None:
    with anyio.fail_after(30), pytest.raises(ModelError):
        await hear(model)


async def hear(model: Model) -> None:
    async with aclosing(model.answer(TURN)) as parts:
        async for _ in parts:
            pass


@pytest.mark.parametrize("event", [DEEP, *map(json.dumps, OPENAI)])
async def test_nonsense_in_the_openai_dialect(event: str) -> None:
    async with provider(event, "[DONE]") as url:
        await refuses(OpenAI(ModelEndpoint(url, None), "m"))


@pytest.mark.parametrize("event", [DEEP, *map(json.dumps, ANTHROPIC)])
async def test_nonsense_in_the_anthropic_dialect(event: str) -> None:
    async with provider(event, '{"type": "message_stop"}') as url:
        await refuses(Anthropic(ModelEndpoint(url, None), "m"))


async def test_ten_thousand_blocks_are_refused() -> None:
    block: dict[str, Any] = {"type": "tool_use", "id": "t", "name": "grep", "input": {}}
    events = (
        json.dumps({"type": "content_block_start", "index": index, "content_block": block})
        for index in range(10_000)
    )
    async with provider(*events, '{"type": "message_stop"}') as url:
        await refuses(Anthropic(ModelEndpoint(url, None), "m"))


async def test_an_answer_without_end_is_refused() -> None:
    event = json.dumps({"choices": [{"delta": {"padding": "x" * 4_000_000}}]})
    async with provider(*[event] * 10, "[DONE]") as url:
        await refuses(OpenAI(ModelEndpoint(url, None), "m"))
