"""What each account may still ask of its provider, and why one is left alone."""

from libs.database.ddl import lookup_function_v1, run, tenant_table_v1

revision = "provider_sync_0007"
down_revision = "provider_sync_0006"


def upgrade() -> None:
    run(
        """
        ALTER TABLE accounts ADD COLUMN status_reason text;
        CREATE TABLE account_budgets (
          org_id uuid NOT NULL,
          account_id uuid NOT NULL,
          calls_left double precision NOT NULL,
          counted_at timestamptz NOT NULL,
          paused_until timestamptz,
          pause_reason text NOT NULL DEFAULT '',
          failures integer NOT NULL DEFAULT 0,
          probing_until timestamptz,
          PRIMARY KEY (org_id, account_id),
          FOREIGN KEY (org_id, account_id) REFERENCES accounts
        ) WITH (fillfactor = 50);
        DROP FUNCTION orgs_with_due_jobs_v2(integer);
        """
    )
    tenant_table_v1("account_budgets", company=False)
    run("CREATE POLICY lookup ON account_budgets FOR SELECT TO CURRENT_USER USING (true);")
    lookup_function_v1(
        "orgs_with_due_jobs_v3(most integer)",
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
                              AND a.status <> 'active')
              AND NOT EXISTS (SELECT 1 FROM account_budgets b WHERE b.org_id = j.org_id AND b.account_id = j.account_id
                              AND b.paused_until > now())
          ) ORDER BY random() LIMIT most
        """,
    )
