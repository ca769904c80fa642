"""What a session of tests ran of SQL Server, said at its end: there may be no server."""

from __future__ import annotations

import pytest

VARIABLE = "SCHEDULER_TEST_MSSQL_URL"
VERSION = "mssql_version"
"""The property of a test that found out which server it ran on."""

_HERE = "tests/storage/mssql/"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which tests passed without a server, and which on one."""
    passed = [
        each for each in terminalreporter.getreports("passed") if each.nodeid.startswith(_HERE)
    ]
    if not passed:
        return
    on_server = sum("test_server.py" in each.nodeid for each in passed)
    versions = {value for each in passed for name, value in each.user_properties if name == VERSION}
    on = (
        f"{on_server} on {' and '.join(sorted(versions))}"
        if on_server
        else f"none on one ({VARIABLE})"
    )
    terminalreporter.write_line(
        f"SQL Server: {len(passed) - on_server} tests passed that need no server, {on}"
    )
