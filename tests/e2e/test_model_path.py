"""The real model path: hub, sandbox, agent and gateway, against a provider's interface."""

import subprocess
import threading
from pathlib import Path

import pytest

from firsthand.protocol.events import (
    CitationsChecked,
    Done,
    Meta,
    ReasoningDelta,
    RunFailed,
    ToolUpdated,
    Verdict,
)
from tests.e2e.asking import ask_to_end, asking, following, run_id_of, text_of, until_text
from tests.e2e.conftest import KEY, Stage
from tests.model_server import Call, Cut, Refusal, Reply, Say, Think, Tokens, Wait


@pytest.mark.requirement("HUB-11", "HUB-16", "AGT-9")
def test_an_answer_reads_thinks_cites_and_is_counted(stage: Stage) -> None:
    stage.model.script(
        Reply(
            Think("I should look."),
            Call("read_file", {"path": "project/src/loop.py"}),
            Call("grep", {"pattern": "is_redirect"}),
            usage=Tokens(100, 20),
        ),
        Reply(Say("It loops [project/src/loop.py:3-4]."), usage=Tokens(300, 30)),
    )
    events = ask_to_end(stage, "How are redirects followed?")
    assert [event.number for event in events] == list(range(1, len(events) + 1))
    done = events[-1].event
    assert isinstance(done, Done)
    assert done.text == "It loops [project/src/loop.py:3-4]."
    assert (done.usage.input_tokens, done.usage.output_tokens) == (400, 50)
    assert not done.usage.estimated
    tools = {e.event.tool for e in events if isinstance(e.event, ToolUpdated)}
    assert tools == {"read_file", "grep"}
    assert any(isinstance(e.event, ReasoningDelta) for e in events)
    (cited,) = next(e.event.citations for e in events if isinstance(e.event, CitationsChecked))
    assert (cited.path, cited.start_line, cited.verdict) == ("src/loop.py", 3, Verdict.VERIFIED)
    assert cited.commit == stage.commit
    assert cited.url is not None
    assert cited.url.startswith(f"{stage.hub.url}/read/")
    link = cited.url.removeprefix(stage.hub.url)
    with stage.hub.request("GET", link, headers={"Cookie": stage.hub.sign_in()}) as page:
        assert page.status == 200
        assert b"is_redirect" in page.read()
    meta = next(e.event for e in events if isinstance(e.event, Meta))
    assert meta.model.model == "test-model"
    assert meta.resources[0].commit == stage.commit


@pytest.mark.requirement("HUB-19")
def test_a_follow_up_carries_what_was_said(stage: Stage) -> None:
    stage.model.script(Reply(Say("Blue.")), Reply(Say("As I said.")))
    first = ask_to_end(stage, "Which colour is it?")
    thread = stage.hub.call("GET", f"/runs/{run_id_of(first)}")["threadId"]
    ask_to_end(stage, "And why?", threadId=thread)
    said = [str(message.get("content")) for message in stage.model.requests[-1].messages]
    assert said[-3:] == ["Which colour is it?", "Blue.", "And why?"]


@pytest.mark.requirement("AGT-11")
@pytest.mark.parametrize(
    ("refusal", "word"),
    [(Refusal(401, "bad key"), "key"), (Refusal(400, "too long for me"), "too long for me")],
)
def test_a_refusal_ends_the_run_with_its_reason(stage: Stage, refusal: Refusal, word: str) -> None:
    stage.model.script(refusal)
    failed = ask_to_end(stage, "Why?")[-1].event
    assert isinstance(failed, RunFailed)
    assert word in failed.message
    assert KEY not in failed.message


@pytest.mark.requirement("AGT-11")
def test_a_busy_provider_is_asked_again(stage: Stage) -> None:
    stage.model.script(
        Refusal(429, "slow down", retry_after=0.05), Refusal(500, "oops"), Reply(Say("Now."))
    )
    assert text_of(ask_to_end(stage, "Again?")) == "Now."


@pytest.mark.requirement("AGT-11")
def test_a_cut_answer_keeps_what_was_said(stage: Stage) -> None:
    stage.model.script(Reply(Say("Half of it"), Cut()))
    events = ask_to_end(stage, "All of it?")
    assert text_of(events) == "Half of it"
    assert isinstance(events[-1].event, RunFailed)


@pytest.mark.requirement("HUB-8", "AGT-3")
def test_cancelling_really_stops_the_model(stage: Stage) -> None:
    gate = threading.Event()
    gone = stage.model.clients_gone
    stage.model.script(Reply(Say("It begins"), Wait(gate), Say(" and never ends")))
    with asking(stage, "Tell me all.") as events:
        seen = until_text(events, "begins")
        stage.hub.call("POST", f"/runs/{run_id_of(seen)}/cancel")
        seen.extend(events)
    stage.model.wait_for_clients_gone(gone + 1)
    assert text_of(seen) == "It begins"
    assert isinstance(seen[-1].event, RunFailed)
    assert stage.hub.call("GET", f"/runs/{run_id_of(seen)}")["state"] == "cancelled"


@pytest.mark.requirement("HUB-7", "WEB-1")
def test_readers_that_come_at_different_times_see_the_same(stage: Stage) -> None:
    gate = threading.Event()
    stage.model.script(Reply(Say("One, two,"), Wait(gate), Say(" three.")))
    with asking(stage, "Count.") as first:
        seen = until_text(first, "two,")
        run_id = run_id_of(seen)
        with following(stage, run_id) as second, following(stage, run_id, after=3) as third:
            gate.set()
            rest = list(first)
            assert list(second) == seen + rest
            assert list(third) == (seen + rest)[3:]
    with following(stage, run_id, after=len(seen)) as late:
        assert list(late) == rest


@pytest.mark.requirement("HUB-10", "BOX-3")
def test_no_key_is_anywhere_near_the_sandbox(stage: Stage) -> None:
    stage.model.script(Reply(Say("Here.")))
    ask_to_end(stage, "Are you there?")
    agents = subprocess.run(
        ["pgrep", "-f", "firsthand.agent --socket"], capture_output=True, text=True, check=True
    ).stdout.split()
    assert agents
    for pid in agents:
        environment = Path(f"/proc/{pid}/environ")
        try:
            assert KEY.encode() not in environment.read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
    for path in stage.hub.folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            assert KEY.encode() not in path.read_bytes(), path
