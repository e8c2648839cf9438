"""Git repositories become read-only trees: which commit, which bytes, what is remembered."""

import shutil
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from firsthand.sources.errors import (
    AddressRefused,
    AuthenticationRequired,
    EmptySource,
    FetchFailed,
    FetchTimedOut,
    RefNotFound,
    SourceNotFound,
)
from firsthand.sources.index.layout import FORMAT_FILE, is_current
from firsthand.sources.progress import Progress
from firsthand.sources.source import parse_source
from firsthand.sources.store import SourceStore
from tests.feature.sources.conftest import World
from tests.repositories import FIRST_COMMIT_AT, Commit, add_commits, make_repository

ONE = Commit({b"README": b"one\n", b"src/a.py": b"a = 1\n"}, tags=("v1.0",))
TWO = Commit({b"README": b"two\n", b"src/a.py": b"a = 2\n"}, annotated_tags=("v2.0",))
THREE = Commit({b"README": b"three\n"}, branch="feature/three")


@pytest.mark.requirement("SRC-1", "SRC-4")
async def test_without_a_ref_the_default_branch_is_read_whatever_its_name(world: World) -> None:
    commit = Commit(ONE.files, branch="trunk")
    made = world.repository("box", commit, default="trunk")

    checkout = await world.store.checkout(world.source("box"))

    assert checkout.ref == "trunk"
    assert checkout.commit == made.commits[0]
    assert checkout.committed_at == datetime.fromtimestamp(FIRST_COMMIT_AT, UTC)
    assert checkout.fetched_at == world.clock.now
    assert checkout.link_template is None
    assert (checkout.file_count, checkout.size_bytes) == (2, 10)
    assert (checkout.tree / "src/a.py").read_bytes() == b"a = 1\n"
    assert world.store.find(checkout.id) == checkout


async def test_a_checkout_is_read_only_and_the_folder_of_all_cannot_be_listed(
    world: World,
) -> None:
    world.repository("box", ONE)
    checkout = await world.store.checkout(world.source("box"))

    assert stat.S_IMODE(world.store.trees.stat().st_mode) == 0o311
    assert checkout.tree == world.store.trees / checkout.id / "tree"
    assert len(checkout.id) == 32
    for path in (checkout.tree.parent, *checkout.tree.parent.rglob("*")):
        assert path.stat().st_mode & 0o222 == 0, path


@pytest.mark.requirement("SRC-4")
@pytest.mark.parametrize(
    ("ref", "number", "name"),
    [
        ("main", 1, "main"),
        ("v1.0", 0, "v1.0"),
        ("v2.0", 1, "v2.0"),
        ("refs/tags/v2.0", 1, "v2.0"),
        ("feature/three", 2, "feature/three"),
    ],
)
async def test_a_ref_is_a_branch_or_a_tag(world: World, ref: str, number: int, name: str) -> None:
    made = world.repository("box", ONE, TWO, THREE)
    checkout = await world.store.checkout(world.source("box", ref))
    assert (checkout.commit, checkout.ref) == (made.commits[number], name)


@pytest.mark.requirement("SRC-4")
@pytest.mark.parametrize("chars", [7, 12, 40])
@pytest.mark.parametrize("old_protocol", [False, True])
async def test_a_ref_is_a_commit_in_full_or_abbreviated(
    world: World, chars: int, *, old_protocol: bool
) -> None:
    world.server.behaviour.old_protocol = old_protocol
    made = world.repository("box", Commit({b"README": b"none\n"}), ONE, TWO)
    wanted = made.commits[0]

    checkout = await world.store.checkout(world.source("box", wanted[:chars]))

    assert checkout.commit == wanted
    assert (checkout.tree / "README").read_bytes() == b"none\n"


@pytest.mark.requirement("SRC-5")
async def test_a_missing_ref_names_the_nearest(world: World) -> None:
    world.repository("box", ONE, TWO, THREE)
    with pytest.raises(RefNotFound, match="no branch, tag or commit “v1\\.1”") as caught:
        await world.store.checkout(world.source("box", "v1.1"))
    assert caught.value.hint is not None
    assert caught.value.hint.startswith("Nearest: v1.0")
    for absent in ("0" * 40, "1234567", "zebra"):
        with pytest.raises(RefNotFound):
            await world.store.checkout(world.source("box", absent))
    assert world.leftovers() == []
    assert list((world.root / "mirrors").iterdir()) == []


@pytest.mark.requirement("SRC-1")
async def test_a_local_repository_is_read_by_its_path_and_in_a_work_tree_too(
    world: World, tmp_path: Path
) -> None:
    made = make_repository(tmp_path / "bare", [ONE, TWO])
    made.git("worktree", "add", str(tmp_path / "work tree"), "v1.0")

    bare = parse_source(f"{made.path}@v2.0", allow_local=True)
    assert (await world.store.checkout(bare)).commit == made.commits[1]
    linked = parse_source(f"{tmp_path / 'work tree'}", allow_local=True)
    assert (await world.store.checkout(linked)).commit == made.commits[0]
    with pytest.raises(SourceNotFound, match="not a git repository"):
        await world.store.checkout(parse_source(str(tmp_path), allow_local=True))


@pytest.mark.requirement("SRC-19")
async def test_what_is_known_is_served_without_asking_the_remote(world: World) -> None:
    made = world.repository("box", ONE, TWO)
    by_branch = await world.store.checkout(world.source("box"))
    by_commit = await world.store.checkout(world.source("box", made.commits[0]))
    asked = len(world.server.requests)

    world.clock.move(timedelta(minutes=4))
    assert await world.store.checkout(world.source("box")) == by_branch
    world.clock.move(timedelta(days=400))
    again = await world.new_store().checkout(world.source("box", made.commits[0]))

    assert again == by_commit
    assert len(world.server.requests) == asked


@pytest.mark.requirement("SRC-19")
async def test_a_remote_that_is_away_leaves_what_was_fetched_with_its_age(world: World) -> None:
    world.repository("box", ONE)
    fetched = await world.store.checkout(world.source("box"))
    world.server.behaviour.silent.add("box")
    world.clock.move(timedelta(days=1))
    store = world.new_store(resolve_seconds=1.0)

    assert await store.checkout(world.source("box")) == fetched
    # Where a bound on the age is named, an older one must not be passed off.
    with pytest.raises(FetchTimedOut):
        await store.checkout(world.source("box"), max_age=timedelta(hours=1))


async def test_a_branch_is_asked_for_again_after_a_while(world: World) -> None:
    made = world.repository("box", ONE)
    first = await world.store.checkout(world.source("box"))
    add_commits(made, [TWO])
    world.clock.move(timedelta(minutes=6))

    second = await world.store.checkout(world.source("box"))
    forced = await world.store.checkout(world.source("box"), max_age=timedelta())

    assert second.commit == made.commits[1]
    assert forced.id == second.id != first.id
    assert (first.tree / "README").read_bytes() == b"one\n"


async def test_branches_with_one_commit_share_one_tree(world: World) -> None:
    world.repository("box", ONE)
    by_branch = await world.store.checkout(world.source("box"))
    by_tag = await world.store.checkout(world.source("box", "v1.0"))
    assert (by_branch.id, by_branch.ref, by_tag.ref) == (by_tag.id, "main", "v1.0")
    assert world.server.count_transfers() == 1


@pytest.mark.requirement("SRC-8")
async def test_an_empty_repository_says_so(world: World) -> None:
    world.repository("box")
    world.repository("hollow", Commit({}))
    with pytest.raises(EmptySource, match="has no commit"):
        await world.store.checkout(world.source("box"))
    with pytest.raises(EmptySource, match="holds no file"):
        await world.store.checkout(world.source("hollow"))
    assert world.leftovers() == []


@pytest.mark.requirement("SRC-6")
async def test_a_wrong_address_says_so(world: World) -> None:
    with pytest.raises(SourceNotFound, match="no git repository at"):
        await world.store.checkout(world.source("nothing"))
    nowhere = parse_source("https://host.invalid/owner/name", allow_local=False)
    with pytest.raises(FetchFailed, match=r"host host\.invalid cannot be found"):
        await world.store.checkout(nowhere)


@pytest.mark.requirement("SRC-6", "SRC-7")
async def test_loopback_is_refused_unless_allowed_by_name(world: World, tmp_path: Path) -> None:
    world.repository("box", ONE)
    strict = SourceStore(tmp_path / "strict")
    with pytest.raises(AddressRefused):
        await strict.checkout(world.source("box"))
    for text in ("https://127.0.0.1/a/b", "https://[::ffff:10.0.0.1]/a/b", "https://169.254.1.1/a"):
        with pytest.raises(AddressRefused, match="private, loopback"):
            await strict.checkout(parse_source(text, allow_local=False))
    assert world.server.requests == []


@pytest.mark.requirement("SRC-7")
async def test_redirects_are_followed_after_a_check_of_each(world: World) -> None:
    made = world.repository("new/name", ONE)
    redirects = world.server.behaviour.redirects
    redirects["old"] = world.server.url_of("new/name")
    redirects["older"] = "/old"
    for name in ("old", "older"):
        assert (await world.store.checkout(world.source(name))).commit == made.commits[0]

    port = world.server.host.partition(":")[2]
    redirects["trap"] = f"http://localhost:{port}/new/name"
    redirects["file"] = "file:///etc/passwd"
    redirects["round"] = world.server.url_of("round")
    asked = len(world.server.requests)
    for trap in ("trap", "file"):
        with pytest.raises((AddressRefused, FetchFailed)):
            await world.store.checkout(world.source(trap))
    with pytest.raises(FetchFailed, match="redirects more than"):
        await world.store.checkout(world.source("round"))
    assert "pack" not in world.server.requests[asked:]


@pytest.mark.requirement("SRC-14")
async def test_a_repository_that_needs_a_password_says_so_at_once(world: World) -> None:
    world.repository("secret", ONE)
    world.server.behaviour.private.add("secret")
    with pytest.raises(AuthenticationRequired, match="asks for a password"):
        await world.store.checkout(world.source("secret"))
    assert world.leftovers() == []


async def test_progress_is_told_in_words_and_numbers(world: World) -> None:
    world.repository("box", ONE)
    told: list[Progress] = []
    await world.store.checkout(world.source("box"), progress=told.append)
    steps = list(dict.fromkeys(progress.step for progress in told))
    assert steps[0] == "Asking the remote"
    assert "Receiving objects" in steps
    assert Progress("Writing files", 2, 2) in told


async def test_removing_the_last_checkout_removes_the_mirror(world: World) -> None:
    world.repository("box", ONE, TWO)
    first = await world.store.checkout(world.source("box", "v1.0"))
    second = await world.store.checkout(world.source("box"))
    assert world.store.describe().checkouts == 2

    assert await world.store.remove(first.id)
    assert world.store.find(first.id) is None
    assert world.store.describe().mirrors == 1
    assert await world.store.remove(second.id)
    assert not await world.store.remove(second.id)

    sizes = world.store.describe()
    assert (sizes.checkouts, sizes.tree_bytes, sizes.mirrors) == (0, 0, 0)
    assert world.leftovers() == []
    assert (await world.store.checkout(world.source("box"))).commit == second.commit


async def test_a_search_index_lies_beside_the_tree_and_its_failure_loses_nothing(
    world: World,
) -> None:
    world.repository("box", ONE, TWO)
    with_index = await world.store.checkout(world.source("box"))
    assert with_index.index == world.store.trees / with_index.id / "index"
    assert with_index.notes == ()

    hurried = world.new_store(index_seconds=0.001)
    without = await hurried.checkout(world.source("box", "v1.0"))

    assert without.index is None
    assert without.notes[-1].startswith("The search index could not be built: ")
    assert (without.tree / "README").read_bytes() == b"one\n"
    assert world.leftovers() == []


async def test_a_store_that_cannot_be_written_says_so(world: World) -> None:
    world.repository("box", ONE)
    shutil.rmtree(world.root / "work")
    with pytest.raises(FetchFailed, match="store of sources cannot be written"):
        await world.store.checkout(world.source("box"))


@pytest.mark.requirement("SRC-17")
async def test_an_index_of_another_version_is_made_anew_without_the_network(world: World) -> None:
    world.repository("box", ONE)
    source = world.source("box")
    old = await world.store.checkout(source)
    assert old.index is not None
    written = old.index / FORMAT_FILE
    written.chmod(0o644)
    written.write_text('{"version": 0}')
    transfers = world.server.count_transfers()

    new = await world.store.checkout(source)

    assert (new.commit, new.ref) == (old.commit, old.ref)
    assert new.id != old.id
    assert new.index is not None
    assert is_current(new.index)
    assert world.server.count_transfers() == transfers
    # Whoever reads the old one may go on until the next start.
    assert world.store.find(old.id) is not None
    await world.store.clean_up()
    assert world.store.find(old.id) is None
    assert await world.store.checkout(source) == new
