"""Each rule of the house finds what it is for, and leaves what is allowed alone."""

from collections.abc import Callable, Iterator

import pytest

from script.rules import (
    addresses,
    exceptions,
    names,
    ownership,
    size,
    tests,
    transactions,
)
from script.rules.file import File, Problem

pytestmark = pytest.mark.requirement("HOUSE-5")
Check = Callable[[File], Iterator[Problem]]


def found(check: Check, text: str, path: str = "src/firsthand/hub/threads/ask.py") -> list[int]:
    return sorted(problem.line for problem in check(File(path, text)))


def test_a_coroutine_is_no_transaction() -> None:
    text = """
async def step(conn: Connection) -> None: ...
async def use(db):
    await db.write(step)
    await self._db.read(fetch)
def fetch(conn: Connection) -> None: ...
async def write(self, fn: Callable[[Connection], T]) -> T: ...
class Journal:
    async def page(self):
        def page(conn: Connection) -> None: ...
        await self._db.read(page)
        await self._db.read(self.page)
"""
    assert found(transactions.check, text) == [2, 4, 12]


def test_effects_wait_until_the_commit() -> None:
    text = """
def step(conn: Connection) -> None:
    feeds.publish([topic])
async def use(db):
    await db.write(lambda conn: time.sleep(1))
    feeds.publish([topic])
"""
    assert found(transactions.check, text) == [3, 5]


STORE = "src/firsthand/hub/threads/store.py"


def test_a_query_of_an_owned_table_says_whose() -> None:
    text = """
def list_threads(conn: Connection):
    return conn.execute(select(threads))
def get_thread(conn: Connection, principal: Principal, thread_id: ThreadId):
    return conn.execute(select(threads))
def get_run(conn: Connection, run_id: RunId):
    return conn.execute(select(schema.runs))
def version(conn: Connection):
    return conn.execute(text("select 1"))
def _row(conn: Connection):
    return conn.execute(select(threads))
"""
    assert found(ownership.check, text, STORE) == [2]


def test_a_query_over_all_owners_is_listed_with_its_reason() -> None:
    text = "def list_all(conn: Connection):\n    return conn.execute(select(instances))\n"
    assert found(ownership.check, text, "src/firsthand/hub/instances/store.py") == []
    assert found(ownership.check, text, STORE) == [1]
    assert all(ownership.EVERY_OWNER.values())


def test_a_store_takes_typed_ids() -> None:
    text = "def get_run(conn: Connection, principal: Principal, run_id: str): ...\n"
    assert found(ownership.check, text, STORE) == [1]


def test_modules_and_functions_are_bounded() -> None:
    text = "def long():\n" + "    x = 1\n" * size.FUNCTION_LINES
    assert found(size.check, text) == [1]
    assert found(size.check, "x = 1\n" * size.MODULE_LINES) == []
    assert found(size.check, "x = 1\n" * (size.MODULE_LINES + 1)) == [1]


@pytest.mark.parametrize(
    "path", ["src/firsthand/hub/utils.py", "src/firsthand/common/a.py", "tests/path_helpers.py"]
)
def test_empty_names_are_refused(path: str) -> None:
    assert found(names.check, "", path) == [1]


def test_empty_class_names_are_refused() -> None:
    assert found(names.check, "class RunManager: ...\nclass Run: ...\n") == [1]


def test_only_listed_outermost_loops_catch_everything() -> None:
    handler = "try:\n    x()\nexcept Exception as e:{}\n    log(e)\n"
    reason = "  # noqa: BLE001 - the outermost loop; it records the error"
    listed = min(exceptions.OUTERMOST)
    assert found(exceptions.check, handler.format(reason)) == [3]
    assert found(exceptions.check, handler.format(""), listed) == [3]
    assert found(exceptions.check, handler.format(reason), listed) == []


def test_what_is_raised_again_is_not_swallowed() -> None:
    assert found(exceptions.check, "try:\n    x()\nexcept BaseException:\n    raise\n") == []


@pytest.mark.parametrize("line", ["https://" + "pypi" + ".org/simple", "/work" + "/main/.venv"])
def test_addresses_of_registries_and_machines_are_refused(line: str) -> None:
    assert found(addresses.check, f"fine\n{line}\n", "docs/guide.md") == [2]


def test_an_ordinary_path_is_no_address() -> None:
    assert found(addresses.check, "https://example.com/root/x\n/usr/bin/env\n", "a.md") == []


def test_tests_neither_sleep_nor_mock_nor_skip() -> None:
    text = """
from unittest.mock import MagicMock
import time
@pytest.mark.skip
def test_a(monkeypatch):
    time.sleep(1)
    monkeypatch.setattr(a, "b", 1)
    monkeypatch.setenv("A", "1")
"""
    assert found(tests.check, text, "tests/unit/test_a.py") == [2, 4, 6, 7]
    assert found(tests.check, text) == []
