"""Repositories that are huge, odd or hostile: they work or are refused clearly, and stay inert."""

import os
from pathlib import Path

import pytest

from firsthand.sources.errors import FetchFailed, SourceTooLarge
from tests.feature.sources.conftest import World
from tests.repositories import Commit, Link, Submodule, run_git


@pytest.mark.requirement("SRC-9")
async def test_a_repository_of_50_000_files_works(world: World) -> None:
    files = {f"d{n % 250}/f{n}.txt".encode(): b"%d\n" % n for n in range(50_000)}
    world.repository("wide", Commit(files))

    checkout = await world.store.checkout(world.source("wide"))

    assert checkout.file_count == 50_000
    assert (checkout.tree / "d249/f49999.txt").read_bytes() == b"49999\n"


@pytest.mark.requirement("SRC-18")
async def test_more_files_than_the_limit_are_refused(world: World) -> None:
    world.repository("wide", Commit({b"%d" % n: b"" for n in range(10)}))
    with pytest.raises(SourceTooLarge, match="holds 10 files; the limit is 9"):
        await _elsewhere(world, tree_files=9)


@pytest.mark.requirement("SRC-10", "SRC-18")
async def test_a_file_of_200_megabytes_works_within_the_limits_and_is_refused_beyond(
    world: World,
) -> None:
    size = 200 * 1024 * 1024
    world.repository("wide", Commit({b"big.bin": bytes(size), b"a.py": b"a = 1\n"}))

    checkout = await world.store.checkout(world.source("wide"))

    assert (checkout.tree / "big.bin").stat().st_size == size
    assert checkout.size_bytes == size + 6


@pytest.mark.requirement("SRC-18")
async def test_a_transfer_beyond_its_limit_is_broken_off(world: World) -> None:
    # Nothing that compresses: the transfer is as large as the file.
    world.repository("wide", Commit({b"big.bin": os.urandom(3_000_000)}))
    with pytest.raises(SourceTooLarge, match="beyond 1,000,000 bytes"):
        await _elsewhere(world, download_bytes=1_000_000)
    with pytest.raises(SourceTooLarge, match="holds 3,000,000 bytes; the limit is 1,000,000"):
        await _elsewhere(world, tree_bytes=1_000_000)


async def _elsewhere(world: World, **limits: float) -> None:
    root = world.root
    world.root = root.with_name("elsewhere")
    try:
        await world.new_store(**limits).checkout(world.source("wide"))
    finally:
        assert world.leftovers() == []
        world.root = root


@pytest.mark.requirement("SRC-11")
async def test_names_and_contents_of_any_bytes_are_kept(world: World) -> None:
    files: dict[bytes, bytes | Link | Submodule] = {
        b"latin-\xe9\xff.txt": b"caf\xe9 \xff\xfe\x00 end\r\n",
        b"new\nline and \x1b[31mred\x07": b"\xed\xa0\x80 lone surrogate\r",
        b'tab\tquote"back\\slash': b"",
        b"-rf": b"an option by name\n",
        " \u202egpj.exe".encode(): b"right to left\n",
        b"con": b"names that trouble others\n",
        b"git~1/x": b"short name\n",
        b"utf16.txt": "hello".encode("utf-16"),
    }
    world.repository("odd", Commit(files))

    checkout = await world.store.checkout(world.source("odd"))

    tree = os.fsencode(checkout.tree)
    for name, content in files.items():
        assert Path(os.fsdecode(os.path.join(tree, name))).read_bytes() == content  # noqa: PTH118
    assert checkout.file_count == len(files)


@pytest.mark.requirement("SRC-12")
async def test_links_out_of_the_tree_stay_links_and_nothing_is_written_through_them(
    world: World, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    mode = (outside / "secret").stat().st_mode
    world.repository(
        "links",
        Commit(
            {
                b"passwd": Link(b"/etc/passwd"),
                b"folder": Link(os.fsencode(outside)),
                b"up": Link(b"../../../../.."),
                b"loop": Link(b"loop"),
                b"README": b"hello\n",
            }
        ),
    )

    checkout = await world.store.checkout(world.source("links"))

    assert (checkout.tree / "passwd").readlink() == Path("/etc/passwd")
    assert (checkout.tree / "folder").readlink() == outside
    assert (checkout.tree / "loop").is_symlink()
    assert checkout.file_count == 5
    assert (outside / "secret").stat().st_mode == mode
    assert "Symbolic links are kept as links: 4." in checkout.notes
    assert await world.store.remove(checkout.id)
    assert (outside / "secret").read_text() == "secret"


@pytest.mark.requirement("SRC-13")
async def test_attributes_filters_hooks_and_submodules_do_nothing(
    world: World, tmp_path: Path
) -> None:
    trap = tmp_path / "sprung"
    attributes = (
        b"*.txt text eol=crlf\n*.py filter=lfs ident\n"
        b"*.c filter=trap working-tree-encoding=UTF-16\n"
    )
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n"
    files: dict[bytes, bytes | Link | Submodule] = {
        b".gitattributes": attributes,
        b".gitmodules": b'[submodule "x"]\n\tpath = x\n\turl = file:///etc\n\tupdate = !touch '
        + os.fsencode(trap)
        + b"\n",
        b".lfsconfig": b"[lfs]\n\turl = http://127.0.0.1:1/\n",
        b"a.txt": b"one\ntwo\n",
        b"b.py": b"# $Id$\n",
        b"c.c": b"int x;\n",
        b"model.bin.py": pointer,
        b"x": Submodule("1" * 40),
        b"hooks/post-checkout": b"#!/bin/sh\ntouch " + os.fsencode(trap) + b"\n",
    }
    world.repository("traps", Commit(files))

    checkout = await world.store.checkout(world.source("traps"))

    for name, content in files.items():
        path = checkout.tree / os.fsdecode(name)
        if isinstance(content, bytes):
            assert path.read_bytes() == content
    assert list((checkout.tree / "x").iterdir()) == []
    assert not (checkout.tree / ".git").exists()
    assert "Submodules are left out: x." in checkout.notes
    assert not trap.exists()


@pytest.mark.requirement("SRC-13")
@pytest.mark.parametrize("name", [b".git/config", b"a/../../escape", b"a/./b"])
async def test_paths_that_lead_elsewhere_are_refused(world: World, name: bytes) -> None:
    """Such trees cannot be made with git's own commands, so they are written as raw objects."""
    made = world.repository("evil", Commit({b"README": b"hello\n"}))
    commit = _commit_with(made.path, name)
    made.git("update-ref", "refs/heads/main", commit)

    with pytest.raises(FetchFailed, match="failed"):
        await world.store.checkout(world.source("evil"))
    assert not (world.root / "work" / "escape").exists()
    assert world.leftovers() == []


def _commit_with(repository: Path, name: bytes) -> str:
    def write(kind: str, data: bytes) -> str:
        arguments = ["hash-object", "-t", kind, "-w", "--stdin", "--literally"]
        return run_git(["-C", str(repository), *arguments], data)

    made = write("blob", b"[core]\n\tfsmonitor = touch /tmp/sprung\n")
    mode = b"100644"
    for part in reversed(name.split(b"/")):
        made = write("tree", mode + b" " + part + b"\0" + bytes.fromhex(made))
        mode = b"40000"
    who = b"Ada <ada@example.org> 1700000000 +0000"
    about = b"tree %s\nauthor %s\ncommitter %s\n\nevil\n" % (made.encode(), who, who)
    return write("commit", about)
