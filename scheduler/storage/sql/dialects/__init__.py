"""From a URL to a Database. Each kind is in a file of its own, imported when it is asked for."""

from __future__ import annotations

import importlib
import re
from dataclasses import fields

from sqlalchemy import URL, Engine, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from scheduler.errors import InvalidOption
from scheduler.storage.sql.dialects.base import Database, Options, switch

__all__ = ["Database", "Options", "connect", "database_of", "shown"]

# What the scheme of a URL may be: the module and class, the driver, the extra that brings it.
_KINDS = {
    "sqlite": ("sqlite.SQLite", "sqlite", ""),
    "postgresql": ("postgresql.PostgreSQL", "postgresql+psycopg", "postgres"),
    "postgres": ("postgresql.PostgreSQL", "postgresql+psycopg", "postgres"),
    "mysql": ("mysql.MySQL", "mysql+pymysql", "mysql"),
    "mariadb": ("mysql.MySQL", "mysql+pymysql", "mysql"),
    "mssql": ("sqlserver.SQLServer", "mssql+pytds", "mssql"),
}
SCHEMES = tuple(_KINDS)

_OPTIONS = tuple(field.name for field in fields(Options))
_LONGEST = 40
"""Characters of a schema and a prefix each: PostgreSQL gives a name, prefix included, 63."""
_IDENTIFIER = re.compile(rf"[A-Za-z_][A-Za-z0-9_$]{{0,{_LONGEST - 1}}}")


def database_of(text: str) -> Database:
    """The database at the URL `text`; nothing is connected yet.

    The driver is ours unless the URL names one. Raises InvalidOption if it cannot be read.
    """
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        # Not the text itself: what looks like half a URL may hold a password.
        raise InvalidOption(
            "database", "the URL", "cannot be read", "write sqlite:///jobs.db or postgresql://…"
        ) from None
    scheme, _, driver = url.drivername.partition("+")
    if scheme not in _KINDS:
        raise InvalidOption(
            "database",
            url.drivername,
            "is not a kind of database",
            f"use one of {', '.join(f'{each}://' for each in SCHEMES)}",
        )
    home, drivername, _ = _KINDS[scheme]
    given = f"{drivername.partition('+')[0]}+{driver}" if driver else drivername
    options = _options(url)
    module, _, kind = home.partition(".")
    database: type[Database] = getattr(
        importlib.import_module(f"scheduler.storage.sql.dialects.{module}"), kind
    )
    return database(url.set(drivername=given).difference_update_query(_OPTIONS), options)


def connect(database: Database) -> Engine:
    """An engine for `database`; nothing is connected yet.

    Raises InvalidOption if the driver is unknown or not installed.
    """
    drivername = database.url.drivername
    try:
        return database.connect()
    except ModuleNotFoundError as error:
        _, _, extra = _KINDS[drivername.partition("+")[0]]
        raise InvalidOption(
            "database",
            drivername,
            f"needs the driver {error.name}, which is not installed",
            f"pip install 'scheduler-service[{extra}]'" if extra else "install it",
        ) from None
    except NoSuchModuleError:
        raise InvalidOption(
            "database", drivername, "is not a known driver", "leave the part after + out"
        ) from None


def shown(url: URL) -> str:
    """`url` with its password hidden, and its query's too; as it is if it has none."""
    hidden = {key: "***" for key in url.query if "pass" in key.lower()}
    return url.update_query_dict(hidden).render_as_string(hide_password=True)


def _options(url: URL) -> Options:
    schema = _identifier(url, "schema")
    if schema is not None and url.drivername.startswith("sqlite"):
        raise InvalidOption("database: schema", schema, "is not for SQLite", "use table_prefix")
    return Options(
        schema=schema,
        table_prefix=_identifier(url, "table_prefix") or "",
        notify=switch("notify", url.query.get("notify", "on")),
        pooler=switch("pooler", url.query.get("pooler", "off")),
    )


def _identifier(url: URL, name: str) -> str | None:
    value = url.query.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or not _IDENTIFIER.fullmatch(value):
        allowed = f"is not a letter or _, then letters, digits, _ and $, at most {_LONGEST}"
        raise InvalidOption(f"database: {name}", value, allowed)
    return value
