"""Edited letters keep what they were."""

from libs.messaging.replay_schema import replay_tables_v3

revision = "webhook_ingest_0010"
down_revision = "webhook_ingest_0009"


def upgrade() -> None:
    replay_tables_v3()
