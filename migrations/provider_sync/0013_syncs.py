"""Readings of whole accounts, how far each has come, and where the next one begins."""

from libs.database.ddl import lookup_function_v1, run, tenant_table_v1

revision = "provider_sync_0013"
down_revision = "provider_sync_0012"


def upgrade() -> None:
    run(
        """
        CREATE TABLE sync_runs (
          org_id uuid NOT NULL,
          id uuid NOT NULL,
          account_id uuid NOT NULL,
          company_id uuid NOT NULL,
          campaign_id uuid,
          campaign_external_id text,
          reason text NOT NULL CHECK (reason IN ('schedule', 'request')),
          is_full boolean NOT NULL,
          operation_id uuid,
          state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'running', 'succeeded', 'failed')),
          takes integer NOT NULL DEFAULT 0,
          attempts integer NOT NULL DEFAULT 0,
          due_at timestamptz NOT NULL DEFAULT now(),
          lease_until timestamptz,
          signpost timestamptz,
          feeds_done integer NOT NULL DEFAULT 0,
          feeds_total integer,
          pages integer NOT NULL DEFAULT 0,
          rows_seen bigint NOT NULL DEFAULT 0,
          rows_changed bigint NOT NULL DEFAULT 0,
          restarts integer NOT NULL DEFAULT 0,
          error_code text,
          error text,
          created_at timestamptz NOT NULL DEFAULT now(),
          started_at timestamptz,
          changed_at timestamptz NOT NULL DEFAULT now(),
          ended_at timestamptz,
          PRIMARY KEY (org_id, id),
          FOREIGN KEY (org_id, account_id) REFERENCES accounts
        );
        COMMENT ON TABLE sync_runs IS 'one reading of all that an account holds, or one of its campaigns (campaign_id)';
        COMMENT ON COLUMN sync_runs.takes IS 'the fence: who took it as the n-th may go on with it only while this is n';
        COMMENT ON COLUMN sync_runs.attempts IS 'takes since it last came forward';
        COMMENT ON COLUMN sync_runs.signpost IS 'the provider''s time when it began: the next reading begins no later';
        COMMENT ON COLUMN sync_runs.feeds_total IS 'NULL: its campaigns are not listed yet';
        CREATE UNIQUE INDEX sync_runs_open ON sync_runs (org_id, account_id) WHERE state IN ('pending', 'running');
        CREATE INDEX sync_runs_newest ON sync_runs (org_id, created_at DESC, id DESC);
        CREATE INDEX sync_runs_of_account ON sync_runs (org_id, account_id, created_at DESC, id DESC);

        CREATE TABLE sync_cursors (
          org_id uuid NOT NULL,
          account_id uuid NOT NULL,
          feed text NOT NULL,
          campaign_external_id text NOT NULL,
          run_id uuid,
          place integer NOT NULL DEFAULT 0,
          is_open boolean NOT NULL DEFAULT false,
          is_full boolean NOT NULL DEFAULT false,
          since timestamptz,
          until timestamptz,
          whole_until timestamptz,
          after text,
          next_mark text,
          pages integer NOT NULL DEFAULT 0,
          restarts integer NOT NULL DEFAULT 0,
          bookmark timestamptz,
          mark text,
          read_at timestamptz,
          full_at timestamptz,
          error text,
          PRIMARY KEY (org_id, account_id, feed, campaign_external_id),
          FOREIGN KEY (org_id, account_id) REFERENCES accounts
        );
        COMMENT ON COLUMN sync_cursors.campaign_external_id IS 'empty: of the whole account';
        COMMENT ON COLUMN sync_cursors.bookmark IS 'the provider''s time up to which all is read';
        COMMENT ON COLUMN sync_cursors.after IS 'the page that follows what is kept of the reading under way';
        COMMENT ON COLUMN sync_cursors.whole_until IS 'what the provider did not tell whole yet begins here';
        COMMENT ON COLUMN sync_cursors.mark IS 'what the provider''s list said when the feed was last read to its end';
        CREATE INDEX sync_cursors_open ON sync_cursors (org_id, run_id, place) WHERE is_open;
        CREATE INDEX sync_cursors_of_campaign ON sync_cursors (org_id, account_id, campaign_external_id);

        CREATE TABLE campaign_webhooks (
          org_id uuid NOT NULL,
          campaign_id uuid NOT NULL,
          first_at timestamptz NOT NULL,
          last_at timestamptz NOT NULL,
          PRIMARY KEY (org_id, campaign_id)
        ) WITH (fillfactor = 50);
        COMMENT ON TABLE campaign_webhooks IS 'when webhooks told of a campaign; last_at is kept to ten seconds';
        """
    )
    tenant_table_v1("sync_runs", company=True)
    for table in ("sync_cursors", "campaign_webhooks"):
        tenant_table_v1(table, company=False)
    # FORCE binds the owner too; where the administrator is no superuser, the functions below would find nothing.
    run("CREATE POLICY lookup ON sync_runs FOR SELECT TO CURRENT_USER USING (true);")
    lookup_function_v1(
        "orgs_with_due_syncs_v1(most integer)",
        "SETOF uuid",
        """
        SELECT r.org_id FROM sync_runs r WHERE r.state IN ('pending', 'running') AND r.due_at <= now()
          AND (r.lease_until IS NULL OR r.lease_until < now())
          AND NOT EXISTS (SELECT 1 FROM org_states s WHERE s.org_id = r.org_id AND s.state <> 'active')
          AND NOT EXISTS (SELECT 1 FROM accounts a WHERE a.org_id = r.org_id AND a.id = r.account_id AND a.status <> 'active')
          AND NOT EXISTS (SELECT 1 FROM account_budgets b WHERE b.org_id = r.org_id AND b.account_id = r.account_id
                          AND b.paused_until > now())
        GROUP BY r.org_id ORDER BY random() LIMIT most
        """,
    )
    # `always`: the providers of which every account is read by itself; `chosen`: of which those are that chose it.
    lookup_function_v1(
        "orgs_to_sync_v1(every_seconds double precision, always text[], chosen text[], most integer)",
        "SETOF uuid",
        """
        SELECT a.org_id FROM accounts a WHERE a.status = 'active'
          AND (a.provider = ANY(always) OR (a.provider = ANY(chosen) AND a.sync_mode = 'pull_best_effort'))
          AND a.created_at <= now() - every_seconds * interval '1 second'
          AND NOT EXISTS (SELECT 1 FROM org_states s WHERE s.org_id = a.org_id AND s.state <> 'active')
          AND NOT EXISTS (SELECT 1 FROM sync_runs r WHERE r.org_id = a.org_id AND r.account_id = a.id
                          AND (r.created_at > now() - every_seconds * interval '1 second'
                               OR r.state IN ('pending', 'running')))
        GROUP BY a.org_id ORDER BY random() LIMIT most
        """,
    )
