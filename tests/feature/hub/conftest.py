"""The ground that hubs of one test stand on."""

import shutil
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from tests.hub_world import Ground, World
from tests.scripted_agent import ScriptedAgent, say

_FILES = ("hub.sqlite", "workflows.sqlite")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
async def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Databases with their tables, made once: making them takes longer than most tests."""
    root = tmp_path_factory.mktemp("prepared")
    async with Ground(root, ScriptedAgent()).hub(resume=False):
        pass
    return root


@pytest.fixture
async def ground(tmp_path: Path, prepared: Path) -> AsyncGenerator[Ground]:
    for name in _FILES:
        shutil.copy(prepared / name, tmp_path / name)
    ground = Ground(tmp_path, ScriptedAgent(say("It ", "works.")))
    yield ground
    await ground.clear()


@pytest.fixture
async def world(ground: Ground) -> AsyncGenerator[World]:
    # Nothing is provisioned by itself here, so that each test says what happens.
    async with ground.hub(resume=False) as world:
        yield world
