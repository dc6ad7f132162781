"""Edited letters keep what they were."""

from libs.messaging.replay_schema import replay_tables_v3

revision = "reconciliation_0011"
down_revision = "reconciliation_0010"


def upgrade() -> None:
    replay_tables_v3()
