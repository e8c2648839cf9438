"""The import contracts refuse what the layers forbid, and a package that has no place."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def _lint(copy: Path) -> tuple[int, str]:
    ended = subprocess.run(
        [
            Path(sys.executable).with_name("lint-imports"),
            "--no-cache",
            "--config",
            ROOT / "pyproject.toml",
        ],
        cwd=copy,
        env={**os.environ, "PYTHONPATH": str(copy), "COLUMNS": "200"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    return ended.returncode, ended.stdout


@pytest.mark.requirement("HOUSE-4")
def test_a_wrong_import_and_a_package_without_a_place_break_the_contracts(tmp_path: Path) -> None:
    shutil.copytree(
        ROOT / "src" / "firsthand",
        tmp_path / "firsthand",
        ignore=shutil.ignore_patterns("__pycache__", "static"),
    )
    hub = tmp_path / "firsthand" / "hub"
    (hub / "newcomer.py").write_text("")
    # Upwards: what is asked about may not know who asks.
    (hub / "projects" / "wrong.py").write_text("import firsthand.hub.threads.run\n")
    # Sideways: the agent may not know the hub.
    (tmp_path / "firsthand" / "agent" / "tools" / "wrong.py").write_text(
        "import firsthand.hub.ids\n"
    )
    code, out = _lint(tmp_path)
    assert code == 1, out
    assert "newcomer" in out
    assert "firsthand.hub.projects.wrong -> firsthand.hub.threads.run" in out
    assert "firsthand.agent.tools.wrong -> firsthand.hub.ids" in out
