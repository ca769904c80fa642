"""The live schedule: overlap, windows, jitter, pauses, the origin of jobs, notes, declarations."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

UNFINISHED = sa.text("status IN ('pending', 'processing')")
LIVE = sa.text("status IN ('active', 'paused')")
NOT_RUN_NOW = sa.text("origin <> 'run_now'")
INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    with op.batch_alter_table("jobs") as jobs:
        jobs.add_column(sa.Column("origin", sa.String(16), nullable=False, server_default="added"))
        jobs.add_column(sa.Column("previous_occurrence_at", INSTANT))
        jobs.add_column(sa.Column("missed_before", sa.Integer, nullable=False, server_default="0"))
        jobs.add_column(sa.Column("serial", sa.Boolean, nullable=False, server_default=sa.false()))
    op.execute("UPDATE jobs SET origin = 'occurrence' WHERE schedule_id IS NOT NULL")
    op.drop_index("jobs_occurrence", "jobs")
    _partial_index("jobs_occurrence", "jobs", NOT_RUN_NOW, unique=True)
    _partial_index("jobs_unfinished", "jobs", UNFINISHED)

    with op.batch_alter_table("schedules") as schedules:
        schedules.add_column(sa.Column("catch_up_window", sa.Float(53)))
        # Schedules of before did as they were told whatever still ran; so do they now.
        schedules.add_column(
            sa.Column("overlap", sa.String(16), nullable=False, server_default="allow")
        )
        schedules.add_column(sa.Column("jitter", sa.Float(53), nullable=False, server_default="0"))
        schedules.add_column(sa.Column("declared", sa.String(64)))
        schedules.add_column(sa.Column("paused_at", INSTANT))
        schedules.add_column(sa.Column("paused_by", sa.String(255)))
        schedules.add_column(sa.Column("rule_since", INSTANT))
        schedules.add_column(sa.Column("last_occurrence_at", INSTANT))
        schedules.add_column(sa.Column("open_skip", sa.JSON))
    # What was decided before this version stands under the rule of then; its last job is known.
    op.execute("UPDATE schedules SET rule_since = created_at")
    op.execute(
        "UPDATE schedules SET last_occurrence_at = (SELECT max(occurrence_at) FROM jobs "
        "WHERE jobs.schedule_id = schedules.id)"
    )
    with op.batch_alter_table("schedules") as schedules:
        schedules.alter_column("rule_since", existing_type=INSTANT, nullable=False)
    op.drop_index("schedules_due", "schedules")
    op.create_index(
        "schedules_due", "schedules", ["next_at"], sqlite_where=LIVE, postgresql_where=LIVE
    )

    op.add_column("skips", sa.Column("backfilled", sa.Integer, nullable=False, server_default="0"))
    op.create_table(
        "notes",
        sa.Column("schedule_id", sa.String(64), primary_key=True),
        sa.Column("revision", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("at", INSTANT, nullable=False),
        sa.Column("action", sa.String(16), nullable=False),
        sa.Column("actor", sa.String(255)),
        sa.Column("detail", sa.JSON, nullable=False),
    )
    op.create_table(
        "declarations",
        sa.Column("process", sa.String(255), primary_key=True),
        sa.Column("code", sa.String(64), nullable=False),
        sa.Column("since_at", INSTANT, nullable=False),
        sa.Column("seen_at", INSTANT, nullable=False),
        sa.Column("schedules", sa.JSON, nullable=False),
    )


def _partial_index(name: str, table: str, where: sa.TextClause, *, unique: bool = False) -> None:
    op.create_index(
        name,
        table,
        ["schedule_id", "occurrence_at"],
        unique=unique,
        sqlite_where=where,
        postgresql_where=where,
    )
