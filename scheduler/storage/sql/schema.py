"""How a database comes to have the tables, and how we know that it has the right ones.

A database without tables gets them whole, from tables.py; one of an earlier version is brought up
by migrations, which are Alembic's and ship in the package. Alembic is imported only to run them:
the check on every start reads the revision itself.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, insert, inspect, select, text
from sqlalchemy.schema import CreateSchema

from scheduler.errors import SchemaMismatch
from scheduler.storage.sql.dialects import Database
from scheduler.storage.sql.tables import SCHEMA_REVISION, Tables

if TYPE_CHECKING:
    from alembic.config import Config

_MIGRATIONS = Path(__file__).parent / "migrations"


def current_revision(connection: Connection, tables: Tables) -> str | None:
    """The revision of the tables in this database; None if there are none."""
    if not inspect(connection).has_table(tables.version.name, schema=tables.schema):
        return None
    revision: str | None = connection.scalar(select(tables.version.c.version_num))
    return revision


def check(connection: Connection, tables: Tables) -> None:
    """Return if the tables are of this version, else raise SchemaMismatch with the mend."""
    current = current_revision(connection, tables)
    if current == SCHEMA_REVISION:
        return
    if current is None:
        raise SchemaMismatch("database: it has no tables yet; run: scheduler db upgrade")
    if current not in known_revisions():
        raise SchemaMismatch(
            f"database: its schema {current} is newer than this version's {SCHEMA_REVISION}; "
            "install the newer scheduler-service, or use another database"
        )
    raise SchemaMismatch(
        f"database: its schema {current} is older than this version's {SCHEMA_REVISION}; "
        "run: scheduler db upgrade"
    )


def upgrade(engine: Engine, database: Database, tables: Tables) -> None:
    """Bring the tables to this version; nothing if they are there.

    In one transaction, where the database can undo such changes (MySQL cannot: what is half made
    is gone on with). Of several processes that start at once, one works and the others wait.
    Raises SchemaMismatch if the tables are newer than this version.
    """
    with ExitStack() as stack:
        if not database.embedded:
            # On a connection of its own, so that it is held until the transaction has ended.
            guard = stack.enter_context(engine.connect())
            guard.detach()
            database.lock_upgrade(guard)
        connection = stack.enter_context(engine.begin())
        current = current_revision(connection, tables)
        if current is None:
            _create(connection, tables)
        elif current != SCHEMA_REVISION:
            _migrate(connection, tables, current)


def _create(connection: Connection, tables: Tables) -> None:
    if tables.schema is not None and not inspect(connection).has_schema(tables.schema):
        connection.execute(CreateSchema(tables.schema))
    tables.metadata.create_all(connection)
    for table in tables.metadata.tables.values():
        for index in table.indexes:  # of a table that was there, half made
            index.create(connection, checkfirst=True)
    connection.execute(insert(tables.version).values(version_num=SCHEMA_REVISION))


def _migrate(connection: Connection, tables: Tables, current: str) -> None:
    if current not in known_revisions():
        check(connection, tables)
    from alembic import command

    config = _config()
    config.attributes["connection"] = connection
    config.attributes["tables"] = tables
    if tables.schema is not None:
        # The first migrations name no schema: tables of then were in one by the search path.
        path = {"path": connection.dialect.identifier_preparer.quote(tables.schema)}
        connection.execute(text("SELECT set_config('search_path', :path, true)"), path)
    command.upgrade(config, "head")


def known_revisions() -> list[str]:
    """Every revision this version knows, newest first."""
    from alembic.script import ScriptDirectory

    return [script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()]


def _config() -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config
