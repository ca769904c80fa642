"""Laws of the texts by which things are found: ids, names, queues, schedules.

A text is itself and no other: databases that fold case or accents, pad blanks or sort by a
language must be told not to. Ids and names have at most 64 and 255 characters.
"""

from __future__ import annotations

import pytest

from scheduler.storage import JobStorage
from scheduler.testing.contract.acts import TTL, ids, lease
from scheduler.testing.values import NOON, a_job

HOSTILE_NAMES = [
    "O'Hara",
    "'; DROP TABLE jobs; --",
    'dou"ble',
    "`back` [tick]",
    "per%cent %s %(name)s :name ? {}",
    "back\\slash",
    "semi;colon -- comment /* more */",
    "ünïcödé 🐎",
    "like_%",
    "glob*?[a-z]",
    "../../etc/passwd",
    "key:with:colons {tag}",
    " leading and trailing ",
    "x" * 255,
    "🐎" * 255,
]
ALIKE = ["straße", "Straße", "STRASSE", "strasse", "straße ", " straße", "strasse\u0301", "strassé"]
"""Texts that some database takes for another of them."""

ASCENDING = ["1", "10", "9", "B", "_", "a", "a ", "aa", "b", "ä", "я", "ﬀ", "🐎"]
"""Texts in order of their code points, which is that of their UTF-8 bytes, not of UTF-16."""


def brief(text: str) -> str:
    """`text` as the name of a test shows it."""
    return ascii(text[:12])


class NameLaws:
    """A text matches itself, and sorts by its code points."""

    @pytest.mark.parametrize("name", HOSTILE_NAMES, ids=brief)
    def test_any_name_is_only_a_name(self, storage: JobStorage, name: str) -> None:
        """Names and queues are data: they match themselves and nothing else."""
        storage.save_job(a_job(name="decoy", queue="decoy"))
        job = a_job(name=name, queue=name)
        storage.save_job(job)
        assert storage.list_jobs(name=name) == [job]
        assert lease(storage, handler_names=[name], queue=name).id == job.id

    @pytest.mark.parametrize("id_", [name[:64] for name in HOSTILE_NAMES], ids=brief)
    def test_any_id_is_only_an_id(self, storage: JobStorage, id_: str) -> None:
        """Of a job and of its schedule, to their full length."""
        storage.save_job(a_job(schedule_id="decoy", occurrence_at=NOON))
        job = a_job(id=id_, schedule_id=id_, occurrence_at=NOON)
        storage.save_job(job)
        assert storage.get_job(id_) == job
        assert storage.list_jobs(schedule_id=id_) == [job]
        assert storage.get_unfinished_jobs([id_]) == [job]

    def test_ids_that_look_alike_are_of_different_jobs(self, storage: JobStorage) -> None:
        """Case, accents, their composition and blanks at either end tell ids apart."""
        saved = [a_job(id=id_, name=id_) for id_ in ALIKE]
        storage.save_jobs(saved)
        assert [storage.get_job(job.id) for job in saved] == saved
        storage.acquire_next_jobs(len(ALIKE), now=NOON)
        storage.complete_job("straße")
        ended = [job.id for id_ in ALIKE if (job := storage.get_job(id_)) and job.completed_at]
        assert ended == ["straße"]

    def test_names_that_look_alike_are_different_names(self, storage: JobStorage) -> None:
        """For a list and for an executor: each finds its own."""
        saved = [a_job(name=name) for name in ALIKE]
        storage.save_jobs(saved)
        assert [storage.list_jobs(name=name) for name in ALIKE] == [[job] for job in saved]
        assert [lease(storage, handler_names=[name]).id for name in ALIKE] == ids(saved)

    def test_queues_that_look_alike_are_different_queues(self, storage: JobStorage) -> None:
        """Each executor takes the jobs of its own."""
        saved = [a_job(queue=name) for name in ALIKE]
        storage.save_jobs(saved)
        assert [storage.next_job_at(queue=name) for name in ALIKE] == [NOON] * len(ALIKE)
        assert [lease(storage, queue=name).id for name in ALIKE] == ids(saved)

    def test_schedules_that_look_alike_have_their_own_occurrences(
        self, storage: JobStorage
    ) -> None:
        """The same instant of each may have a job."""
        saved = [a_job(schedule_id=id_, occurrence_at=NOON) for id_ in ALIKE]
        storage.save_jobs(saved)
        assert [storage.list_jobs(schedule_id=id_) for id_ in ALIKE] == [[job] for job in saved]

    def test_ids_are_in_order_of_their_code_points(self, storage: JobStorage) -> None:
        """Wherever they decide: in lists, in acquisition, and among leases that ran out."""
        storage.save_jobs([a_job(id=id_) for id_ in reversed(ASCENDING)])
        assert ids(storage.list_jobs()) == ASCENDING[::-1]
        assert ids(storage.list_jobs(before_id="b")) == ["aa", "a ", "a", "_", "B", "9", "10", "1"]
        assert ids(storage.get_scheduled_jobs(NOON)) == ASCENDING
        assert ids(storage.acquire_next_jobs(3, ttl=TTL, now=NOON)) == ASCENDING[:3]
        assert [lease(storage).id for _ in ASCENDING[3:]] == ASCENDING[3:]
        assert ids(storage.get_expired_jobs(NOON + TTL)) == ASCENDING

    @pytest.mark.parametrize(
        "text", ["", "\x00", "a\x00b", "\udcff", "' OR 1=1 --", "%", "x" * 1000], ids=brief
    )
    def test_what_nothing_is_called_finds_nothing(self, storage: JobStorage, text: str) -> None:
        """Whatever a caller asks for, it is an answer and not an error."""
        storage.save_job(a_job(schedule_id="s"))
        assert storage.get_job(text) is None
        assert storage.list_jobs(name=text) == []
        assert storage.list_jobs(schedule_id=text) == []
        assert storage.get_unfinished_jobs([text]) == []
        assert storage.get_occurrences(text, NOON, NOON) == []
        assert storage.get_schedule(text) is None
        assert storage.delete_schedule(text) is False
        assert storage.list_skips(text) == []
        assert storage.list_notes(text) == []
        assert storage.renew_declaration(text, seen_at=NOON) is False
        assert storage.next_job_at(handler_names=[text]) is None
        assert storage.acquire_next_job(handler_names=[text], now=NOON) is None
        assert storage.acquire_next_job(queue=text, now=NOON) is None
        assert storage.renew_leases({text: text}, expires_at=NOON) == set()
        assert len(storage.list_jobs(before_id=f"9{text}")) == 1
