"""Replays keep their letters in blocks; groups know since when a build was tried on them."""

from libs.messaging.replay_schema import replay_tables_v2

revision = "gateway_0014"
down_revision = "gateway_0013"


def upgrade() -> None:
    replay_tables_v2()
