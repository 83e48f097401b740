"""What tasks are looked for by: their labels, and the flags that few of them have."""

from typing import Any

import msgspec
import sqlalchemy as sa
from alembic import op

from natsume.adapters.sql.types import ascii_text
from natsume.core.said import fitted

revision = "0003"
down_revision = "0002"

OPTIONS: Any = {
    f"{dialect}_{option}": value
    for dialect in ("mysql", "mariadb")
    for option, value in (("engine", "InnoDB"), ("charset", "utf8mb4"), ("collate", "utf8mb4_bin"))
}
PAGE = 1000


def upgrade() -> None:
    """Add the indexes and the table, and fill it from what the tasks have."""
    for name in ("consumed", "cancel_requested"):
        columns = [name, "state", "enqueued_at", "id"]
        op.create_index(f"tasks_{name}", "tasks", columns, unique=False, sqlite_where=sa.text(f"{name} = 1"))
    table = op.create_table(
        "labels",
        sa.Column("task_id", ascii_text(128), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("value", sa.String(length=255), nullable=False),
        sa.PrimaryKeyConstraint("task_id", "name"),
        **OPTIONS,
    )
    op.create_index("labels_value", "labels", ["name", "value", "task_id"], unique=False)
    _fill(table)


def _fill(table: sa.Table) -> None:
    connection = op.get_bind()
    tasks = sa.table("tasks", sa.column("id"), sa.column("labels"))
    last = ""
    while True:
        page = sa.select(tasks).where(tasks.c.labels.is_not(None), tasks.c.id > last).order_by(tasks.c.id).limit(PAGE)
        found = connection.execute(page).all()
        rows = [
            {"task_id": task, "name": fitted(name), "value": fitted(value)}
            for task, text in found
            for name, value in msgspec.json.decode(text, type=dict[str, str]).items()
        ]
        if rows:
            connection.execute(table.insert(), rows)
        if len(found) < PAGE:
            return
        last = found[-1][0]
