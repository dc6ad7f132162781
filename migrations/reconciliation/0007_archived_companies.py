"""Which companies are archived: nothing is compared for them any more."""

from libs.database.ddl import run, tenant_table_v1

revision = "reconciliation_0007"
down_revision = "reconciliation_0006"


def upgrade() -> None:
    run(
        """
        CREATE TABLE archived_companies (
          org_id uuid NOT NULL,
          company_id uuid NOT NULL,
          archived_at timestamptz NOT NULL DEFAULT now(),
          PRIMARY KEY (org_id, company_id)
        );
        """
    )
    tenant_table_v1("archived_companies", company=True)
