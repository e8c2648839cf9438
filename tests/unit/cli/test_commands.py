"""Commands as processes: what they print where, and the exit code. No hub runs."""

import json
import socket
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

import firsthand as package
from tests.command_line import firsthand


def test_version(tmp_path: Path) -> None:
    ended = firsthand(tmp_path, "--version")
    assert (ended.code, ended.out) == (0, f"firsthand {package.__version__}\n")


def test_help_names_every_command(tmp_path: Path) -> None:
    ended = firsthand(tmp_path, "--help")
    assert ended.code == 0
    for command in ("serve", "ask", "resources", "instance", "doctor"):
        assert f"\n  {command} " in ended.out


@pytest.mark.requirement("CLI-5")
@pytest.mark.parametrize(
    "arguments",
    [
        ("ask", "--no-such-option", "x"),
        ("no-such-command",),
        ("ask", "How?"),
        ("ask", "  ", "-r", "pypi:x"),
        ("ask", "How?", "-r", "httpx"),
        ("ask", "How?", "-r", "ssh://host/x"),
        ("ask", "How?", *("-r", "pypi:x") * 21),
    ],
)
def test_wrong_use_is_code_2(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    ended = firsthand(tmp_path, *arguments)
    assert ended.code == 2
    assert ended.out == ""
    assert "Traceback" not in ended.err


@pytest.mark.requirement("CLI-6")
def test_an_error_is_one_line_and_a_hint(tmp_path: Path) -> None:
    ended = firsthand(tmp_path, "ask", "How?", "-r", "httpx")
    line, hint = ended.err.splitlines()
    assert line == "firsthand: “httpx” is not a source."
    assert hint == "hint: Did you mean pypi:httpx or npm:httpx ?"


@pytest.mark.requirement("CLI-3", "CLI-6")
def test_an_error_is_one_object_with_json(tmp_path: Path) -> None:
    ended = firsthand(tmp_path, "ask", "How?", "-r", "httpx", "--json")
    assert ended.code == 2
    assert json.loads(ended.out)["error"]["message"] == "“httpx” is not a source."


@pytest.mark.requirement("CLI-8")
@pytest.mark.parametrize(
    "arguments",
    [
        ("resources", "list"),
        ("resources", "add", "pypi:httpx"),
        ("resources", "remove", "httpx"),
        ("resources", "sync", "httpx"),
        ("instance", "status"),
        ("instance", "wake"),
        ("instance", "stop"),
    ],
)
def test_without_a_hub_there_is_a_clear_message(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    ended = firsthand(tmp_path, *arguments)
    assert ended.code == 1
    assert ended.err.startswith(f"firsthand: No hub runs for the data folder {tmp_path / 'data'}.")
    assert "firsthand serve" in ended.err


@pytest.mark.requirement("HUB-14")
def test_a_wrong_setting_is_named(tmp_path: Path) -> None:
    ended = firsthand(tmp_path, "serve", FIRSTHAND_PORT="eighty")
    assert ended.code == 1
    assert ended.err.startswith("firsthand: FIRSTHAND_PORT must be a port number")


@pytest.mark.requirement("CLI-9")
def test_doctor_finds_everything_here(tmp_path: Path) -> None:
    ended = firsthand(tmp_path, "doctor", "--json", FIRSTHAND_PORT="0")
    found = {finding["name"]: finding for finding in json.loads(ended.out)["findings"]}
    assert ended.code == 0, ended.out
    assert found["bubblewrap"] == {
        "name": "bubblewrap",
        "ok": True,
        "found": "a sandbox starts",
        "mend": None,
        "needed": True,
    }
    for name in ("python", "git", "rg", "pip", "user namespaces", "web assets", "data folder"):
        assert found[name]["ok"], found[name]
    assert found["model"]["found"] == "none; answers are passages"
    assert "OPENAI_API_KEY" in found["model"]["mend"]


@pytest.mark.requirement("CLI-9", "HUB-13")
def test_doctor_says_what_is_missing_and_how_to_mend_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        ended = firsthand(tmp_path, "doctor", FIRSTHAND_PORT=str(port), PATH=str(tmp_path))
    assert ended.code == 1
    assert "✗ git " in ended.out
    assert "sudo apt install git" in ended.out
    assert f"127.0.0.1:{port}: Address already in use" in ended.out
    assert "Not ready: git, bubblewrap, port." in ended.err


@pytest.mark.requirement("CLI-9", "HUB-13")
def test_doctor_knows_a_data_folder_of_a_newer_version(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with closing(sqlite3.connect(tmp_path / "data" / "firsthand.sqlite")) as database:
        database.execute("CREATE TABLE alembic_version (version_num TEXT)")
        database.execute("INSERT INTO alembic_version VALUES ('9999')")
        database.commit()
    ended = firsthand(tmp_path, "doctor", FIRSTHAND_PORT="0")
    assert ended.code == 1
    assert "newer version (9999)" in ended.out


def test_doctor_names_a_wrong_setting(tmp_path: Path) -> None:
    ended = firsthand(tmp_path, "doctor", FIRSTHAND_PORT="eighty")
    assert ended.code == 1
    assert "FIRSTHAND_PORT" in ended.out
