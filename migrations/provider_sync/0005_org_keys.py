"""A data key per org: what its secrets are sealed with, itself wrapped by a key that the database never sees."""

from libs.database.ddl import lookup_function_v1, run, tenant_table_v1

revision = "provider_sync_0005"
down_revision = "provider_sync_0004"


def upgrade() -> None:
    run(
        """
        CREATE TABLE org_keys (
          org_id uuid NOT NULL,
          version integer NOT NULL CHECK (version > 0),
          id uuid NOT NULL,
          wrapped_by text NOT NULL,
          wrapped bytea NOT NULL,
          created_at timestamptz NOT NULL DEFAULT now(),
          PRIMARY KEY (org_id, version),
          UNIQUE (org_id, id)
        );
        COMMENT ON COLUMN org_keys.version IS 'the newest seals; older ones open what they sealed';
        COMMENT ON COLUMN org_keys.id IS 'stands in front of each secret that it seals';
        COMMENT ON COLUMN org_keys.wrapped_by IS 'the id of the wrapping key, see services/provider_sync/key_ring.py';
        """
    )
    tenant_table_v1("org_keys", company=False)
    # FORCE binds the owner too; where the administrator is no superuser, the function below would find nothing.
    run(
        """
        CREATE POLICY lookup ON org_keys FOR SELECT TO CURRENT_USER USING (true);
        CREATE POLICY lookup ON accounts FOR SELECT TO CURRENT_USER USING (true);
        """
    )
    # Every other secret belongs to an account.
    lookup_function_v1(
        "orgs_with_secrets(after uuid, most integer)",
        "SETOF uuid",
        """
        SELECT org_id FROM accounts WHERE org_id > after UNION SELECT org_id FROM org_keys WHERE org_id > after
        ORDER BY org_id LIMIT most
        """,
    )
