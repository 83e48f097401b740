"""What a lost broker is rebuilt from: joins, the configuration, and in which broker a task was last known."""

from typing import Any

import sqlalchemy as sa
from alembic import op

from natsume.adapters.sql.types import Moment, ascii_text, long_bytes, long_text

revision = "0002"
down_revision = "0001"

OPTIONS: Any = {
    f"{dialect}_{option}": value
    for dialect in ("mysql", "mariadb")
    for option, value in (("engine", "InnoDB"), ("charset", "utf8mb4"), ("collate", "utf8mb4_bin"))
}


def upgrade() -> None:
    """Add what is new; the brokers that were followed so far count as restored, and their tasks as of the last."""
    op.add_column("tasks", sa.Column("epoch", sa.Integer(), server_default="0", nullable=False))
    op.add_column("tasks", sa.Column("resent_at", Moment(), nullable=True))
    op.add_column("epochs", sa.Column("restored_at", Moment(), nullable=True))
    op.add_column("epochs", sa.Column("claimed_by", sa.String(length=255), nullable=True))
    op.add_column("epochs", sa.Column("claimed_until", sa.Double(), nullable=True))
    op.execute("UPDATE epochs SET restored_at = began_at")
    op.execute("UPDATE tasks SET epoch = (SELECT COALESCE(MAX(number), 0) FROM epochs)")
    op.create_table(
        "joins",
        sa.Column("id", ascii_text(128), nullable=False),
        sa.Column("callback", ascii_text(128), nullable=False),
        sa.Column("opened_at", Moment(), nullable=False),
        sa.Column("definition", long_text(), nullable=False),
        sa.Column("epoch", sa.Integer(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("id"),
        **OPTIONS,
    )
    op.create_index("joins_callback", "joins", ["callback"], unique=False)
    op.create_index("joins_opened_at", "joins", ["opened_at"], unique=False)
    op.create_table(
        "configuration",
        sa.Column("name", ascii_text(255), nullable=False),
        sa.Column("value", long_bytes(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
        **OPTIONS,
    )
