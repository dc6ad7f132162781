"""Runs count messages beside drifts; runs of before tell 0."""

from libs.database.ddl import run

revision = "reconciliation_0003"
down_revision = "reconciliation_0002"


def upgrade() -> None:
    run(
        """
        ALTER TABLE runs ADD COLUMN missing_messages integer NOT NULL DEFAULT 0,
          ADD COLUMN repaired_messages integer NOT NULL DEFAULT 0;
        """
    )
