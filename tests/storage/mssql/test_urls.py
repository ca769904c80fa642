"""What the URL of a SQL Server says, and what of a text its tables keep."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Dialect
from sqlalchemy.dialects import mssql

from scheduler.errors import InvalidOption
from scheduler.lifecycle import storable
from scheduler.storage import open_storage
from scheduler.storage.sql import SQLStorage
from scheduler.storage.sql.types import ShortText
from tests.storage.mssql.statements import connected

BY_DEFAULT = {"login_timeout": 5, "isolation_level": 2, "disable_connect_retry": True}


def given_to_the_driver(url: str) -> dict[str, Any]:
    return connected(url)[1].given


def test_a_url_may_hold_any_character() -> None:
    """Encoded as URLs do; a server's instance after a backslash."""
    found = given_to_the_driver("mssql://a%40b:p%2Fw%3A%25@host\\SALES:1444/jobs%20%26%20co")
    assert found == BY_DEFAULT | {
        "dsn": "host\\SALES",
        "port": 1444,
        "user": "a@b",
        "password": "p/w:%",
        "database": "jobs & co",
    }


def test_what_a_url_says_is_what_the_driver_is_told(tmp_path: Path) -> None:
    """Encryption and patience."""
    trusted = tmp_path / "ca.pem"
    trusted.touch()
    options = f"cafile={trusted}&validate_host=off&timeout=9&login_timeout=7"
    found = given_to_the_driver(f"mssql+pytds://host/jobs?{options}&table_prefix=x_")
    assert found == BY_DEFAULT | {
        "dsn": "host",
        "database": "jobs",
        "cafile": str(trusted),
        "validate_host": False,
        "timeout": 9,
        "login_timeout": 7,
    }


def test_a_password_is_not_shown() -> None:
    """Nor is the name of the dialect that is ours."""
    with SQLStorage("mssql://someone:hunter2@host/jobs?timeout=9") as storage:
        assert storage.url == "mssql+pytds://someone:***@host/jobs?timeout=9"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mssql://u:hunter2@host/jobs?encrypt=yes", "encrypt is not an option here; use one of c"),
        ("mssql://u:hunter2@host/jobs?enc_login_only=on", "enc_login_only is not an option here"),
        ("mssql://u:hunter2@host/jobs?cafile=no/such.pem", "no/such.pem is not a file"),
        ("mssql://u:hunter2@host/jobs?cafile=a&cafile=b", "cafile"),
        ("mssql://u:hunter2@host/jobs?validate_host=no", "validate_host: no is not on or off"),
        ("mssql://u:hunter2@host/jobs?timeout=0", "timeout: 0 is not a number of seconds"),
        ("mssql://u:hunter2@host/jobs?login_timeout=1.5", "login_timeout: 1.5 is not a number"),
        ("mssql+pyodbc://u:hunter2@host/jobs", "mssql.pyodbc is not the driver for SQL Server"),
    ],
)
def test_what_would_be_ignored_is_refused(url: str, said: str) -> None:
    """Above all what somebody takes for encryption."""
    with pytest.raises(InvalidOption, match=said) as caught:
        open_storage(url)
    assert "hunter2" not in str(caught.value)


# --- texts ----------------------------------------------------------------------------------

DIALECT: Dialect = mssql.dialect()  # type: ignore[no-untyped-call]
NAME = ShortText(255)


def kept(text: str) -> str:
    """`text` as it is stored."""
    found = NAME.process_bind_param(text, DIALECT)
    assert found is not None
    return found


@given(st.text(st.sampled_from(" ␠a🐎\x00"), max_size=6))
def test_a_text_comes_back_whatever_it_ends_in(text: str) -> None:
    """Stored, it never ends in a blank, which SQL Server would not tell from none."""
    assert NAME.process_result_value(kept(text), DIALECT) == storable(text)
    assert not kept(text).endswith(" ")


@given(*[st.text(st.sampled_from(" ␠a"), max_size=6)] * 2)
def test_texts_that_differ_are_not_equal_to_sql_server(one: str, other: str) -> None:
    """It pads the shorter one with blanks before it compares, in keys too."""
    assert (kept(one).rstrip(" ") == kept(other).rstrip(" ")) == (one == other)


@given(st.text(st.sampled_from(" ␠aé🐎"), max_size=255))
def test_a_text_of_255_characters_fits(text: str) -> None:
    """Its column counts in units of UTF-16, and what ends the text is among them."""
    assert len(kept(text).encode("utf-16-le")) // 2 <= 2 * len(text) <= 510
    assert str(NAME.dialect_impl(DIALECT).compile(DIALECT)).startswith("NVARCHAR(510) ")
