"""Failure groups and replays."""

from libs.messaging.replay_schema import replay_tables_v1

revision = "webhook_ingest_0006"
down_revision = "webhook_ingest_0005"


def upgrade() -> None:
    replay_tables_v1()
