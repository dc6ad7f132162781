"""Into which organizations platform staff went, why, for how long, and whether to change something there."""

from libs.database.ddl import run, tenant_table_v1

revision = "gateway_0008"
down_revision = "gateway_0007"


def upgrade() -> None:
    # Rows of the platform (its org_id): they are about its staff. The organization has its own record in its audit log.
    run(
        """
        CREATE TABLE assumptions (
          org_id uuid NOT NULL,
          id uuid NOT NULL,
          principal text NOT NULL,
          organization_id uuid NOT NULL,
          reason text NOT NULL,
          may_write boolean NOT NULL,
          begun_at timestamptz NOT NULL,
          ends_at timestamptz NOT NULL CHECK (ends_at <= begun_at + interval '60 minutes'),
          ended_at timestamptz,
          PRIMARY KEY (org_id, id)
        );
        CREATE INDEX assumptions_of ON assumptions (org_id, principal, organization_id) WHERE ended_at IS NULL;
        """
    )
    tenant_table_v1("assumptions", company=False)
