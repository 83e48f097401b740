"""The indexes of states and of tenants are in the order of a page, the newest first, but for SQLite."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

BEHIND = ("state", sa.text("enqueued_at DESC"), sa.text("id DESC"), "traits", "label_traits")
INDEXES = {"tasks_state": BEHIND, "tasks_tenant": ("tenant", *BEHIND, "owner")}


def upgrade() -> None:
    """Make these indexes anew; MariaDB commits each by itself, so that one may be gone already."""
    if op.get_bind().dialect.name == "sqlite":
        return
    there = {one["name"] for one in sa.inspect(op.get_bind()).get_indexes("tasks")}
    for name, columns in INDEXES.items():
        if name in there:
            op.drop_index(name, "tasks")
        op.create_index(name, "tasks", list(columns))
