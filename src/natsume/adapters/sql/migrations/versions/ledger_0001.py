"""The ledger's first schema: tasks, their failed attempts and comments, and the brokers that were followed."""

from typing import Any

import sqlalchemy as sa
from alembic import op

from natsume.adapters.sql.types import Moment, ascii_text, long_bytes, long_text

revision = "0001"
down_revision = None

OPTIONS: Any = {
    f"{dialect}_{option}": value
    for dialect in ("mysql", "mariadb")
    for option, value in (("engine", "InnoDB"), ("charset", "utf8mb4"), ("collate", "utf8mb4_bin"))
}


def upgrade() -> None:
    """Create the tables."""
    _attempts()
    _comments()
    _epochs()
    _tasks()
    _indexes()


def _attempts() -> None:
    op.create_table(
        "attempts",
        sa.Column("task_id", ascii_text(128), nullable=False),
        sa.Column("attempt", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("error", sa.String(length=255), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("traceback", long_text(), nullable=False),
        sa.Column("worker", sa.String(length=255), nullable=False),
        sa.Column("started_at", Moment(), nullable=False),
        sa.Column("failed_at", Moment(), nullable=False),
        sa.Column("next_at", Moment(), nullable=True),
        sa.PrimaryKeyConstraint("task_id", "attempt"),
        **OPTIONS,
    )


def _comments() -> None:
    op.create_table(
        "comments",
        sa.Column("task_id", ascii_text(128), nullable=False),
        sa.Column("key", ascii_text(64), nullable=False),
        sa.Column("at", Moment(), nullable=False),
        sa.Column("author", sa.String(length=255), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("task_id", "key"),
        **OPTIONS,
    )


def _epochs() -> None:
    op.create_table(
        "epochs",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("broker", ascii_text(64), nullable=False),
        sa.Column("began_at", Moment(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("number"),
        sa.UniqueConstraint("broker"),
        **OPTIONS,
    )


def _identity_and_times() -> list[sa.Column[Any]]:
    return [
        sa.Column("id", ascii_text(128), nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.Column("state", ascii_text(16), nullable=False),
        sa.Column("actor", sa.String(length=255), nullable=False),
        sa.Column("lane", ascii_text(32), nullable=True),
        sa.Column("owner", sa.String(length=255), nullable=True),
        sa.Column("tenant", sa.String(length=255), nullable=True),
        sa.Column("parent", ascii_text(128), nullable=True),
        sa.Column("root", ascii_text(128), nullable=True),
        sa.Column("join_id", ascii_text(128), nullable=True),
        sa.Column("member", sa.Integer(), nullable=True),
        sa.Column("trace", sa.Text(), nullable=True),
        sa.Column("labels", sa.Text(), nullable=True),
        sa.Column("worker", sa.String(length=255), nullable=True),
        sa.Column("submitted_at", Moment(), nullable=True),
        sa.Column("enqueued_at", Moment(), nullable=False),
        sa.Column("due_at", Moment(), nullable=True),
        sa.Column("started_at", Moment(), nullable=True),
        sa.Column("finished_at", Moment(), nullable=True),
        sa.Column("heartbeat_at", Moment(), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("failures", sa.Integer(), server_default="0", nullable=False),
        sa.Column("waits", sa.Integer(), server_default="0", nullable=False),
        sa.Column("crashes", sa.Integer(), server_default="0", nullable=False),
    ]


def _ends() -> list[sa.Column[Any]]:
    return [
        sa.Column("cpu_s", sa.Double(), nullable=True),
        sa.Column("memory_peak_bytes", sa.BigInteger(), nullable=True),
        sa.Column("tracked", sa.Boolean(), server_default="0", nullable=False),
        sa.Column("discarded", sa.Boolean(), server_default="0", nullable=False),
        sa.Column("cancel_requested", sa.Boolean(), server_default="0", nullable=False),
        sa.Column("consumed", sa.Boolean(), server_default="0", nullable=False),
        sa.Column("reason", ascii_text(32), nullable=True),
        sa.Column("error", sa.String(length=255), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("replay_of", ascii_text(128), nullable=True),
        sa.Column("settled", ascii_text(16), nullable=True),
        sa.Column("settled_at", Moment(), nullable=True),
        sa.Column("settled_by", sa.String(length=255), nullable=True),
        sa.Column("settled_why", sa.Text(), nullable=True),
        sa.Column("replay", ascii_text(128), nullable=True),
        sa.Column("progress_done", sa.Double(), nullable=True),
        sa.Column("progress_total", sa.Double(), nullable=True),
        sa.Column("progress_message", sa.Text(), nullable=True),
        sa.Column("arguments", long_text(), nullable=True),
        sa.Column("result", long_text(), nullable=True),
        sa.Column("subject", sa.Text(), nullable=True),
        sa.Column("headers", long_text(), nullable=True),
        sa.Column("body", long_bytes(), nullable=True),
    ]


def _tasks() -> None:
    op.create_table("tasks", *_identity_and_times(), *_ends(), sa.PrimaryKeyConstraint("id"), **OPTIONS)


def _indexes() -> None:
    for column in ("actor", "join_id", "owner", "parent", "root", "tenant", "worker"):
        found = None if column == "actor" else sa.text(f"{column} IS NOT NULL")
        op.create_index(f"tasks_{column}", "tasks", [column, "state", "enqueued_at", "id"], sqlite_where=found)
    reason = sa.text("reason IS NOT NULL")
    op.create_index("tasks_reason", "tasks", ["reason", "enqueued_at", "id"], sqlite_where=reason)
    op.create_index("tasks_state", "tasks", ["state", "enqueued_at", "id"])
    for column in ("finished_at", "heartbeat_at", "started_at"):
        op.create_index(f"tasks_{column}", "tasks", ["state", column, "id"])
