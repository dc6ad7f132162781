"""Replays keep their letters in blocks; groups know since when a build was tried on them."""

from libs.messaging.replay_schema import replay_tables_v2

revision = "webhook_ingest_0009"
down_revision = "webhook_ingest_0008"


def upgrade() -> None:
    replay_tables_v2()
