"""What each tool finds, how it bounds itself, and what it says it left out."""

import asyncio
import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import pytest

from firsthand.agent.errors import ToolError
from firsthand.agent.tools import ripgrep
from firsthand.agent.tools.tool import ToolLimits
from firsthand.agent.tools.toolset import TOOLS, Toolset, parse_arguments
from firsthand.sources.index.build import build_index
from tests.unit.agent.conftest import checkout, toolset

pytestmark = pytest.mark.requirement("AGT-5")


async def call(tools: Toolset, name: str, **given: Any) -> str:
    with anyio.fail_after(30):
        return (await tools.call(name, given)).text


async def refused(tools: Toolset, name: str, **given: Any) -> str:
    with anyio.fail_after(30), pytest.raises(ToolError) as caught:
        await tools.call(name, given)
    return caught.value.message


async def test_read_file_numbers_its_lines(tools: Toolset) -> None:
    text = await call(tools, "read_file", path="demo/src/client.py", start_line=9, end_line=10)
    assert "demo/src/client.py lines 9-10 of 13" in text
    assert "9:     def follow_redirects(self, response):" in text
    assert tools.context.log.covers("demo", "src/client.py", 9, 10)
    assert not tools.context.log.covers("demo", "src/client.py", 9, 11)


async def test_read_file_without_the_name_of_the_only_checkout(tools: Toolset) -> None:
    assert "lines 1-13 of 13" in await call(tools, "read_file", path="src/client.py")


async def test_read_file_says_where_it_stopped(tree: Path) -> None:
    (tree / "long.txt").write_text("".join(f"line {n}\n" for n in range(1, 2_001)))
    tools = toolset(checkout(tree))
    text = await call(tools, "read_file", path="demo/long.txt", end_line=2_000)
    assert "lines 1-1000 of 2000" in text
    assert "stopped at line 1000; read on with start_line 1001" in text
    short = toolset(checkout(tree), limits=ToolLimits(output_chars=400))
    text = await call(short, "read_file", path="demo/long.txt")
    assert len(text) < 600
    assert "read on with start_line" in text


async def test_read_file_of_odd_files(tools: Toolset) -> None:
    assert "shown as \ufffd" in await call(tools, "read_file", path="demo/src/deep/latin.py")
    assert "more characters" in await call(tools, "read_file", path="demo/src/wide.txt")
    assert "2: zwei" in await call(tools, "read_file", path="demo/src/wide16.txt")
    assert "is empty" in await call(tools, "read_file", path="demo/src/empty.py")
    assert "binary" in await refused(tools, "read_file", path="demo/src/image.png")
    assert "folder" in await refused(tools, "read_file", path="demo/src")
    assert "no ordinary file" in await refused(tools, "read_file", path="demo/pipe")
    assert "13 lines only" in await refused(
        tools, "read_file", path="demo/src/client.py", start_line=40
    )


async def test_read_file_of_a_huge_file_reads_only_what_it_needs(tree: Path) -> None:
    with (tree / "huge.txt").open("wb") as file:
        file.write(b"first\n" * 2_000)
        file.truncate(210 * 1024 * 1024)
    (tree / "one_line.txt").write_bytes(b"x" * 30_000_000)
    tools = toolset(checkout(tree))
    text = await call(tools, "read_file", path="demo/huge.txt", start_line=1, end_line=1)
    assert "1: first" in text
    assert "more characters" in await call(tools, "read_file", path="demo/one_line.txt")


@pytest.mark.requirement("AGT-7")
@pytest.mark.parametrize("path", ["demo/up.txt", "demo/folder/secret.txt", "demo/../outside"])
async def test_no_tool_leaves_the_checkout(tools: Toolset, path: str) -> None:
    assert "leads out" in await refused(tools, "read_file", path=path)
    assert "leads out" in await refused(tools, "list_files", path=path)
    assert "leads out" in await refused(tools, "grep", pattern="secret", path=path)
    assert "leads out" in await refused(tools, "glob", pattern="*", path=path)
    assert "leads out" in await refused(tools, "search", query="secret", path=path)


@pytest.mark.requirement("AGT-7")
async def test_nothing_outside_is_found_through_links(tools: Toolset) -> None:
    assert await call(tools, "grep", pattern="the secret") == "No match."
    assert "secret.txt" not in await call(tools, "glob", pattern="*secret*")


async def test_grep_finds_every_tracked_file_in_order(tools: Toolset) -> None:
    text = await call(tools, "grep", pattern="redirects")
    places = [line.split(": ")[0] for line in text.splitlines() if not line.startswith("[")]
    assert places == sorted(places, key=lambda place: place.split(":")[0])
    assert "demo/README.md:3: Follows redirects." in text
    assert "demo/src/ignored.py:1:" in text
    assert ".git/config" not in text
    assert "image.png" not in text
    assert tools.context.log.covers("demo", "README.md", 3, 3)


async def test_grep_options(tools: Toolset) -> None:
    assert "No match." in await call(tools, "grep", pattern="FOLLOWS")
    assert "README.md:3" in await call(tools, "grep", pattern="FOLLOWS", ignore_case=True)
    assert "client.py:11:" in await call(tools, "grep", pattern="range(self.", literal=True)
    only = await call(tools, "grep", pattern="redirects", glob="*.md")
    assert "README" in only
    assert "client" not in only
    around = await call(tools, "grep", pattern="max_redirects = 20", context=2)
    assert "client.py-5-" in around
    assert "client.py:7:" in around
    narrow = await call(tools, "grep", pattern="redirects", path="demo/src/deep")
    assert "latin.py:1" in narrow
    assert "README" not in narrow
    bounded = await call(tools, "grep", pattern="redirects", limit=3)
    assert "[3 of 9 matching lines shown; narrow the pattern" in bounded


async def test_grep_says_what_is_wrong_with_a_pattern(tools: Toolset) -> None:
    assert "unclosed group" in await refused(tools, "grep", pattern="(redirects")
    assert "`pattern` is required" in await refused(tools, "grep")
    assert "There is no argument `regex`" in await refused(tools, "grep", pattern="x", regex="y")


async def test_a_pattern_is_never_taken_for_an_option(tools: Toolset) -> None:
    assert await call(tools, "grep", pattern="--files", literal=True) == "No match."
    assert "no such file" in await refused(tools, "grep", pattern="x", path="demo/--files")


async def test_glob(tools: Toolset) -> None:
    assert await call(tools, "glob", pattern="*.md") == "demo/README.md"
    found = (await call(tools, "glob", pattern="src/**/*.py")).splitlines()
    assert found == [
        "demo/src/client.py",
        "demo/src/deep/latin.py",
        "demo/src/empty.py",
        "demo/src/ignored.py",
    ]
    assert await call(tools, "glob", pattern="demo/*.md") == "demo/README.md"
    assert "1 of 4 files shown" in await call(tools, "glob", pattern="*.py", limit=1)
    assert await call(tools, "glob", pattern="*.rs") == "No file matches."


async def test_list_files(tools: Toolset) -> None:
    text = await call(tools, "list_files", path="demo")
    assert "demo/src/" in text.splitlines()
    assert "demo/up.txt -> ../outside/secret.txt" in text
    assert "demo/README.md  27 bytes" in text
    assert "client.py  " not in text
    assert "demo/src/client.py  " in await call(tools, "list_files", path="demo", depth=2)
    assert "is a file" in await refused(tools, "list_files", path="demo/README.md")


async def test_list_files_says_how_much_it_left_out(tree: Path) -> None:
    many = tree / "many"
    many.mkdir()
    for number in range(600):
        (many / f"{number:03d}.txt").touch()
    text = await call(toolset(checkout(tree)), "list_files", path="demo/many")
    assert "101 more entries" in text


async def test_search_over_an_index(tree: Path, tmp_path: Path) -> None:
    index = tmp_path / "index"
    index.mkdir()
    build_index(tree, index)
    tools = toolset(checkout(tree, index_path=str(index)))
    text = await call(tools, "search", query="How does `follow_redirects` work?")
    assert "definition: demo/src/client.py:9-13 " in text
    assert "follow_redirects" in text
    output = await tools.call("search", {"query": "follow redirects of a response"})
    assert output.data["passages"][0]["path"] == "src/client.py"


async def test_search_without_an_index_says_so(tools: Toolset) -> None:
    text = await call(tools, "search", query="Where are the redirects followed?")
    assert "demo/src/client.py" in text
    assert "demo has no search index" in text
    assert "Nothing was found" in await call(tools, "search", query="zebra crossing")


async def test_several_checkouts_and_search_paths(tree: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    (other / "lib").mkdir(parents=True)
    (other / "lib" / "a.py").write_text("redirects = 1\n")
    (other / "b.py").write_text("redirects = 2\n")
    tools = toolset(checkout(tree), checkout(other, "@scope/other", search_paths=("lib",)))
    text = await call(tools, "grep", pattern="redirects = ")
    assert "@scope/other/lib/a.py:1" in text
    assert "b.py" not in text
    assert "b.py:1" in await call(tools, "grep", pattern="redirects = ", path="@scope/other/b.py")
    assert "start with one of these names" in await refused(tools, "read_file", path="b.py")


async def test_a_checkout_with_little_to_say_comes_after(tree: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "LICENSE").write_text("Provided that the following conditions are met.\n")
    (other / "README.md").write_text("The following is a number.\n")
    tools = toolset(checkout(other, "number"), checkout(tree))
    asked = {"query": "Which response is a redirect following?"}
    found = (await tools.call("search", asked)).data["passages"]
    names = [passage["resource"] for passage in found]
    assert names == sorted(names), "all of demo before all of number"
    assert set(names) == {"demo", "number"}
    # Where both know as much, neither comes first for good.
    both = (await tools.call("search", {"query": "follow"})).data["passages"]
    assert {passage["resource"] for passage in both[:2]} == {"demo", "number"}


async def test_unknown_tools_and_arguments(tools: Toolset) -> None:
    assert "There is no tool 'bash'" in await refused(tools, "bash", command="id")
    assert set(TOOLS) == {"search", "grep", "read_file", "glob", "list_files"}
    assert parse_arguments("") == {}
    with pytest.raises(ToolError, match="no JSON object"):
        parse_arguments('["a"]')


async def test_a_checkout_that_went_away_is_an_error_of_the_tool(tmp_path: Path) -> None:
    tools = toolset(checkout(tmp_path / "gone"))
    assert "is not there" in await refused(tools, "read_file", path="demo/a.py")
    assert "is not there" in await refused(tools, "grep", pattern="x")


@pytest.mark.parametrize("given", ["--5", "²", "9" * 5_000, "\0", "a\0b", "[", "../.."])
async def test_no_argument_is_more_than_a_refusal(tools: Toolset, given: str) -> None:
    for name, tool in TOOLS.items():
        right = dict.fromkeys(tool.description.parameters["required"], "demo/src/client.py")
        for argument in tool.description.parameters["properties"]:
            with anyio.fail_after(30), suppress(ToolError):
                await tools.call(name, right | {argument: given})


@pytest.mark.parametrize(
    "given", ['{"a":' + "[" * 5_000 + "]" * 5_000 + "}", '{"a": "' + "x" * 20_000 + '"}']
)
def test_arguments_that_no_tool_has_are_refused(given: str) -> None:
    with pytest.raises(ToolError):
        parse_arguments(given)


async def test_a_search_that_breaks_off_is_not_a_search_without_a_match(tree: Path) -> None:
    def kill_the_reader() -> None:
        # Opening waits until ripgrep reads at the other end.
        with (tree / "pipe").open("wb"):
            children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
            for child in children:
                if Path(f"/proc/{child}/comm").read_text().strip() == "rg":
                    os.kill(int(child), signal.SIGKILL)

    killing = asyncio.create_task(asyncio.to_thread(kill_the_reader))
    with anyio.fail_after(30), pytest.raises(ToolError, match="could not search"):
        await ripgrep.run(["--regexp=x", "./pipe"], tree, seconds=20, max_bytes=1_000)
    await killing
