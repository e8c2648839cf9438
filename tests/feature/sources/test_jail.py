"""The jail keeps a program from everything that it was not given."""

import socket
import sys
from pathlib import Path

import anyio
import pytest

from firsthand.sources.errors import FetchTimedOut, SourceTooLarge
from firsthand.sources.jail import Finished, Jail, python_folders, run_jailed

pytestmark = pytest.mark.requirement("SRC-16")


async def sh(script: str, jail: Jail) -> Finished:
    return await run_jailed(["/bin/sh", "-c", script], jail)


async def test_only_the_named_folder_can_be_written(tmp_path: Path) -> None:
    mine, other = tmp_path / "mine", tmp_path / "other"
    mine.mkdir()
    other.mkdir()
    done = await sh(
        f"echo x > {mine}/a; echo x > {other}/a; echo x > /usr/a; echo x > /a; true",
        Jail(writable=(mine,)),
    )
    assert (mine / "a").read_text() == "x\n"
    assert list(other.iterdir()) == []
    assert not Path("/a").exists()
    assert done.complaint.count("cannot create") == 3


async def test_neither_the_kernels_settings_nor_memory_without_bound_can_be_written() -> None:
    # Opened only: as root, writing one of these would run a program of choice outside.
    done = await sh(
        "true >> /proc/sys/kernel/core_pattern; true >> /proc/pressure/cpu; true > /dev/file;"
        " true > /dev/shm/file; echo x > /dev/null && echo fine",
        Jail(),
    )
    assert done.complaint.count("cannot create") == 4
    assert done.stdout == b"fine\n"


async def test_there_is_no_home_no_environment_and_no_secret_of_this_machine(
    tmp_path: Path,
) -> None:
    (tmp_path / "secret").write_text("secret")
    done = await sh(f"ls -A $HOME /root {tmp_path} /etc/shadow; env", Jail())
    listed = done.stdout.decode()
    assert "secret" not in listed
    assert {line.partition("=")[0] for line in listed.splitlines() if "=" in line} <= {
        "HOME", "LANG", "LC_ALL", "PATH", "PWD", "TMPDIR", "SHLVL", "_", "OLDPWD",
    }  # fmt: skip


async def test_there_is_no_network_and_no_terminal() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        program = f"import socket; socket.create_connection(('127.0.0.1', {port}), 5)"
        done = await run_jailed(
            [sys.executable, "-I", "-c", program], Jail(readable=python_folders())
        )
    assert done.code != 0
    assert "Error" in done.complaint
    assert (await sh("exec 3< /dev/tty", Jail())).code != 0


async def test_other_processes_cannot_be_seen() -> None:
    done = await sh("ls /proc | grep -c '^[0-9]'", Jail())
    assert int(done.stdout) < 10


@pytest.mark.requirement("SRC-18")
async def test_time_output_and_file_size_are_bounded(tmp_path: Path) -> None:
    with anyio.fail_after(30):
        with pytest.raises(FetchTimedOut, match="within 1 seconds"):
            await sh("sleep 1000", Jail(seconds=1.0))
        with pytest.raises(SourceTooLarge, match="more than 1,000 bytes of output"):
            await sh("yes", Jail(output_bytes=1_000))
        with pytest.raises(SourceTooLarge, match="beyond 1,000 bytes"):
            await sh(
                f"exec head -c 5000 /dev/zero > {tmp_path}/a",
                Jail(writable=(tmp_path,), file_bytes=1_000),
            )
    assert (tmp_path / "a").stat().st_size <= 1_000
