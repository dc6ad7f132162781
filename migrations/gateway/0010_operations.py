"""The thin list of operations: what services tell of changes at providers."""

from libs.database.ddl import run, tenant_table_v1

revision = "gateway_0010"
down_revision = "gateway_0009"


def upgrade() -> None:
    run(
        """
        CREATE TABLE operations (
          org_id uuid NOT NULL,
          id text NOT NULL,
          company_id uuid NOT NULL,
          account_id uuid NOT NULL,
          kind text NOT NULL,
          target text NOT NULL,
          state text NOT NULL,
          needs_decision boolean NOT NULL,
          done integer NOT NULL,
          total integer NOT NULL,
          error_code text,
          revision integer NOT NULL,
          created_at timestamptz NOT NULL,
          changed_at timestamptz NOT NULL,
          PRIMARY KEY (org_id, id)
        );
        CREATE INDEX operations_newest ON operations (org_id, created_at DESC, id DESC);
        """
    )
    tenant_table_v1("operations", company=True)
