"""Writes what the code declares, and keeps on declaring it while the process lives.

Several processes, of one version of the code or of two, share a table. Each shows itself every
15 seconds; what a newer version declares is left to it, and what another still declares is not
retired, until that one has not been seen for a minute or has said that it stops.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

from scheduler import clock
from scheduler.declarations import (
    DEPLOY,
    Change,
    ChangeKind,
    alive,
    declaration,
    is_edited_by_hand,
    reconcile,
)
from scheduler.errors import StaleSchedule
from scheduler.events import Event
from scheduler.expander import BATCH, made_of, tell
from scheduler.model import Declaration, Schedule
from scheduler.operations import created
from scheduler.storage import JobStorage

HEARTBEAT = timedelta(seconds=15)
"""How often a process shows that it still declares its schedules."""

GRACE = timedelta(seconds=60)
"""How long a process that has not been seen still counts as there."""

REMEMBERED = timedelta(minutes=10)
"""How long the age of a version is remembered after its last process."""

_TRIES = 20
_TOUCHING = (ChangeKind.CHANGED, ChangeKind.REVIVED)


class Declarer:
    """Declares schedules to one storage, as `process`.

    `declared` makes the schedules that the code says, as if created at an instant.
    """

    def __init__(
        self,
        storage: JobStorage,
        *,
        declared: Callable[[datetime], list[Schedule]],
        process: str,
        emit: Callable[[Event], None],
        now: Callable[[], datetime] = clock.now,
    ) -> None:
        self._storage = storage
        self._declared = declared
        self._process = process
        self._emit = emit
        self._now = now
        self._modules: Sequence[str] = ()
        self._own: Declaration | None = None
        self._others: list[Declaration] = []

    def plan(self, modules: Sequence[str]) -> list[Change]:
        """What `declare` would change if no other process were there; nothing is written."""
        now = self._now()
        declared = self._declared(now)
        return self._reconciled(declared, self._stored(declared, modules), modules, now)

    def edited_by_hand(self) -> list[str]:
        """The schedules whose code is the one last declared, and which people have changed since.

        By name. They stay as they are until the code says something new.
        """
        now = self._now()
        declared = self._declared(now)
        stored = self._stored(declared)
        pairs = [(each, stored.get(each.name)) for each in declared]
        return sorted(
            said.name for said, found in pairs if found and is_edited_by_hand(said, found, now)
        )

    def declare(self, modules: Sequence[str] = ()) -> list[Change]:
        """Write what the code declares; what changed.

        Idempotent. Schedules that were declared in `modules` and no longer are get retired.
        Raises StaleSchedule if others keep writing the same schedules.
        """
        self._modules = modules
        now = self._now()
        declared = self._declared(now)
        if declared or self._own:
            self._show(declared, now)
        return self._write(self._declared, modules, declared, now)

    def write(
        self, declared: Callable[[datetime], list[Schedule]], *, modules: Sequence[str] = ()
    ) -> list[Change]:
        """Reconcile and write; what was written."""
        now = self._now()
        return self._write(declared, modules, declared(now), now)

    def _write(
        self,
        declare: Callable[[datetime], list[Schedule]],
        modules: Sequence[str],
        declared: list[Schedule],
        now: datetime,
    ) -> list[Change]:
        """What was written of what is `declared` at `now`.

        Who loses a race for a schedule looks again, and finds it as the winner wrote it.
        """
        written: list[Change] = []
        for _ in range(_TRIES):
            changes = self._reconciled(declared, self._stored(declared, modules), modules, now)
            added = self._added([each.after for each in changes if each.expansion is None])
            won = [
                each
                for each in changes
                if (each.after.id in added if each.expansion is None else self._is_written(each))
            ]
            written += won
            if len(won) == len(changes):
                return written
            now = self._now()
            declared = declare(now)
        raise StaleSchedule(
            f"schedules: written by others {_TRIES} times while being declared; "
            "do two versions of the code declare them differently?"
        )

    def tick(self, now: datetime) -> datetime | None:
        """Show that this process is there, and take over what others have let go of.

        When to be called next; None if this process declares nothing.
        """
        if self._own is None:
            return None
        if not self._storage.renew_declaration(self._process, seen_at=now):
            self._storage.save_declaration(replace(self._own, seen_at=now))
        before = [each.process for each in self._others]
        self._look(now)
        if before != [each.process for each in self._others]:
            self.write(self._declared, modules=self._modules)
        return now + HEARTBEAT

    def stop(self) -> None:
        """Declare nothing any more: another version may go on at once."""
        own, self._own = self._own, None
        if own is not None:
            now = self._now()
            self._storage.save_declaration(replace(own, seen_at=now, schedules={}))

    def _show(self, declared: list[Schedule], now: datetime) -> None:
        """Tell others what this process declares, before it looks at what they do."""
        seen = self._storage.list_declarations(seen_since=now - REMEMBERED)
        self._own = declaration(declared, process=self._process, seen=seen, now=now)
        self._storage.save_declaration(self._own)
        self._look(now)

    def _look(self, now: datetime) -> None:
        assert self._own is not None  # noqa: S101 - only who declares looks
        seen = self._storage.list_declarations(seen_since=now - REMEMBERED)
        self._others = alive(seen, self._own, now=now, grace=GRACE)

    def _stored(
        self, declared: Sequence[Schedule], modules: Sequence[str] = ()
    ) -> dict[str, Schedule]:
        """What is stored of what is declared, by name, and with `modules` what they declared."""
        names = {schedule.name for schedule in declared}
        found = self._storage.get_schedules(names, declared=bool(modules))
        return {schedule.name: schedule for schedule in found}

    def _reconciled(
        self,
        declared: list[Schedule],
        stored: Mapping[str, Schedule],
        modules: Sequence[str],
        now: datetime,
    ) -> list[Change]:
        """The changes; first without the jobs they may touch, which are read only for those."""
        look = partial(
            reconcile,
            declared,
            stored,
            modules=modules,
            now=now,
            own=self._own,
            others=self._others,
        )
        changes = look()
        touched = [each.before for each in changes if each.kind in _TOUCHING and each.before]
        return look(made=made_of(self._storage, touched)) if touched else changes

    def _added(self, schedules: Sequence[Schedule]) -> set[str]:
        """The ids of those of `schedules`, which are new, that were saved.

        In batches; where another was first with one of a batch, one by one.
        """
        return {
            schedule.id
            for start in range(0, len(schedules), BATCH)
            for schedule in self._saved(schedules[start : start + BATCH])
        }

    def _saved(self, schedules: Sequence[Schedule]) -> Sequence[Schedule]:
        try:
            notes = [created(each, actor=DEPLOY) for each in schedules]
            self._storage.save_schedules(schedules, notes=notes)
        except StaleSchedule:
            alone = ([each] for each in schedules) if len(schedules) > 1 else ()
            return [schedule for each in alone for schedule in self._saved(each)]
        return schedules

    def _is_written(self, change: Change) -> bool:
        assert change.expansion is not None  # noqa: S101 - those without are saved
        [is_written] = self._storage.record_expansions([change.expansion])
        if is_written:
            tell(change.expansion, change.after.updated_at, self._emit)
        return is_written
