"""A real hub as a process, spoken to by the command line of the same machine."""

import json
import signal
import threading
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.command_line import SECONDS, firsthand, started
from tests.git_server import GitServer, serve_git
from tests.hub_process import running_hub
from tests.model_server import ModelServer, Reply, Say, Wait
from tests.repositories import Commit, make_repository

pytestmark = pytest.mark.timeout(300)
QUESTION = "How are redirects followed?"
CODE = b"def follow_redirects(response):\n    return response.next()\n"


@pytest.fixture
def remote(tmp_path: Path) -> Generator[GitServer]:
    root = tmp_path / "remote"
    root.mkdir()
    make_repository(root / "tiny.git", [Commit({b"redirects.py": CODE})])
    with serve_git(root) as server:
        yield server


# The git server of these tests is on loopback, which a hub reaches only when told to.
LOOPBACK = {"FIRSTHAND_ALLOWED_PRIVATE_HOSTS": "127.0.0.1"}


@pytest.mark.requirement("CLI-7", "CLI-8", "HUB-12", "HUB-16", "HUB-17")
def test_the_whole_way_through_a_hub_and_again_after_a_restart(
    remote: GitServer,
) -> None:
    with running_hub(**LOOPBACK) as hub:
        home = hub.folder.parent
        added = firsthand(home, "resources", "add", remote.url_of("tiny.git"), "--json")
        assert added.code == 0, added.err
        assert json.loads(added.out)["name"] == "tiny"
        ended = firsthand(home, "ask", QUESTION, "-r", "tiny")
        assert ended.code == 0, ended.err
        assert "✓ tiny/redirects.py:1" in ended.out
        listed = firsthand(home, "resources", "list")
        assert "ready" in listed.out
        status = firsthand(home, "instance", "status")
        assert status.out.startswith("running")
        assert firsthand(home, "instance", "stop").code == 0
        # The same folder, the next process: nothing has to be added again.
        hub.stop()
        hub.start()
        again = firsthand(home, "ask", QUESTION, "--json")
        assert again.code == 0, again.err
        found = json.loads(again.out)
        assert found["runId"]
        assert found["threadId"]
        assert found["citations"][0]["verdict"] == "verified"
        synced = firsthand(home, "resources", "sync", "tiny")
        assert synced.code == 0, synced.err
        assert firsthand(home, "resources", "remove", "tiny").code == 0
        empty = firsthand(home, "resources", "list")
        assert empty.out.startswith("No resources yet.")
    assert remote.count_transfers() == 1


@pytest.mark.requirement("CLI-6", "CLI-8", "SRC-6", "HUB-15")
def test_what_the_hub_refuses_is_said_in_its_words() -> None:
    with running_hub() as hub:
        home = hub.folder.parent
        secret = firsthand(home, "resources", "add", "https://me:secret@example.org/tiny.git")
        assert secret.code == 2
        assert "secret" not in secret.err
        assert len(secret.err.splitlines()) <= 2
        absent = firsthand(home, "resources", "remove", "absent")
        assert absent.code == 1
        assert absent.err.startswith("firsthand: ")
        long_name = firsthand(home, "resources", "add", "pypi:httpx", "--name", "n" * 65)
        assert long_name.code == 2
        assert "64" in long_name.err


@pytest.mark.requirement("HUB-13")
def test_a_second_hub_on_the_same_data_is_told_of_the_first() -> None:
    with running_hub() as hub:
        second = firsthand(hub.folder.parent, "serve", "--port", "0")
        assert second.code == 1
        assert hub.url in second.err
        assert len(second.err.splitlines()) == 2


@pytest.mark.requirement("CLI-10", "HUB-8")
def test_ctrl_c_cancels_the_run_in_the_hub(remote: GitServer) -> None:
    with ModelServer() as server:
        server.script(Reply(Say("It is "), Wait(threading.Event()), Say("never said.")))
        model = {
            "FIRSTHAND_MODEL_BASE_URL": server.base_url,
            "FIRSTHAND_MODEL_API_KEY": "sk-test",
            "FIRSTHAND_MODEL": "test-model",
        }
        with running_hub(**LOOPBACK, **model) as hub:
            home = hub.folder.parent
            added = firsthand(home, "resources", "add", remote.url_of("tiny.git"))
            assert added.code == 0, added.err
            with started(home, "ask", QUESTION, "-r", "tiny") as process:
                assert process.stdout is not None
                assert process.stdout.read(5) == "It is"
                process.send_signal(signal.SIGINT)
                _, err = process.communicate(timeout=SECONDS)
            assert process.returncode == 130
            assert err.strip() == "Stopped."
            server.wait_for_clients_gone()


@pytest.mark.requirement("HUB-10", "HUB-11")
def test_a_model_answers_through_the_gateway(remote: GitServer) -> None:
    with ModelServer(
        key="sk-test", otherwise=Reply(Say("Here: [tiny/redirects.py:1-2]."))
    ) as server:
        model = {"OPENAI_API_KEY": "sk-test", "OPENAI_BASE_URL": server.base_url}
        with running_hub(**LOOPBACK, **model) as hub:
            home = hub.folder.parent
            added = firsthand(home, "resources", "add", remote.url_of("tiny.git"))
            assert added.code == 0, added.err
            ended = firsthand(home, "ask", QUESTION, "-r", "tiny", "--json")
        assert ended.code == 0, ended.err
        found = json.loads(ended.out)
        assert found["answer"] == "Here: [tiny/redirects.py:1-2]."
        assert found["model"]["provider"] == "openai"
        assert server.requests[0].authorization == "Bearer sk-test"
