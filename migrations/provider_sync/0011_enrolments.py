"""Who is in which campaign, and which account of ours speaks in a conversation."""

from libs.database.ddl import run, tenant_table_v1

revision = "provider_sync_0011"
down_revision = "provider_sync_0010"


def upgrade() -> None:
    # No foreign keys, as of all entities: see 0002.
    run(
        """
        CREATE TABLE enrolments (
          org_id uuid NOT NULL,
          id uuid NOT NULL,
          account_id uuid NOT NULL,
          company_id uuid NOT NULL,
          key text NOT NULL,
          channel text NOT NULL,
          campaign_id uuid NOT NULL,
          lead_id uuid NOT NULL,
          external_id text,
          state text,
          added_at timestamptz,
          sources smallint NOT NULL,
          versions jsonb NOT NULL,
          revision integer NOT NULL,
          updated_at timestamptz NOT NULL DEFAULT now(),
          PRIMARY KEY (org_id, id)
        );
        COMMENT ON COLUMN enrolments.state IS 'how far the lead is in the campaign, when last seen; NULL: nobody said';
        CREATE INDEX enrolments_of_lead ON enrolments (org_id, lead_id);
        CREATE INDEX enrolments_of_campaign ON enrolments (org_id, campaign_id);

        ALTER TABLE conversations ADD COLUMN sender_external_id text;
        COMMENT ON COLUMN conversations.sender_external_id IS
          'the account of ours that speaks, by the provider''s id; NULL: not told, or the provider needs none to answer';
        """
    )
    tenant_table_v1("enrolments", company=True)
    # Who was put into a campaign and never written to is seen by whoever sees the campaign's part of it.
    run(
        """
        ALTER POLICY company ON leads
          USING ((SELECT app_all_companies())
            OR EXISTS (SELECT 1 FROM conversations c WHERE c.org_id = leads.org_id AND c.lead_id = leads.id)
            OR EXISTS (SELECT 1 FROM engagements e WHERE e.org_id = leads.org_id AND e.lead_id = leads.id)
            OR EXISTS (SELECT 1 FROM enrolments n WHERE n.org_id = leads.org_id AND n.lead_id = leads.id));
        """
    )
