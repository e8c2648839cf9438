"""The instance over HTTP: what its card says is so."""

import threading
from typing import cast

import pytest

from firsthand import __version__
from tests.e2e.asking import ask_to_end
from tests.e2e.conftest import Stage
from tests.model_server import Reply, Say


def wait_for(stage: Stage, state: str) -> dict[str, object]:
    """Ask the hub until the instance is there; every answer is a look at the database."""
    found: dict[str, object] = {}
    for _ in range(600):
        found = stage.hub.call("GET", "/instance/status")
        if found["state"] == state:
            return found
        threading.Event().wait(0.05)
    raise AssertionError(f"the instance is not {state}: {found}")


@pytest.mark.requirement("HUB-17")
def test_stop_and_wake_answer_202_and_come_true(stage: Stage) -> None:
    stage.model.script(Reply(Say("Awake.")))
    ask_to_end(stage, "Wake up?")
    assert stage.hub.call("POST", "/instance/stop")["state"] in {"stopping", "stopped"}
    wait_for(stage, "stopped")
    with stage.hub.request("POST", "/instance/wake") as answer:
        assert answer.status == 202
    running = wait_for(stage, "running")
    (package,) = cast("list[dict[str, str]]", running["packages"])
    assert (package["name"], package["installed"]) == ("firsthand", __version__)


@pytest.mark.requirement("HUB-5")
def test_ten_questions_at_once_on_a_stopped_instance_cause_one_wake(stage: Stage) -> None:
    stage.hub.call("POST", "/instance/stop")
    before = wait_for(stage, "stopped")["generation"]
    stage.model.script(*[Reply(Say("Yes.")) for _ in range(10)])
    answers: list[int] = []

    def ask() -> None:
        answers.append(len(ask_to_end(stage, "Are you awake?")))

    threads = [threading.Thread(target=ask) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert len(answers) == 10
    after = wait_for(stage, "running")["generation"]
    assert isinstance(before, int)
    # One move to starting, one to running.
    assert after == before + 2
