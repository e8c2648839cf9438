"""The engine without a model claims only what the quoted lines say."""

from typing import Any

import anyio
import pytest

from firsthand.agent.models.extractive import Extractive
from firsthand.agent.models.port import ModelTurn, TextPart, ToolResult, UserMessage

pytestmark = pytest.mark.requirement("AGT-12")


async def compose(symbol: str, source: str, *, kind: str = "class", failed: bool = False) -> str:
    """Answer from one passage of this source, found for this symbol."""
    lines = source.splitlines()
    where = {"resource": "demo", "path": "a.py", "start": 1}
    passage: dict[str, Any] = {**where, "end": len(lines), "symbol": symbol, "kind": kind}
    searched = ToolResult("search-0", "search", "", data={"passages": [passage]})
    read = ToolResult("read_file-0", "read_file", "It is gone.", data={**where, "lines": lines})
    if failed:
        read = ToolResult("read_file-0", "read_file", "It is gone.", failed=True)
    turn = ModelTurn("", (UserMessage(f"What is {symbol}?"), searched, read), (), 1_000)
    with anyio.fail_after(10):
        parts = [part async for part in Extractive().answer(turn)]
    return "".join(part.text for part in parts if isinstance(part, TextPart))


async def test_a_definition_is_named_with_its_own_documentation() -> None:
    source = 'class Foo(\n    Base,\n):  # why\n\n    """Its own. More."""\n'
    answer = await compose("Foo", source)
    assert "`Foo`, class, in [demo/a.py:1-5]" in answer
    assert "> Its own." in answer


@pytest.mark.parametrize(
    "source",
    [
        'class Foo:\n    def a(self):\n        """Of another."""\n        return 1\n',
        "class Foo {\n  /** Of another. */\n  bar() {}\n}\n",
    ],
)
async def test_the_documentation_of_another_is_not_given_as_its_own(source: str) -> None:
    answer = await compose("Foo", source)
    assert "`Foo`, class, in" in answer
    assert "> Of another." not in answer


@pytest.mark.parametrize(
    "line", ["return get(x)", "await get(x);", "get(x)", "if get == 1:", "not get(x)"]
)
async def test_a_use_is_not_called_the_definition(line: str) -> None:
    answer = await compose("C.get", f"        x = 1\n        {line}\n", kind="method")
    assert "`C.get`, method" not in answer
    assert "In [demo/a.py:1-2]" in answer


@pytest.mark.parametrize(
    "line",
    [
        "def get(self):",
        "int get(int x)",
        "  get(x) {",
        "pub fn get<T>(x: T)",
        "get = other",
        "get: 1",
    ],
)
async def test_a_definition_is_called_so_in_every_language(line: str) -> None:
    assert "`C.get`, method, in [demo/a.py:2]" in await compose("C.get", f"\n{line}", kind="method")


async def test_what_could_not_be_read_is_not_said_to_be_absent() -> None:
    answer = await compose("Foo", "class Foo: ...", failed=True)
    assert "It is gone." in answer
    assert "Nothing in these sources fits" not in answer
