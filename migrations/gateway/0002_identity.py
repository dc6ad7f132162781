"""Who the tenants are, their keys, and the thin list of dead letters."""

from libs.database.ddl import lookup_function_v1, run, tenant_table_v1

revision = "gateway_0002"
down_revision = "gateway_0001"


def upgrade() -> None:
    run(
        """
        CREATE TABLE organizations (
          org_id uuid PRIMARY KEY,
          name text NOT NULL,
          time_zone text NOT NULL,
          status text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'suspended')),
          created_at timestamptz NOT NULL
        );

        CREATE TABLE companies (
          org_id uuid NOT NULL REFERENCES organizations,
          company_id uuid NOT NULL,
          name text NOT NULL,
          status text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'archived')),
          created_at timestamptz NOT NULL,
          PRIMARY KEY (org_id, company_id)
        );

        -- No reference to organizations: the platform's own keys belong to the platform org, which has no row.
        CREATE TABLE api_keys (
          org_id uuid NOT NULL,
          id uuid NOT NULL,
          name text NOT NULL,
          role text NOT NULL,
          company_ids uuid[] NOT NULL DEFAULT '{}',
          secret_hmac bytea NOT NULL,
          pepper_version integer NOT NULL,
          last4 text NOT NULL,
          created_at timestamptz NOT NULL,
          expires_at timestamptz,
          revoked_at timestamptz,
          PRIMARY KEY (org_id, id)
        );
        CREATE INDEX api_keys_by_id ON api_keys (id);

        CREATE TABLE dead_letters (
          org_id uuid NOT NULL,
          consumer text NOT NULL,
          event_id uuid NOT NULL,
          service text NOT NULL,
          type text NOT NULL,
          subject text NOT NULL,
          state text NOT NULL,
          error_class text NOT NULL,
          reason text NOT NULL,
          fingerprint text NOT NULL,
          attempts integer NOT NULL,
          changed_at timestamptz NOT NULL,
          PRIMARY KEY (org_id, consumer, event_id)
        );
        CREATE INDEX dead_letters_newest ON dead_letters (org_id, changed_at DESC, consumer DESC, event_id DESC);
        """
    )
    tenant_table_v1("organizations", company=False)
    tenant_table_v1("companies", company=True)
    tenant_table_v1("api_keys", company=False)
    tenant_table_v1("dead_letters", company=False)

    # Within the platform org all organizations may be listed, and nothing else of them seen or changed.
    run(
        """
        CREATE POLICY platform ON organizations FOR SELECT
          USING ((SELECT app_org_id()) = '00000000-0000-0000-0000-000000000000');
        """
    )
    # FORCE binds the owner too; where the administrator is no superuser, the function below would find nothing.
    run(
        """
        CREATE POLICY lookup ON api_keys FOR SELECT TO CURRENT_USER USING (true);
        CREATE POLICY lookup ON organizations FOR SELECT TO CURRENT_USER USING (true);
        """
    )
    lookup_function_v1(
        "api_key_v1(wanted uuid)",
        "TABLE (org_id uuid, role text, company_ids uuid[], secret_hmac bytea, pepper_version integer, "
        "expires_at timestamptz, revoked boolean, suspended boolean)",
        """
        SELECT k.org_id, k.role, k.company_ids, k.secret_hmac, k.pepper_version, k.expires_at, k.revoked_at IS NOT NULL,
          coalesce((SELECT o.status = 'suspended' FROM organizations o WHERE o.org_id = k.org_id), false)
        FROM api_keys k WHERE k.id = wanted
        """,
    )
