"""What every test may use: the event loop, and the one fixture world."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from tests.world import World, open_world


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncGenerator[World]:
    async with open_world(tmp_path / "data") as opened:
        yield opened
