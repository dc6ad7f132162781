"""How an account's messages are followed, and work that somebody asked for by hand."""

from libs.database.ddl import lookup_function_v1, run

revision = "provider_sync_0009"
down_revision = "provider_sync_0008"


def upgrade() -> None:
    run(
        """
        ALTER TABLE accounts ADD COLUMN sync_mode text CHECK (sync_mode IN ('webhook_only', 'pull_best_effort'));
        COMMENT ON COLUMN accounts.sync_mode IS 'as somebody chose it; NULL: nobody did, the provider decides';
        CREATE INDEX messages_of_account ON messages (org_id, account_id, occurred_at);

        ALTER TABLE sync_jobs DROP CONSTRAINT sync_jobs_kind_check;
        ALTER TABLE sync_jobs ADD CONSTRAINT sync_jobs_kind_check
          CHECK (kind IN ('register_webhook', 'remove_webhook', 'end_token', 'snapshot', 'repair', 'read_back',
                          'test_account', 'read_figures', 'verify_webhook'));
        DROP FUNCTION orgs_with_due_jobs_v3(integer);
        """
    )
    # As before, and whether an account works is asked of its provider also while it does not.
    lookup_function_v1(
        "orgs_with_due_jobs_v4(most integer)",
        "SETOF uuid",
        """
        WITH RECURSIVE orgs AS (
          (SELECT j.org_id FROM sync_jobs j WHERE j.state IN ('due', 'running') ORDER BY j.org_id LIMIT 1)
          UNION ALL
          SELECT (SELECT j.org_id FROM sync_jobs j WHERE j.state IN ('due', 'running') AND j.org_id > orgs.org_id
                  ORDER BY j.org_id LIMIT 1)
          FROM orgs WHERE orgs.org_id IS NOT NULL
        )
        SELECT orgs.org_id FROM orgs WHERE orgs.org_id IS NOT NULL
          AND NOT EXISTS (SELECT 1 FROM org_states s WHERE s.org_id = orgs.org_id AND s.state <> 'active')
          AND EXISTS (
            SELECT 1 FROM sync_jobs j WHERE j.org_id = orgs.org_id AND j.state IN ('due', 'running') AND j.due_at <= now()
              AND (j.state = 'due' OR j.lease_until < now())
              AND NOT EXISTS (SELECT 1 FROM accounts a WHERE a.org_id = j.org_id AND a.id = j.account_id
                              AND a.status <> 'active' AND j.kind <> 'test_account')
              AND NOT EXISTS (SELECT 1 FROM account_budgets b WHERE b.org_id = j.org_id AND b.account_id = j.account_id
                              AND b.paused_until > now())
          ) ORDER BY random() LIMIT most
        """,
    )
