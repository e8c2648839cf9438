"""The ground that hubs of one test stand on."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from tests.hub_world import Ground, World
from tests.scripted_agent import ScriptedAgent, say


@pytest.fixture
async def ground(tmp_path: Path) -> AsyncGenerator[Ground]:
    ground = Ground(tmp_path, ScriptedAgent(say("It ", "works.")))
    yield ground
    await ground.clear()


@pytest.fixture
async def world(ground: Ground) -> AsyncGenerator[World]:
    # Nothing is provisioned by itself here, so that each test says what happens.
    async with ground.hub(resume=False) as world:
        yield world
