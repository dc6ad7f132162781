"""When the newest fact of each company was told: an answer to who is limited to companies tells no other's times."""

from libs.database.ddl import run, tenant_table_v1

revision = "analytics_0006"
down_revision = "analytics_0005"


def upgrade() -> None:
    # Beside `freshness`, which a service of the version before goes on writing.
    run(
        """
        CREATE TABLE company_freshness (
          org_id uuid NOT NULL,
          company_id uuid NOT NULL,
          slot integer NOT NULL,
          told_at timestamptz NOT NULL,
          PRIMARY KEY (org_id, company_id, slot)
        );
        INSERT INTO company_freshness
          SELECT org_id, company_id, 0, max(recorded_at) FROM facts WHERE company_id IS NOT NULL GROUP BY 1, 2;
        """
    )
    tenant_table_v1("company_freshness", company=True)
