"""Who did what in an org, and who was refused: rows that the service may add and read, and nothing else."""

from libs.database.ddl import run, tenant_table_v1

revision = "gateway_0006"
down_revision = "gateway_0005"


def upgrade() -> None:
    run(
        """
        CREATE TABLE audit_log (
          org_id uuid NOT NULL,
          position bigint NOT NULL,
          at timestamptz NOT NULL,
          actor text NOT NULL,
          action text NOT NULL,
          outcome text NOT NULL CHECK (outcome IN ('done', 'denied')),
          object text NOT NULL,
          details text NOT NULL,
          request_id text NOT NULL,
          previous_hash bytea NOT NULL,
          hash bytea NOT NULL,
          PRIMARY KEY (org_id, position)
        );

        -- The end of each chain: its lock makes one appender at a time, and it tells when the last rows are gone.
        CREATE TABLE audit_heads (
          org_id uuid PRIMARY KEY,
          position bigint NOT NULL,
          hash bytea NOT NULL
        );
        """
    )
    tenant_table_v1("audit_log", company=False)
    tenant_table_v1("audit_heads", company=False)
    run(
        """
        DO $$ DECLARE grantee_name text;
        BEGIN
          FOR grantee_name IN SELECT DISTINCT grantee FROM information_schema.role_table_grants
            WHERE table_schema = current_schema() AND table_name = 'audit_log' AND grantee <> current_user
          LOOP
            EXECUTE format('REVOKE UPDATE, DELETE ON audit_log FROM %I', grantee_name);
            EXECUTE format('REVOKE DELETE ON audit_heads FROM %I', grantee_name);
          END LOOP;
        END $$;
        """
    )
