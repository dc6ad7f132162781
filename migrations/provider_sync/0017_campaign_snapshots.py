"""What a provider last said of a campaign that no event tells: its own counters, and its sequence with all texts."""

from libs.database.ddl import run, tenant_table_v1

revision = "provider_sync_0017"
down_revision = "provider_sync_0016"


def upgrade() -> None:
    # No company of its own: it is read through its campaign, whose policy decides (see 0013's campaign_webhooks).
    run(
        """
        CREATE TABLE campaign_snapshots (
          org_id uuid NOT NULL,
          campaign_id uuid NOT NULL,
          kind text NOT NULL CHECK (kind IN ('figures', 'sequence')),
          content jsonb NOT NULL,
          as_of timestamptz NOT NULL,
          read_at timestamptz NOT NULL DEFAULT now(),
          PRIMARY KEY (org_id, campaign_id, kind)
        );
        COMMENT ON TABLE campaign_snapshots IS 'what the provider last said; each answer replaces the one before';
        COMMENT ON COLUMN campaign_snapshots.as_of IS 'the provider''s clock when it answered, ours where it told none';

        ALTER TABLE sync_jobs DROP CONSTRAINT sync_jobs_kind_check;
        ALTER TABLE sync_jobs ADD CONSTRAINT sync_jobs_kind_check
          CHECK (kind IN ('register_webhook', 'remove_webhook', 'end_token', 'snapshot', 'repair', 'read_back',
                          'test_account', 'read_figures', 'verify_webhook', 'read_sequence'));
        """
    )
    tenant_table_v1("campaign_snapshots", company=False)
