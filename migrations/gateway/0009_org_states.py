"""Organizations can be suspended, resumed and erased; the platform remembers how far an erasure is."""

from libs.database.ddl import erasable_v1, lookup_function_v1, run, tenant_table_v1
from libs.messaging.schema import messaging_tables_v2

revision = "gateway_0009"
down_revision = "gateway_0008"


def upgrade() -> None:
    messaging_tables_v2()
    # Revisions order what is told of an organization; a replica of the version before suspends nobody.
    run(
        """
        ALTER TABLE organizations
          ADD COLUMN revision bigint NOT NULL DEFAULT 0,
          ADD COLUMN suspended_at timestamptz,
          ADD COLUMN suspended_reason text;

        -- Rows of the platform's own org: the erased one has none. A row per service.
        CREATE TABLE erasures (
          org_id uuid NOT NULL,
          organization_id uuid NOT NULL,
          service text NOT NULL,
          state text NOT NULL CHECK (state IN ('requested', 'running', 'completed')),
          tables jsonb NOT NULL DEFAULT '{}',
          rows bigint NOT NULL DEFAULT 0,
          refused bigint NOT NULL DEFAULT 0,
          requested_at timestamptz NOT NULL,
          changed_at timestamptz NOT NULL,
          PRIMARY KEY (org_id, organization_id, service)
        );
        """
    )
    tenant_table_v1("erasures", company=False)
    erasable_v1("audit_log")
    erasable_v1("audit_heads")

    # FORCE binds the owner too; where the administrator is no superuser, the functions below would take all for active.
    run("CREATE POLICY lookup ON org_states FOR SELECT TO CURRENT_USER USING (true);")
    # What belongs to an erased org is unknown from the first moment on.
    lookup_function_v1(
        "api_key_v4(wanted uuid)",
        "TABLE (org_id uuid, role text, scopes text[], company_ids uuid[], secret_hmac bytea, pepper_version integer, "
        "previous_hmac bytea, previous_pepper_version integer, previous_ends_at timestamptz, expires_at timestamptz, "
        "revoked boolean, suspended boolean)",
        """
        SELECT k.org_id, k.role, k.scopes,
          array(SELECT company FROM unnest(k.company_ids) AS company WHERE NOT EXISTS (
            SELECT FROM companies c WHERE c.org_id = k.org_id AND c.company_id = company AND c.status = 'archived')),
          k.secret_hmac, k.pepper_version, k.previous_hmac, k.previous_pepper_version, k.previous_ends_at, k.expires_at,
          k.revoked_at IS NOT NULL, coalesce(s.state = 'suspended', false)
        FROM api_keys k LEFT JOIN org_states s ON s.org_id = k.org_id
        WHERE k.id = wanted AND s.state IS DISTINCT FROM 'erased'
        """,
    )
    lookup_function_v1(
        "memberships_v2(wanted text)",
        "TABLE (org_id uuid, user_id uuid, role text, company_ids uuid[], active boolean, suspended boolean)",
        """
        SELECT u.org_id, u.id, m.role,
          array(SELECT company FROM unnest(m.company_ids) AS company WHERE NOT EXISTS (
            SELECT FROM companies c WHERE c.org_id = u.org_id AND c.company_id = company AND c.status = 'archived')),
          u.status = 'active', coalesce(s.state = 'suspended', false)
        FROM users u JOIN memberships m ON (m.org_id, m.user_id) = (u.org_id, u.id)
        LEFT JOIN org_states s ON s.org_id = u.org_id
        WHERE u.subject = wanted AND s.state IS DISTINCT FROM 'erased'
        """,
    )
    run("CREATE POLICY lookup ON companies FOR SELECT TO CURRENT_USER USING (true);")
