"""How a database comes to have the tables, and how we know that it has the right ones.

Migrations are Alembic's and ship in the package. Alembic is imported only to run them: the
check on every start reads the revision itself.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, inspect, text

from scheduler.errors import SchemaMismatch
from scheduler.storage.sql.tables import SCHEMA_REVISION

if TYPE_CHECKING:
    from alembic.config import Config

VERSION_TABLE = "scheduler_schema"
_MIGRATIONS = Path(__file__).parent / "migrations"
_UPGRADE_LOCK = 0x5C4ED


def current_revision(connection: Connection) -> str | None:
    """The revision of the tables in this database; None if there are none."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    query = text(f"SELECT version_num FROM {VERSION_TABLE}")  # noqa: S608 - a constant
    revision: str | None = connection.scalar(query)
    return revision


def check(connection: Connection) -> None:
    """Return if the tables are of this version, else raise SchemaMismatch with the mend."""
    current = current_revision(connection)
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


def upgrade(engine: Engine) -> None:
    """Bring the tables to this version, in one transaction; nothing if they are there.

    Of several processes that start at once, one works and the others wait. Raises
    SchemaMismatch if the tables are newer than this version.
    """
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text(f"SELECT pg_advisory_xact_lock({_UPGRADE_LOCK})"))
        current = current_revision(connection)
        if current == SCHEMA_REVISION:
            return
        if current is not None and current not in known_revisions():
            check(connection)
        from alembic import command

        config = _config()
        config.attributes["connection"] = connection
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
