"""A second secret per key while it is being replaced, and when a key was last used."""

from libs.database.ddl import lookup_function_v1, run

revision = "gateway_0003"
down_revision = "gateway_0002"


def upgrade() -> None:
    # The newest secret stays where it was, so a replica of the version before goes on meanwhile.
    run(
        """
        ALTER TABLE api_keys
          ADD COLUMN secret_made_at timestamptz,
          ADD COLUMN previous_hmac bytea,
          ADD COLUMN previous_pepper_version integer,
          ADD COLUMN previous_last4 text,
          ADD COLUMN previous_made_at timestamptz,
          ADD COLUMN previous_ends_at timestamptz,
          ADD COLUMN last_used_at timestamptz;
        """
    )
    lookup_function_v1(
        "api_key_v2(wanted uuid)",
        "TABLE (org_id uuid, role text, company_ids uuid[], secret_hmac bytea, pepper_version integer, previous_hmac bytea, "
        "previous_pepper_version integer, previous_ends_at timestamptz, expires_at timestamptz, revoked boolean, "
        "suspended boolean)",
        """
        SELECT k.org_id, k.role, k.company_ids, k.secret_hmac, k.pepper_version, k.previous_hmac,
          k.previous_pepper_version, k.previous_ends_at, k.expires_at, k.revoked_at IS NOT NULL,
          coalesce((SELECT o.status = 'suspended' FROM organizations o WHERE o.org_id = k.org_id), false)
        FROM api_keys k WHERE k.id = wanted
        """,
    )
