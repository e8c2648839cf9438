"""What OpenAI-compatible servers do differently, and the dialect bears."""

import pytest

from firsthand.agent.models.endpoint import ModelEndpoint
from firsthand.agent.models.openai import OpenAI
from tests.contract.models.conftest import KEY
from tests.contract.models.test_dialects import hear, turn
from tests.model_server import Call, ModelServer, Reply, Say, Think

pytestmark = pytest.mark.requirement("AGT-9")


@pytest.fixture
def model(server: ModelServer) -> OpenAI:
    return OpenAI(ModelEndpoint(server.base_url, KEY), "test-model")


async def test_reasoning_under_its_other_name(model: OpenAI, server: ModelServer) -> None:
    server.script(Reply(Think("So be it.", name="reasoning"), Say("Yes.")))
    assert "".join((await hear(model, turn())).reasoning) == "So be it."


async def test_interleaved_calls_are_told_apart(model: OpenAI, server: ModelServer) -> None:
    server.script(
        Reply(
            Call("grep", {"pattern": "first of them"}),
            Call("read_file", {"path": "second of them"}),
            interleave=True,
        )
    )
    first, second = (await hear(model, turn())).end.message.tool_requests
    assert (first.name, second.name) == ("grep", "read_file")
    assert "first of them" in first.arguments
    assert "second of them" in second.arguments


async def test_missing_counts_are_estimated(model: OpenAI, server: ModelServer) -> None:
    server.script(Reply(Say("word " * 100), usage=None))
    usage = (await hear(model, turn())).end.usage
    assert usage.estimated
    assert usage.output_tokens == 125


@pytest.mark.parametrize(("name", "field"), [("openai/gpt-5", "max_completion_tokens")])
async def test_reasoning_models_get_the_new_limit(
    server: ModelServer, name: str, field: str
) -> None:
    server.script(Reply(Say("Yes.")))
    await hear(OpenAI(ModelEndpoint(server.base_url, KEY), name), turn())
    assert server.requests[0].body[field] == 1_000


async def test_no_key_sends_no_authorization() -> None:
    with ModelServer(otherwise=Reply(Say("Yes."))) as open_server:
        await hear(OpenAI(ModelEndpoint(open_server.base_url), "m"), turn())
        assert open_server.requests[0].authorization is None
