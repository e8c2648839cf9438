"""Brings a database file to the schema of this version, or says in one line why it cannot.

Alembic is imported only if there is work to do: it costs more than everything else at start.
"""

from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, text
from sqlalchemy.exc import DatabaseError

from firsthand.hub.errors import SettingsError

# The newest revision in `migrations/versions`; a test keeps the two equal.
HEAD = "0001"


def migrate(engine: Engine, path: Path) -> None:
    """Bring the database at `path` to `HEAD`, in one transaction.

    Raises `SettingsError` if the file is not ours, is damaged, or is of a newer version.
    """
    try:
        # The transaction takes the lock on writing, so that two processes do not both migrate.
        with engine.begin() as connection:
            revision = _stored_revision(connection, path)
            if revision != HEAD:
                _upgrade(connection, path, revision)
    except DatabaseError as error:
        raise SettingsError(
            f"The database {path} cannot be used: {error.orig}.",
            hint="Put back a copy of the file, or set FIRSTHAND_DATA_DIR to another folder.",
        ) from error


def _stored_revision(connection: Connection, path: Path) -> str | None:
    tables = inspect(connection).get_table_names()
    if not tables:
        return None
    if "alembic_version" not in tables:
        raise SettingsError(
            f"The file {path} is a database of another program.",
            hint="Set FIRSTHAND_DATA_DIR or DATABASE_URL to a place of Firsthand's own.",
        )
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _upgrade(connection: Connection, path: Path, revision: str | None) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if revision is not None and revision not in known:
        raise SettingsError(
            f"The database {path} was made by a newer version of Firsthand.",
            hint="Start the newer version, or set FIRSTHAND_DATA_DIR to another folder.",
        )
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    broken = connection.execute(text("PRAGMA foreign_key_check")).first()
    if broken is not None:
        raise SettingsError(
            f"The database {path} is damaged: a row of {broken[0]} points nowhere.",
            hint="Put back a copy of the file.",
        )
