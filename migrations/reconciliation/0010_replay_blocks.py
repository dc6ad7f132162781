"""Replays keep their letters in blocks; groups know since when a build was tried on them."""

from libs.messaging.replay_schema import replay_tables_v2

revision = "reconciliation_0010"
down_revision = "reconciliation_0009"


def upgrade() -> None:
    replay_tables_v2()
