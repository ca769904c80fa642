"""A store of each kind that the faults are done to, and where a verdict is put on record."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path

import pytest

from tests.faults import nursery as nurseries
from tests.faults.checker import Verdict
from tests.faults.nursery import Nursery
from tests.faults.summary import VERDICT
from tests.servers import fresh_database

STORES = {"sqlite": "sqlite_url", "postgresql": "postgres_database"}


@pytest.fixture(scope="session")
def postgres_url(lasting_postgres_url: str) -> str:
    """The server of all databases here."""
    return lasting_postgres_url


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest) -> str:
    """The URL of an empty database, one of each kind in turn."""
    url: str = request.getfixturevalue(STORES[request.param])
    return url


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    """What starts the processes of this session."""
    with nurseries.nursery() as made:
        yield made


@pytest.fixture
def hold(record_property: Callable[[str, object], None]) -> Callable[[Verdict], None]:
    """Puts a verdict into the table at the end of the session, and lets nothing wrong pass."""

    def held(verdict: Verdict) -> None:
        record_property(VERDICT, json.dumps(verdict.row()))
        assert verdict.expected > 0
        assert verdict.wrong == {}

    return held


Act = Callable[[str, Path], Verdict]
"""What is done on the empty store at a URL, with a directory of its own, and what came of it."""


@pytest.fixture
def hold_everywhere(
    postgres_url: str, tmp_path: Path, hold: Callable[[Verdict], None]
) -> Callable[..., None]:
    """Does every act on a store of each kind, all at once, as most of it is waiting; as `hold`."""

    def on_sqlite(act: Act, place: Path) -> Verdict:
        return act(f"sqlite:///{place / 'jobs.db'}", place)

    def on_postgresql(act: Act, place: Path) -> Verdict:
        with fresh_database(postgres_url) as url:
            return act(url, place)

    def held(*acts: Act) -> None:
        scenes = list(product((on_sqlite, on_postgresql), acts))
        with ThreadPoolExecutor(len(scenes)) as pool:
            verdicts = []
            for number, (on, act) in enumerate(scenes):
                place = tmp_path / str(number)
                place.mkdir()
                verdicts.append(pool.submit(on, act, place))
        for verdict in verdicts:
            hold(verdict.result())

    return held
