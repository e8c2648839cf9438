"""A real hub, a real git server and a model server on loopback, for all tests of this folder."""

from collections.abc import Generator
from dataclasses import dataclass

import pytest

from tests.git_server import GitServer, serve_git
from tests.hub_process import HubProcess, running_hub
from tests.model_server import ModelServer
from tests.repositories import Commit, make_repository

KEY = "sk-the-real-key"
LOOP = b"""def follow(response):
    \"\"\"Follow a redirect to its end.\"\"\"
    while response.is_redirect:
        response = response.next()
    return response
"""


@dataclass
class Stage:
    """The parts; `project` is the URL of a small repository whose `src/loop.py` is `LOOP`."""

    hub: HubProcess
    model: ModelServer
    git: GitServer
    project: str
    commit: str


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Generator[Stage]:
    root = tmp_path_factory.mktemp("git")
    made = make_repository(
        root / "project", [Commit({b"src/loop.py": LOOP, b"README.md": b"# Project\n"})]
    )
    with (
        serve_git(root) as git,
        ModelServer(key=KEY) as model,
        running_hub(
            FIRSTHAND_ALLOWED_PRIVATE_HOSTS="127.0.0.1",
            OPENAI_API_KEY=KEY,
            OPENAI_BASE_URL=model.base_url,
            FIRSTHAND_MODEL="openai/test-model",
        ) as hub,
    ):
        yield Stage(hub, model, git, git.url_of("project"), made.commits[-1])
