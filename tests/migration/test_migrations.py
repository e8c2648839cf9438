"""Migrations: they end at the schema that the code means, and refuse files that are not ours."""

import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import anyio
import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from firsthand.hub.db import migrate
from firsthand.hub.db.engine import Database
from firsthand.hub.db.schema import metadata
from firsthand.hub.errors import SettingsError
from tests.world import database_url


def _file(folder: Path) -> Path:
    return folder / "firsthand.sqlite"


def _make(folder: Path) -> None:
    anyio.run(Database.open(database_url(folder)).close)


def _execute(file: Path, statement: str) -> None:
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute(statement)


async def test_the_migrated_schema_is_the_one_that_the_code_means(tmp_path: Path) -> None:
    database = Database.open(database_url(tmp_path))

    def differences(conn: Connection) -> list[object]:
        context = MigrationContext.configure(
            conn, opts={"compare_type": True, "compare_server_default": True}
        )
        return list(compare_metadata(context, metadata))

    assert await database.read(differences) == []
    await database.close()


def test_foreign_keys_of_migrations_and_metadata_have_the_same_rules(tmp_path: Path) -> None:
    from sqlalchemy import create_engine

    _make(tmp_path)
    engine = create_engine(f"sqlite:///{tmp_path / 'from_metadata.sqlite'}")
    metadata.create_all(engine)
    engine.dispose()

    def rules(file: Path) -> dict[str, list[tuple[object, ...]]]:
        with closing(sqlite3.connect(file)) as connection:
            return {
                table: sorted(
                    row[2:] for row in connection.execute(f"PRAGMA foreign_key_list({table})")
                )
                for table in metadata.tables
            }

    assert rules(_file(tmp_path)) == rules(tmp_path / "from_metadata.sqlite")


def test_the_newest_revision_is_the_one_that_open_looks_for() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(migrate.__file__).parent / "migrations"))
    assert ScriptDirectory.from_config(config).get_heads() == [migrate.HEAD]


@pytest.mark.requirement("HUB-12")
async def test_a_second_start_keeps_all_data(tmp_path: Path) -> None:
    insert = text("INSERT INTO users (id, name, role, created_at) VALUES ('u', 'n', 'owner', 'x')")
    database = Database.open(database_url(tmp_path))
    await database.write(lambda conn: conn.execute(insert))
    await database.close()
    again = Database.open(database_url(tmp_path))
    assert await again.read(lambda c: c.execute(text("SELECT id FROM users")).scalar()) == "u"
    await again.close()


def test_a_second_start_does_not_load_the_migrations(tmp_path: Path) -> None:
    _make(tmp_path)
    program = (
        "import sys, anyio; from firsthand.hub.db.engine import Database;"
        "anyio.run(Database.open(sys.argv[1]).close); sys.exit('alembic' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, database_url(tmp_path)], check=False, timeout=60
    )
    assert done.returncode == 0


def test_two_first_starts_at_once_make_one_database(tmp_path: Path) -> None:
    program = (
        "import sys, anyio; from firsthand.hub.db.engine import Database;"
        "anyio.run(Database.open(sys.argv[1]).close)"
    )

    def start(_: int) -> int:
        return subprocess.run(
            [sys.executable, "-c", program, database_url(tmp_path)], check=False, timeout=100
        ).returncode

    with ThreadPoolExecutor(3) as starters:
        assert list(starters.map(start, range(3))) == [0, 0, 0]


@pytest.mark.requirement("HUB-13")
def test_a_database_of_a_newer_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    _make(tmp_path)
    _execute(_file(tmp_path), "UPDATE alembic_version SET version_num = '9999'")
    before = _file(tmp_path).read_bytes()
    with pytest.raises(SettingsError, match="newer version of Firsthand") as caught:
        _make(tmp_path)
    assert "\n" not in caught.value.detail
    assert caught.value.hint is not None
    assert _file(tmp_path).read_bytes() == before


def test_a_database_of_another_program_is_refused(tmp_path: Path) -> None:
    _execute(_file(tmp_path), "CREATE TABLE recipes (id INTEGER)")
    with pytest.raises(SettingsError, match="another program"):
        _make(tmp_path)


@pytest.mark.parametrize(
    "content", [b"this is no database at all" * 100, b"SQLite format 3\0" * 99]
)
def test_a_damaged_file_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    _file(tmp_path).write_bytes(content)
    with pytest.raises(SettingsError, match="cannot be used") as caught:
        _make(tmp_path)
    assert str(_file(tmp_path)) in caught.value.detail
    assert "\n" not in caught.value.detail
    assert _file(tmp_path).read_bytes() == content


def test_a_file_cut_short_is_refused(tmp_path: Path) -> None:
    _make(tmp_path)
    whole = _file(tmp_path).read_bytes()
    _file(tmp_path).write_bytes(whole[: len(whole) // 3])
    with pytest.raises(SettingsError):
        _make(tmp_path)


def test_an_empty_file_is_a_new_database(tmp_path: Path) -> None:
    _file(tmp_path).touch()
    _make(tmp_path)
