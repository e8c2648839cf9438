"""PyPI and npm packages through the pip and npm of this machine, as they are configured."""

import io
import json
import tarfile
from datetime import timedelta
from pathlib import Path

import pytest

from firsthand.sources.errors import RefNotFound, SourceNotFound, SourceTooLarge
from firsthand.sources.limits import FetchLimits
from firsthand.sources.packages import unpack_package
from firsthand.sources.source import Source, SourceKind, parse_source
from tests.feature.sources.conftest import World

pytestmark = pytest.mark.requirement("SRC-2")


def source(text: str) -> Source:
    return parse_source(text, allow_local=False)


async def test_a_python_package_is_read_at_a_version(world: World) -> None:
    checkout = await world.store.checkout(source("pypi:httpx@0.28.1"))

    assert (checkout.ref, checkout.committed_at, checkout.link_template) == ("0.28.1", None, None)
    assert checkout.commit.startswith("sha256:")
    assert "def __init__" in (checkout.tree / "httpx/_client.py").read_text()
    assert world.leftovers() == []


@pytest.mark.requirement("SRC-19")
async def test_a_known_version_is_served_for_ever_and_shared_by_its_spellings(
    world: World,
) -> None:
    first = await world.store.checkout(source("pypi:six@1.17.0"))
    newest = await world.store.checkout(source("pypi:Six"))
    world.clock.move(timedelta(days=400))
    again = await world.store.checkout(source("pypi:six@1.17.0"))
    assert first.id == again.id
    assert first.ref == again.ref == "1.17.0"
    assert (newest.tree / "six.py").is_file()


@pytest.mark.requirement("SRC-5")
async def test_a_missing_version_or_package_says_so(world: World) -> None:
    with pytest.raises(RefNotFound, match=r"no version 1\.17\.99 of the Python") as caught:
        await world.store.checkout(source("pypi:six@1.17.99"))
    assert "1.17.0" in (caught.value.hint or "")
    with pytest.raises(RefNotFound, match=r"no version 7\.0\.1 of the npm") as caught:
        await world.store.checkout(source("npm:is-number@7.0.1"))
    assert "7.0.0" in (caught.value.hint or "")
    with pytest.raises(SourceNotFound):
        await world.store.checkout(source("pypi:firsthand-no-such-package-here"))
    with pytest.raises(SourceNotFound):
        await world.store.checkout(source("npm:firsthand-no-such-package-here"))
    assert world.leftovers() == []


async def test_an_npm_package_is_read_at_a_version_and_at_a_tag(world: World) -> None:
    checkout = await world.store.checkout(source("npm:is-number@6.0.0"))
    assert checkout.ref == "6.0.0"
    assert json.loads((checkout.tree / "package.json").read_text())["version"] == "6.0.0"

    latest = await world.store.checkout(source("npm:is-number@latest"))
    assert latest.ref != "latest"
    assert (latest.tree / "index.js").is_file()
    assert world.leftovers() == []


async def test_a_source_archive_is_read_without_running_its_build(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A package that is only a source archive, in a folder that pip is told to look in."""
    trap = tmp_path / "sprung"
    links = tmp_path / "links"
    links.mkdir()
    setup = f"open({str(trap)!r}, 'w'); raise SystemExit('built')\n"
    archive = links / "firsthandsample-1.5.tar.gz"
    write_tar(
        archive,
        {
            "firsthandsample-1.5/setup.py": setup,
            "firsthandsample-1.5/sample.py": "answer = 42\n",
            "firsthandsample-1.5/PKG-INFO": "Metadata-Version: 2.1\nName: firsthandsample\n"
            "Version: 1.5\n",
        },
    )
    monkeypatch.setenv("PIP_FIND_LINKS", str(links))

    checkout = await world.store.checkout(source("pypi:firsthandsample"))

    assert checkout.ref == "1.5"
    assert (checkout.tree / "sample.py").read_text() == "answer = 42\n"
    assert "Taken from the source archive, nothing was built." in checkout.notes
    assert not trap.exists()


def write_tar(archive: Path, files: dict[str, str], *links: tarfile.TarInfo) -> None:
    with tarfile.open(archive, "w:gz") as out:
        for link in links:
            out.addfile(link)
        for name, text in files.items():
            data = text.encode()
            info = tarfile.TarInfo(name)
            info.size = len(data)
            out.addfile(info, io.BytesIO(data))


def link(name: str, target: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = tarfile.SYMTYPE
    info.linkname = target
    return info


@pytest.mark.requirement("SRC-12", "SRC-16", "SRC-18")
async def test_an_archive_writes_nowhere_but_into_its_tree(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    archive = tmp_path / "evil.tgz"
    device = tarfile.TarInfo("package/device")
    device.type = tarfile.CHRTYPE
    files = {
        "package/ok.js": "ok\n",
        "package/door/through": "no\n",
        "../escape": "no\n",
        "/etc/escape": "no\n",
    }
    write_tar(archive, files, link("package/door", str(outside)), device)
    (tmp_path / "into").mkdir()
    tree = tmp_path / "into" / "tree"
    asked = Source(SourceKind.NPM, "evil", "1")

    unpacked = await unpack_package(asked, archive, tree, FetchLimits())

    assert (tree / "ok.js").read_text() == "ok\n"
    # The file came after the link in the archive, and took its place.
    assert (tree / "door/through").read_text() == "no\n"
    assert list(outside.iterdir()) == []
    assert not (tmp_path / "into" / "escape").exists()
    assert unpacked.notes == ("4 entries that no tree can hold are left out.",)

    for number, limits in enumerate((FetchLimits(tree_files=1), FetchLimits(tree_bytes=4))):
        with pytest.raises(SourceTooLarge, match="cannot be unpacked: it holds more than"):
            await unpack_package(asked, archive, tmp_path / "into" / str(number), limits)


@pytest.mark.requirement("SRC-18")
async def test_an_index_that_cannot_be_used_ends_in_time(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    with pytest.raises(SourceNotFound):
        await world.store.checkout(source("pypi:six"))
