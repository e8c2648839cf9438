"""One model server, and each dialect's way of speaking to it."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from firsthand.agent.models.anthropic import Anthropic
from firsthand.agent.models.endpoint import ModelEndpoint
from firsthand.agent.models.openai import OpenAI
from firsthand.agent.models.port import Model
from tests.model_server import ModelServer

KEY = "sk-test"


@dataclass(frozen=True)
class Dialect:
    """A dialect under test: its name and its adapter over the server."""

    name: str
    server: ModelServer

    def model(self, *, key: str | None = KEY, effort: str | None = None) -> Model:
        if self.name == "openai":
            return OpenAI(ModelEndpoint(self.server.base_url, key), "test-model", effort)
        return Anthropic(ModelEndpoint(self.server.origin, key), "test-model", effort)

    def nowhere(self) -> Model:
        """The model at an address where nobody listens."""
        endpoint = ModelEndpoint("http://127.0.0.1:1/v1", KEY)
        return OpenAI(endpoint, "m") if self.name == "openai" else Anthropic(endpoint, "m")


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer(key=KEY) as server:
        yield server


@pytest.fixture(params=["openai", "anthropic"])
def dialect(request: pytest.FixtureRequest, server: ModelServer) -> Dialect:
    return Dialect(str(request.param), server)
