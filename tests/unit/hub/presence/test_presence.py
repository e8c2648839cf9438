"""One hub per data folder, found by those who own the folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from firsthand.hub.errors import SettingsError
from firsthand.hub.presence import announce, claim_folder, find_hub

HOLDER = """
import sys
from pathlib import Path
from firsthand.hub.presence import announce, claim_folder
folder = Path(sys.argv[1])
with claim_folder(folder):
    announce(folder, "http://127.0.0.1:1", "t")
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.mark.requirement("HUB-13")
def test_a_second_hub_is_told_who_holds_the_folder(tmp_path: Path) -> None:
    with claim_folder(tmp_path):
        announce(tmp_path, "http://127.0.0.1:8700", "secret-token")
        told = r"already runs.*http://127\.0\.0\.1:8700"
        with pytest.raises(SettingsError, match=told) as info, claim_folder(tmp_path):
            pass
        assert "secret-token" not in str(info.value)


def test_the_token_is_readable_by_the_owner_alone(tmp_path: Path) -> None:
    with claim_folder(tmp_path):
        announce(tmp_path, "http://127.0.0.1:8700", "secret-token")
        assert (tmp_path / "hub.json").stat().st_mode & 0o077 == 0
        found = find_hub(tmp_path)
        assert found is not None
        assert (found.url, found.token, found.pid) == (
            "http://127.0.0.1:8700",
            "secret-token",
            os.getpid(),
        )
    assert find_hub(tmp_path) is None


def test_a_killed_hub_is_not_found_and_its_folder_is_free(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        assert find_hub(tmp_path) is not None
        holder.kill()
        holder.wait(timeout=10)
    assert (tmp_path / "hub.json").exists()
    assert find_hub(tmp_path) is None
    with claim_folder(tmp_path):
        pass


@pytest.mark.parametrize("text", ["", "{", '{"url": 1}'])
def test_a_damaged_description_counts_as_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "hub.json").write_text(text)
    assert find_hub(tmp_path) is None


@pytest.mark.requirement("HUB-13")
def test_a_folder_that_cannot_be_made_names_the_setting(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError) as info, claim_folder(tmp_path / "file" / "data"):
        pass
    assert "FIRSTHAND_DATA_DIR" in (info.value.hint or "")
