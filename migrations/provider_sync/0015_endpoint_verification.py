"""Whether providers still have our webhooks as they were registered: looked at again and again."""

from libs.database.ddl import run

revision = "provider_sync_0015"
down_revision = "provider_sync_0014"


def upgrade() -> None:
    run(
        """
        ALTER TABLE endpoints
          ADD COLUMN verification text CHECK (verification IN ('whole', 'repaired', 'broken', 'unknown')),
          ADD COLUMN verified_at timestamptz,
          ADD COLUMN checked_at timestamptz,
          ADD COLUMN verification_error text,
          ADD COLUMN repaired_at timestamptz,
          ADD COLUMN repair_sent_at timestamptz;
        COMMENT ON COLUMN endpoints.verification IS 'what the last look at the provider found; NULL: none yet';
        COMMENT ON COLUMN endpoints.verified_at IS 'when the provider last had it as it should be';
        COMMENT ON COLUMN endpoints.checked_at IS 'when it was last looked at, whatever was found';
        COMMENT ON COLUMN endpoints.repair_sent_at IS 'a repair left and its answer is not known (yet)';
        """
    )
    # Those that are registered by now are looked at within six hours, one after the other; the cause is what registered
    # them. FORCE binds the owner too, and no policy gives it rows: where it is no superuser, it would find none.
    run(
        """
        ALTER TABLE endpoints NO FORCE ROW LEVEL SECURITY;
        ALTER TABLE sync_jobs NO FORCE ROW LEVEL SECURITY;
        INSERT INTO sync_jobs (org_id, id, account_id, kind, key, payload, cause, due_at)
          SELECT DISTINCT ON (e.org_id, e.id) e.org_id, gen_random_uuid(), e.account_id, 'verify_webhook',
            'verify_webhook:' || e.id, jsonb_build_object('endpoint_id', e.id), j.cause, now() + random() * interval '6 hours'
          FROM endpoints e JOIN sync_jobs j ON j.org_id = e.org_id AND j.account_id = e.account_id
            AND j.kind = 'register_webhook'
          ORDER BY e.org_id, e.id, j.created_at DESC
          ON CONFLICT (org_id, key) DO NOTHING;
        ALTER TABLE endpoints FORCE ROW LEVEL SECURITY;
        ALTER TABLE sync_jobs FORCE ROW LEVEL SECURITY;
        """
    )
