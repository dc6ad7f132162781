"""What a key may, where that is less than its role; and a look-up that tells it."""

from libs.database.ddl import lookup_function_v1, run

revision = "gateway_0007"
down_revision = "gateway_0006"


def upgrade() -> None:
    # NULL: all that the role may, also what it may one day.
    # A replica of the version before knows no scopes: to it such a key is none, or it would open everything there.
    run(
        """
        ALTER TABLE api_keys ADD COLUMN scopes text[] CHECK (cardinality(scopes) > 0);
        DROP FUNCTION api_key_v1(uuid);
        CREATE OR REPLACE FUNCTION api_key_v2(wanted uuid) RETURNS TABLE (org_id uuid, role text, company_ids uuid[],
          secret_hmac bytea, pepper_version integer, previous_hmac bytea, previous_pepper_version integer,
          previous_ends_at timestamptz, expires_at timestamptz, revoked boolean, suspended boolean)
          LANGUAGE sql STABLE SECURITY DEFINER SET search_path = gateway, pg_temp AS $$
          SELECT k.org_id, k.role, k.company_ids, k.secret_hmac, k.pepper_version, k.previous_hmac,
            k.previous_pepper_version, k.previous_ends_at, k.expires_at, k.revoked_at IS NOT NULL,
            coalesce((SELECT o.status = 'suspended' FROM organizations o WHERE o.org_id = k.org_id), false)
          FROM api_keys k WHERE k.id = wanted AND k.scopes IS NULL $$;
        """
    )
    lookup_function_v1(
        "api_key_v3(wanted uuid)",
        "TABLE (org_id uuid, role text, scopes text[], company_ids uuid[], secret_hmac bytea, pepper_version integer, "
        "previous_hmac bytea, previous_pepper_version integer, previous_ends_at timestamptz, expires_at timestamptz, "
        "revoked boolean, suspended boolean)",
        """
        SELECT k.org_id, k.role, k.scopes, k.company_ids, k.secret_hmac, k.pepper_version, k.previous_hmac,
          k.previous_pepper_version, k.previous_ends_at, k.expires_at, k.revoked_at IS NOT NULL,
          coalesce((SELECT o.status = 'suspended' FROM organizations o WHERE o.org_id = k.org_id), false)
        FROM api_keys k WHERE k.id = wanted
        """,
    )
