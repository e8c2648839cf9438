"""The hub is killed with SIGKILL, or stopped, in the middle of an answer, and started again."""

import threading

import pytest

from firsthand.protocol.events import Done
from tests.e2e.asking import asking, following, run_id_of, text_of, until_text
from tests.e2e.conftest import Stage
from tests.model_server import Reply, Say, Wait


@pytest.mark.requirement("HUB-6")
@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_the_answer_completes_each_event_once_in_order(stage: Stage, how: str) -> None:
    gate = threading.Event()
    stage.model.script(
        Reply(Say("The first half, "), Wait(gate), Say("never heard")),
        Reply(Say("and the second.")),
    )
    gone = stage.model.clients_gone
    with asking(stage, "Tell me both halves.") as events:
        seen = until_text(events, "half, ")
        if how == "killed":
            stage.hub.kill()
        else:
            assert stage.hub.stop() == 0
    stage.model.wait_for_clients_gone(gone + 1)
    stage.hub.start()
    with following(stage, run_id_of(seen), after=seen[-1].number) as rest:
        seen.extend(rest)
    assert [event.number for event in seen] == list(range(1, len(seen) + 1))
    assert text_of(seen) == "The first half, and the second."
    done = seen[-1].event
    assert isinstance(done, Done)
    assert done.text == "The first half, and the second."


@pytest.mark.requirement("HUB-12", "HOUSE-7")
def test_a_second_start_keeps_everything(stage: Stage) -> None:
    stage.hub.call("POST", "/api/v1/resources", {"source": stage.project, "name": "kept"})
    before = stage.hub.call("GET", "/instance/status")["id"]
    stage.hub.stop()
    stage.hub.start()
    after = stage.hub.call("GET", "/instance/status")
    assert after["id"] == before
    assert "kept" in [resource["name"] for resource in after["resources"]]
