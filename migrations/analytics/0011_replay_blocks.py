"""Replays keep their letters in blocks; groups know since when a build was tried on them."""

from libs.messaging.replay_schema import replay_tables_v2

revision = "analytics_0011"
down_revision = "analytics_0010"


def upgrade() -> None:
    replay_tables_v2()
