"""Starting the hub where it cannot start: one clear line, and nothing is touched."""

import os
import resource
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.hub_process import free_port, running_hub

FIRSTHAND = Path(sys.executable).with_name("firsthand")


def serve(folder: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder)}
    environment["FIRSTHAND_DATA_DIR"] = str(folder / "data")
    return subprocess.run(
        [str(FIRSTHAND), "serve"],
        env={**environment, "FIRSTHAND_PORT": str(free_port()), **settings},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def one_clear_line(done: subprocess.CompletedProcess[str], *words: str) -> None:
    assert done.returncode == 1, done
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    # What is wrong, and what to do.
    assert len(lines) <= 2, done.stderr
    for word in words:
        assert word in done.stderr


@pytest.mark.requirement("HUB-13")
def test_a_busy_port_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        one_clear_line(serve(tmp_path, FIRSTHAND_PORT=port), port, "FIRSTHAND_PORT")


@pytest.mark.requirement("HUB-13")
def test_a_data_folder_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    path = tmp_path / "data" / "firsthand.sqlite"
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
        database.execute("INSERT INTO alembic_version VALUES ('9999_from_the_future')")
    before = path.read_bytes()
    one_clear_line(serve(tmp_path), "newer")
    assert path.read_bytes() == before


@pytest.mark.requirement("HUB-13")
def test_a_missing_tool_is_named_with_the_way_to_get_it(tmp_path: Path) -> None:
    empty = tmp_path / "bin"
    empty.mkdir()
    one_clear_line(serve(tmp_path, PATH=str(empty)), "bubblewrap", "apt")


@pytest.mark.requirement("HUB-14")
def test_a_wrong_setting_is_named(tmp_path: Path) -> None:
    one_clear_line(serve(tmp_path, FIRSTHAND_SANDBOX="moon"), "FIRSTHAND_SANDBOX")


def test_a_hub_takes_as_many_connections_as_the_system_allows() -> None:
    usual, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(512, most), most))
    try:
        with running_hub() as hub:
            limits = Path(f"/proc/{hub.pid}/limits").read_text()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (usual, most))
    (line,) = [line for line in limits.splitlines() if line.startswith("Max open files")]
    assert line.split()[3:5] == [str(most), str(most)]
