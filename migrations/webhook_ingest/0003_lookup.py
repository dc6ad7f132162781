"""The door's look-up sees all endpoints also when the administrator who migrates is no superuser (managed PostgreSQL)."""

from libs.database.ddl import run

revision = "webhook_ingest_0003"
down_revision = "webhook_ingest_0002"


def upgrade() -> None:
    run("CREATE POLICY lookup ON endpoints FOR SELECT TO CURRENT_USER USING (true);")
