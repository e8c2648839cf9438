"""SIGKILL to `firsthand serve` while a model streams through its gateway: the agent asks again."""

import threading
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.git_server import GitServer, serve_git
from tests.hub_process import events_of, running_hub
from tests.model_server import ModelServer, Reply, Say, Wait
from tests.repositories import Commit, make_repository

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def remote(tmp_path: Path) -> Generator[GitServer]:
    root = tmp_path / "remote"
    root.mkdir()
    make_repository(root / "tiny.git", [Commit({b"a.py": b"def a():\n    return 1\n"})])
    with serve_git(root) as server:
        yield server


@pytest.mark.requirement("HUB-6", "HUB-11")
def test_the_answer_goes_on_where_it_broke_off(remote: GitServer) -> None:
    question = {"message": "Well?", "resources": [remote.url_of("tiny.git")]}
    with (
        ModelServer() as model,
        running_hub(
            FIRSTHAND_ALLOWED_PRIVATE_HOSTS="127.0.0.1",
            OPENAI_API_KEY="sk-test",
            OPENAI_BASE_URL=model.base_url,
        ) as hub,
    ):
        model.script(
            Reply(Say("It is half ", piece=20), Wait(threading.Event()), Say("never said")),
            Reply(Say("and now whole.")),
        )
        heard: list[tuple[str, str]] = []
        with hub.request("POST", "/chat/stream", question) as answer:
            assert answer.status == 200
            for event in events_of(answer):
                heard.append((event.id or "", event.data))
                if "half" in event.data:
                    break
        run_id = next(data for _, data in heard if "runId" in data).split('"runId":"')[1][:23]
        hub.kill()
        hub.start()
        with hub.request(
            "GET", f"/runs/{run_id}/events", headers={"Last-Event-ID": heard[-1][0]}
        ) as answer:
            assert answer.status == 200
            heard += [(event.id or "", event.data) for event in events_of(answer)]
        assert [number for number, _ in heard] == [str(n + 1) for n in range(len(heard))]
        assert hub.call("GET", f"/runs/{run_id}")["state"] == "succeeded", heard[-4:]
        assert '"text":"It is half and now whole."' in heard[-1][1]
        # The second request tells the model what it had said already.
        assert "It is half" in str(model.requests[1].messages)
