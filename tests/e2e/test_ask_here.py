"""`firsthand ask` without a hub: real registries, real repositories, a model server on loopback."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.command_line import SECONDS, firsthand, firsthand_on_terminal, started
from tests.model_server import Call, ModelServer, Refusal, Reply, Say, Tokens, Wait
from tests.repositories import Commit, Repository, make_repository

CODE = b'''"""Follows redirects."""

MAX_REDIRECTS = 20


def follow_redirects(response):
    """Follow redirects until there are none, or too many."""
    for _ in range(MAX_REDIRECTS):
        if not response.is_redirect:
            return response
        response = response.next()
    raise TooManyRedirects
'''


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return make_repository(
        tmp_path / "tiny",
        [
            Commit({b"old.py": b"def nothing():\n    pass\n"}, tags=("v1",)),
            Commit({b"redirects.py": CODE, b"README.md": b"# Tiny\n"}, branch="main"),
        ],
    )


def answer_of(out: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(out)
    return found


@pytest.mark.requirement("CLI-1", "SRC-2", "AGT-12", "AGT-13")
def test_a_package_from_the_registry(tmp_path: Path) -> None:
    ended = firsthand(tmp_path, "ask", "How are redirects followed?", "-r", "pypi:httpx")
    assert ended.code == 0, ended.err
    assert "No language model is configured" in ended.out
    assert "_send_handling_redirects" in ended.out
    assert "  ✓ httpx/httpx/_client.py:" in ended.out
    assert "\nRead at\n  httpx  " in ended.out


@pytest.mark.requirement("CLI-1", "SRC-2")
def test_a_package_from_the_other_registry(tmp_path: Path) -> None:
    ended = firsthand(
        tmp_path, "ask", "What is a number here?", "-r", "npm:is-number@7.0.0", "--json"
    )
    assert ended.code == 0, ended.err
    found = answer_of(ended.out)
    assert found["resources"][0]["ref"] == "7.0.0"
    assert any(citation["path"] == "index.js" for citation in found["citations"])


@pytest.mark.requirement("CLI-2", "CLI-3", "SRC-1")
def test_a_local_repository_at_its_commit(tmp_path: Path, repository: Repository) -> None:
    ended = firsthand(
        tmp_path, "ask", "How are redirects followed?", "-r", str(repository.path), "--json"
    )
    assert (ended.code, ended.err) == (0, "")
    found = answer_of(ended.out)
    assert found["question"] == "How are redirects followed?"
    assert found["complete"] is True
    assert found["resources"] == [
        {**found["resources"][0], "name": "tiny", "ref": "main", "commit": repository.commits[1]}
    ]
    assert found["citations"][0]["path"] == "redirects.py"
    assert {citation["verdict"] for citation in found["citations"]} == {"verified"}
    assert found["tools"]
    assert "totalTokens" in found["usage"]


@pytest.mark.requirement("CLI-2", "SRC-4")
def test_a_local_repository_at_a_tag(tmp_path: Path, repository: Repository) -> None:
    ended = firsthand(tmp_path, "ask", "Is there nothing?", "-r", "./tiny@v1", "--json")
    assert ended.code == 0, ended.err
    (resource,) = answer_of(ended.out)["resources"]
    assert (resource["ref"], resource["commit"]) == ("v1", repository.commits[0])


@pytest.mark.requirement("CLI-6", "SRC-5")
@pytest.mark.parametrize(
    ("resource", "words"),
    [
        ("./tiny@no-such-branch", "no-such-branch"),
        ("./no-such-folder", "no-such-folder"),
        ("pypi:httpx@999.0.0", "999.0.0"),
    ],
)
def test_what_is_not_there_is_a_clear_error(
    tmp_path: Path, repository: Repository, resource: str, words: str
) -> None:
    del repository
    ended = firsthand(tmp_path, "ask", "How?", "-r", resource)
    assert ended.code == 1
    assert ended.out == ""
    assert words in ended.err
    assert len(ended.err.splitlines()) <= 2


@pytest.mark.requirement("CLI-4")
def test_a_pipe_gets_the_answer_and_a_terminal_the_progress(
    tmp_path: Path, repository: Repository
) -> None:
    del repository
    piped = firsthand(tmp_path, "ask", "How are redirects followed?", "-r", "./tiny")
    assert (piped.code, piped.err) == (0, "")
    assert "\x1b" not in piped.out
    shown = firsthand_on_terminal(tmp_path, "ask", "How are redirects followed?", "-r", "./tiny")
    assert shown.code == 0
    # A line that is written over, and Markdown that has been set: no backticks of a fence.
    assert "\r\x1b[2K" in shown.out
    assert "```" not in shown.out
    assert "MAX_REDIRECTS" in shown.out
    assert "✓ tiny/redirects.py:" in shown.out


def model_settings(server: ModelServer) -> dict[str, str]:
    return {
        "FIRSTHAND_MODEL_BASE_URL": server.base_url,
        "FIRSTHAND_MODEL_API_KEY": "sk-test",
        "FIRSTHAND_MODEL": "test-model",
    }


@pytest.mark.requirement("HUB-11", "AGT-9")
def test_a_model_reads_and_answers(tmp_path: Path, repository: Repository) -> None:
    del repository
    with ModelServer(key="sk-test") as server:
        server.script(
            Reply(Call("read_file", {"path": "tiny/redirects.py"})),
            Reply(
                Say("At most 20 [tiny/redirects.py:3-3], not [tiny/absent.py:1-2]."),
                usage=Tokens(900, 40),
            ),
        )
        ended = firsthand(
            tmp_path, "ask", "How many?", "-r", "./tiny", "--json", **model_settings(server)
        )
    assert ended.code == 0, ended.err
    found = answer_of(ended.out)
    assert found["answer"].startswith("At most 20")
    assert found["model"]["model"] == "test-model"
    verdicts = {citation["path"]: citation["verdict"] for citation in found["citations"]}
    assert verdicts == {"redirects.py": "verified", "absent.py": "missing"}
    assert found["usage"]["outputTokens"] >= 40


@pytest.mark.requirement("AGT-11", "CLI-6")
def test_a_refused_key_is_a_clear_error(tmp_path: Path, repository: Repository) -> None:
    del repository
    with ModelServer() as server:
        server.script(Refusal(401, "Incorrect API key provided"))
        ended = firsthand(tmp_path, "ask", "How many?", "-r", "./tiny", **model_settings(server))
    assert ended.code == 1
    assert "key" in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.requirement("CLI-5", "CLI-10", "AGT-3")
def test_ctrl_c_stops_the_model_and_the_command(tmp_path: Path, repository: Repository) -> None:
    import threading

    del repository
    with ModelServer() as server:
        server.script(Reply(Say("It is "), Wait(threading.Event()), Say("never said.")))
        arguments = ("ask", "How many?", "-r", "./tiny")
        with started(tmp_path, *arguments, **model_settings(server)) as process:
            server.wait_for_requests(1, seconds=SECONDS)
            assert process.stdout is not None
            assert process.stdout.read(5) == "It is"
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=SECONDS)
        server.wait_for_clients_gone()
    assert process.returncode == 130
    assert err.strip() == "Stopped."
