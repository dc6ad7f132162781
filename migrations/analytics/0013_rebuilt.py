"""Where projections are made anew beside those that stand. Rows are there only within the transaction that makes them."""

from libs.database.ddl import run, tenant_table_v1

revision = "analytics_0013"
down_revision = "analytics_0012"


def upgrade() -> None:
    for table in ("campaigns", "steps", "messages", "engagements"):
        run(
            f"""
            CREATE TABLE rebuilt_{table} (LIKE {table} INCLUDING DEFAULTS INCLUDING CONSTRAINTS);
            ALTER TABLE rebuilt_{table} ADD PRIMARY KEY (org_id, {table.removesuffix("s")}_id);
            """
        )
        tenant_table_v1(f"rebuilt_{table}", company=True)
