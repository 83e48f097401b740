"""What tasks are looked for by: also having no owner, no parent and so on; reasons by state."""

from typing import Final

from alembic import op
from sqlalchemy import inspect

revision = "0004"
down_revision = "0003"

ANEW: Final = ("owner", "tenant", "worker", "parent", "root", "join_id", "reason")


def upgrade() -> None:
    """Make these indexes anew; MariaDB commits each by itself, so that one may be gone already."""
    there = {one["name"] for one in inspect(op.get_bind()).get_indexes("tasks")}
    for name in ANEW:
        if f"tasks_{name}" in there:
            op.drop_index(f"tasks_{name}", "tasks")
        more = ["owner"] if name == "tenant" else []
        op.create_index(f"tasks_{name}", "tasks", [name, "state", "enqueued_at", "id", *more], unique=False)
