"""What a URL may say: special characters, a schema, a prefix of the tables, and what it may not."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

import pytest
from sqlalchemy import NullPool, create_engine, inspect, make_url, text

from scheduler.errors import InvalidOption, SchemaMismatch
from scheduler.expansion import expand
from scheduler.storage import open_storage
from scheduler.storage.sql import SQLStorage
from scheduler.testing.values import HOURLY, NOON, a_job, a_schedule

HOSTILE = "a@b:c/d?e#f%g [h]&\"i'ü"


def with_options(url: str, options: str) -> str:
    return f"{url}{'&' if '?' in url else '?'}{options}"


@pytest.fixture
def hostile_user(mariadb_database: str) -> Iterator[str]:
    """The URL of a database for a user whose name and password are hard to write."""
    url = make_url(mariadb_database)
    engine = create_engine(url, poolclass=NullPool)
    with engine.begin() as connection:
        user = {"user": HOSTILE[:20], "password": HOSTILE}
        connection.execute(text("CREATE USER :user@'127.0.0.1' IDENTIFIED BY :password"), user)
        connection.execute(text(f"GRANT ALL ON {url.database}.* TO :user@'127.0.0.1'"), user)
    at = f"{quote(HOSTILE[:20], safe='')}:{quote(HOSTILE, safe='')}@{url.host}:{url.port}"
    yield f"mariadb://{at}/{url.database}"
    with engine.begin() as connection:
        connection.execute(text("DROP USER :user@'127.0.0.1'"), user)


def test_a_user_and_a_password_may_hold_any_character(hostile_user: str) -> None:
    """Encoded as URLs do; and the password is never shown."""
    with SQLStorage(hostile_user) as storage:
        storage.upgrade()
        storage.save_job(a_job())
        assert len(storage.list_jobs()) == 1
        assert ":***@" in storage.url
        assert quote(HOSTILE, safe="") not in storage.url
        assert HOSTILE not in storage.url


def test_a_wrong_password_is_not_repeated(hostile_user: str) -> None:
    """The server refuses; the error names the user and not the password."""
    with pytest.raises(Exception, match="Access denied") as caught:
        open_storage(hostile_user.replace("mariadb://", "mysql://").replace("%22i%27", "hunter2"))
    assert "hunter2" not in str(caught.value)


def test_a_database_may_have_any_name(postgres_url: str) -> None:
    """Quotes, blanks, percent signs and letters of any language."""
    name = 'jobs "of" ünïcödé 100%/?#'
    maintenance = create_engine(postgres_url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    quoted = maintenance.dialect.identifier_preparer.quote_identifier(name)
    with maintenance.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {quoted} TEMPLATE template0")
        url = make_url(postgres_url)
        try:
            at = f"postgresql://{url.username}@{url.host}:{url.port}/{quote(name, safe='')}"
            with SQLStorage(at) as storage:
                storage.upgrade()
                storage.save_job(a_job())
                assert len(storage.list_jobs()) == 1
        finally:
            connection.exec_driver_sql(f"DROP DATABASE {quoted} WITH (FORCE)")


def use(storage: SQLStorage, name: str) -> None:
    """Every table, and every kind of statement."""
    schedule = a_schedule(name, rule=dict(HOURLY))
    storage.save_schedule(schedule)
    assert storage.record_expansions([expand(schedule, NOON)]) == [True]
    storage.save_job(a_job(name=name))
    taken = storage.acquire_next_jobs(9, now=NOON)
    tokens = {job.id: job.lease.token for job in taken if job.lease}
    assert storage.renew_leases(tokens, expires_at=NOON) == set(tokens)
    storage.complete_job(taken[0].id)
    assert [each.name for each in storage.list_schedules()] == [name]
    assert {job.name for job in storage.list_jobs()} == {name, "work"}
    storage.check()
    storage.upgrade()


@pytest.mark.parametrize("options", ["table_prefix=first_", "table_prefix=Second_"])
def test_prefixed_tables_stand_beside_others(database_url: str, options: str) -> None:
    """Several schedulers share a database, and see nothing of each other."""
    with (
        SQLStorage(with_options(database_url, options)) as mine,
        SQLStorage(database_url) as other,
    ):
        mine.upgrade()
        with pytest.raises(SchemaMismatch, match="no tables yet"):
            other.check()
        other.upgrade()
        use(mine, "mine")
        use(other, "other")
        mine.clear()
        assert mine.list_jobs() == []
        assert len(other.list_jobs()) == 2
        mine.check()


def test_a_schema_holds_the_tables(postgres_database: str) -> None:
    """It is made if it is not there; nothing is put beside it."""
    with SQLStorage(with_options(postgres_database, "schema=Batch&table_prefix=x_")) as storage:
        storage.upgrade()
        use(storage, "mine")
    engine = create_engine(postgres_database, poolclass=NullPool)
    assert inspect(engine).get_table_names() == []
    assert "x_jobs" in inspect(engine).get_table_names(schema="Batch")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("table_prefix=1st", "table_prefix: 1st is not"),
        ("table_prefix=a%3Bdrop%20table", "table_prefix: a;drop table is not"),
        ("table_prefix=a&table_prefix=b", "table_prefix"),
        (f"table_prefix={'a' * 41}", "at most 40"),
        ("schema=a.b", "schema: a.b is not"),
        ("notify=maybe", "notify: maybe is not on or off"),
    ],
)
def test_an_option_that_is_none_is_refused(options: str, said: str) -> None:
    """With what is allowed."""
    with pytest.raises(InvalidOption, match=said):
        open_storage(f"postgresql://host/jobs?{options}")


def test_the_longest_names_fit(postgres_database: str) -> None:
    """Tables, indexes and announcements."""
    longest = "a" * 40
    options = f"schema={longest}&table_prefix={longest}"
    with SQLStorage(with_options(postgres_database, options)) as storage:
        storage.upgrade()
        use(storage, "mine")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mysql://root@127.0.0.1", "names no database"),
        ("mysql://root@127.0.0.1/jobs?foo=bar", "foo is not an option"),
    ],
)
def test_what_mysql_could_not_use_is_refused(url: str, said: str) -> None:
    """Before anything is connected."""
    with pytest.raises(InvalidOption, match=said):
        open_storage(url)


def test_sqlite_has_no_schemas() -> None:
    """The error names what to use in place of one."""
    with pytest.raises(InvalidOption, match="use table_prefix"):
        open_storage("sqlite:///jobs.db?schema=a")
