"""Accounts and their endpoints, the one model of what providers told, and the work that must be done at providers."""

from libs.database.ddl import lookup_function_v1, run, tenant_table_v1

revision = "provider_sync_0002"
down_revision = "provider_sync_0001"

_WITH_COMPANY = (
    "companies",
    "accounts",
    "client_companies",
    "campaigns",
    "sequence_steps",
    "conversations",
    "messages",
    "engagements",
)
_OF_THE_ORG = ("endpoints", "leads", "unknown_webhooks", "sync_jobs")


def upgrade() -> None:
    run(
        """
        CREATE TABLE companies (
          org_id uuid NOT NULL,
          company_id uuid NOT NULL,
          name text NOT NULL,
          PRIMARY KEY (org_id, company_id)
        );

        CREATE TABLE accounts (
          org_id uuid NOT NULL,
          id uuid NOT NULL,
          provider text NOT NULL,
          channel text NOT NULL CHECK (channel IN ('email', 'linkedin')),
          name text NOT NULL,
          base_url text,
          company_id uuid NOT NULL,
          status text NOT NULL CHECK (status IN ('active', 'paused', 'needs_reauth')),
          credentials bytea NOT NULL,
          revision integer NOT NULL,
          created_at timestamptz NOT NULL DEFAULT now(),
          PRIMARY KEY (org_id, id),
          FOREIGN KEY (org_id, company_id) REFERENCES companies
        );
        COMMENT ON COLUMN accounts.company_id IS 'the company of all that no client mapping gives to another';
        COMMENT ON COLUMN accounts.credentials IS 'sealed';

        CREATE TABLE client_companies (
          org_id uuid NOT NULL,
          account_id uuid NOT NULL,
          client_external_id text NOT NULL,
          company_id uuid NOT NULL,
          PRIMARY KEY (org_id, account_id, client_external_id),
          FOREIGN KEY (org_id, account_id) REFERENCES accounts,
          FOREIGN KEY (org_id, company_id) REFERENCES companies
        );
        COMMENT ON TABLE client_companies IS 'which company a sub-account of the provider is';

        CREATE TABLE endpoints (
          org_id uuid NOT NULL,
          id uuid NOT NULL,
          account_id uuid NOT NULL,
          token bytea NOT NULL,
          token_sha256 text NOT NULL,
          status text NOT NULL CHECK (status IN ('pending', 'ready', 'sent', 'registered', 'unknown', 'failed')),
          provider_webhook_id text,
          error text,
          last_webhook_at timestamptz,
          revision integer NOT NULL,
          PRIMARY KEY (org_id, id),
          FOREIGN KEY (org_id, account_id) REFERENCES accounts
        );
        COMMENT ON COLUMN endpoints.token IS 'sealed';
        COMMENT ON COLUMN endpoints.status IS
          'pending: the door does not know it; ready: it does; sent: registering; unknown: no answer, a person decides';
        CREATE INDEX endpoints_of_account ON endpoints (org_id, account_id);
        """
    )
    # What follows has no foreign keys: ids are derived and parents are inserted with their children, while each check
    # would lock a parent's row that all webhooks of a campaign share. `versions` is {field: [seen_at, rank, hash]}.
    run(
        """
        CREATE TABLE campaigns (
          org_id uuid NOT NULL,
          id uuid NOT NULL,
          account_id uuid NOT NULL,
          company_id uuid NOT NULL,
          external_id text NOT NULL,
          channel text NOT NULL,
          name text,
          status text,
          client_external_id text,
          sources smallint NOT NULL,
          versions jsonb NOT NULL,
          revision integer NOT NULL,
          created_at timestamptz NOT NULL DEFAULT now(),
          updated_at timestamptz NOT NULL DEFAULT now(),
          PRIMARY KEY (org_id, id)
        );
        CREATE INDEX campaigns_newest ON campaigns (org_id, channel, created_at DESC, id DESC);

        CREATE TABLE sequence_steps (
          org_id uuid NOT NULL,
          id uuid NOT NULL,
          account_id uuid NOT NULL,
          company_id uuid NOT NULL,
          key text NOT NULL,
          campaign_id uuid NOT NULL,
          number integer NOT NULL,
          external_id text,
          subject text,
          delay_days integer,
          sources smallint NOT NULL,
          versions jsonb NOT NULL,
          revision integer NOT NULL,
          updated_at timestamptz NOT NULL DEFAULT now(),
          PRIMARY KEY (org_id, id)
        );
        CREATE INDEX sequence_steps_of_campaign ON sequence_steps (org_id, campaign_id, number);

        CREATE TABLE leads (
          org_id uuid NOT NULL,
          id uuid NOT NULL,
          account_id uuid NOT NULL,
          key text NOT NULL,
          external_id text,
          email text,
          profile_url text,
          first_name text,
          last_name text,
          company_name text,
          title text,
          phone text,
          location text,
          sources smallint NOT NULL,
          versions jsonb NOT NULL,
          revision integer NOT NULL,
          created_at timestamptz NOT NULL DEFAULT now(),
          updated_at timestamptz NOT NULL DEFAULT now(),
          PRIMARY KEY (org_id, id)
        );
        CREATE INDEX leads_newest ON leads (org_id, created_at DESC, id DESC);
        CREATE INDEX leads_by_email ON leads USING hash (email);

        CREATE TABLE conversations (
          org_id uuid NOT NULL,
          id uuid NOT NULL,
          account_id uuid NOT NULL,
          company_id uuid NOT NULL,
          key text NOT NULL,
          channel text NOT NULL,
          lead_id uuid,
          campaign_id uuid,
          external_id text,
          subject text,
          category text,
          sentiment text,
          last_activity_at timestamptz,
          last_direction text,
          sources smallint NOT NULL,
          versions jsonb NOT NULL,
          revision integer NOT NULL,
          updated_at timestamptz NOT NULL DEFAULT now(),
          PRIMARY KEY (org_id, id)
        );
        CREATE INDEX conversations_newest ON conversations (org_id, coalesce(last_activity_at, '-infinity') DESC, id DESC);
        CREATE INDEX conversations_of_lead ON conversations (org_id, lead_id);
        CREATE INDEX conversations_of_campaign ON conversations (org_id, campaign_id);

        CREATE TABLE messages (
          org_id uuid NOT NULL,
          id uuid NOT NULL,
          account_id uuid NOT NULL,
          company_id uuid NOT NULL,
          key text NOT NULL,
          channel text NOT NULL,
          conversation_id uuid,
          campaign_id uuid,
          lead_id uuid,
          direction text,
          stated_step integer,
          occurred_at timestamptz,
          from_address text,
          to_address text,
          subject text,
          body_text text,
          body_html text,
          internet_message_id text,
          in_reply_to_id uuid,
          step_number integer,
          step_source text,
          sources smallint NOT NULL,
          versions jsonb NOT NULL,
          revision integer NOT NULL,
          updated_at timestamptz NOT NULL DEFAULT now(),
          PRIMARY KEY (org_id, id)
        );
        COMMENT ON COLUMN messages.direction IS 'NULL: only referred to, never told of itself';
        COMMENT ON COLUMN messages.step_number IS 'the stated step, else that of the message which this one answers';
        CREATE INDEX messages_of_conversation ON messages (org_id, conversation_id, occurred_at, id);
        CREATE INDEX messages_of_campaign ON messages (org_id, campaign_id);
        CREATE INDEX messages_without_step ON messages (org_id, in_reply_to_id)
          WHERE stated_step IS NULL AND in_reply_to_id IS NOT NULL;

        CREATE TABLE engagements (
          org_id uuid NOT NULL,
          id uuid NOT NULL,
          account_id uuid NOT NULL,
          company_id uuid NOT NULL,
          key text NOT NULL,
          channel text NOT NULL,
          kind text NOT NULL,
          campaign_id uuid,
          lead_id uuid NOT NULL,
          message_id uuid,
          step_number integer,
          occurred_at timestamptz NOT NULL,
          details jsonb NOT NULL,
          sources smallint NOT NULL,
          versions jsonb NOT NULL,
          revision integer NOT NULL,
          updated_at timestamptz NOT NULL DEFAULT now(),
          PRIMARY KEY (org_id, id)
        );
        CREATE INDEX engagements_of_campaign ON engagements (org_id, campaign_id);

        CREATE TABLE unknown_webhooks (
          org_id uuid NOT NULL,
          account_id uuid NOT NULL,
          event_type text NOT NULL,
          count bigint NOT NULL,
          first_seen timestamptz NOT NULL,
          last_seen timestamptz NOT NULL,
          PRIMARY KEY (org_id, account_id, event_type)
        );
        COMMENT ON TABLE unknown_webhooks IS 'webhooks that stated nothing we can read, counted';

        CREATE TABLE sync_jobs (
          org_id uuid NOT NULL,
          id uuid NOT NULL,
          account_id uuid NOT NULL,
          kind text NOT NULL CHECK (kind IN ('register_webhook', 'snapshot', 'repair', 'read_back')),
          key text NOT NULL,
          payload jsonb NOT NULL,
          cause bytea NOT NULL,
          state text NOT NULL DEFAULT 'due' CHECK (state IN ('due', 'running', 'done', 'failed')),
          wanted integer NOT NULL DEFAULT 1,
          takes integer NOT NULL DEFAULT 0,
          attempts integer NOT NULL DEFAULT 0,
          due_at timestamptz NOT NULL DEFAULT now(),
          lease_until timestamptz,
          error text,
          created_at timestamptz NOT NULL DEFAULT now(),
          changed_at timestamptz NOT NULL DEFAULT now(),
          PRIMARY KEY (org_id, id),
          UNIQUE (org_id, key)
        );
        COMMENT ON COLUMN sync_jobs.wanted IS 'how often it was asked for: a wish that comes while it runs makes it due again';
        COMMENT ON COLUMN sync_jobs.takes IS 'the fence: who took it as the n-th may settle it only while this is n';
        COMMENT ON COLUMN sync_jobs.attempts IS 'takes since it was last asked for anew';
        COMMENT ON COLUMN sync_jobs.cause IS 'the envelope of the event that asked';
        CREATE INDEX sync_jobs_open ON sync_jobs (org_id, due_at) WHERE state IN ('due', 'running');
        """
    )
    for table in _WITH_COMPANY:
        tenant_table_v1(table, company=True)
    for table in _OF_THE_ORG:
        tenant_table_v1(table, company=False)
    # A lead belongs to the account and may be written to for several companies: who may see one of the conversations
    # (whose own policy decides that) may see the lead.
    run(
        """
        CREATE POLICY company ON leads AS RESTRICTIVE
          USING ((SELECT app_all_companies())
            OR EXISTS (SELECT 1 FROM conversations c WHERE c.org_id = leads.org_id AND c.lead_id = leads.id));
        """
    )
    # FORCE binds the owner too; where the administrator is no superuser, the function below would find nothing.
    run("CREATE POLICY lookup ON sync_jobs FOR SELECT TO CURRENT_USER USING (true);")
    # Hops over the index from org to org, so that a flood of one org is not read to find the others.
    lookup_function_v1(
        "orgs_with_due_jobs(most integer)",
        "SETOF uuid",
        """
        WITH RECURSIVE orgs AS (
          (SELECT j.org_id FROM sync_jobs j WHERE j.state IN ('due', 'running') ORDER BY j.org_id LIMIT 1)
          UNION ALL
          SELECT (SELECT j.org_id FROM sync_jobs j WHERE j.state IN ('due', 'running') AND j.org_id > orgs.org_id
                  ORDER BY j.org_id LIMIT 1)
          FROM orgs WHERE orgs.org_id IS NOT NULL
        )
        SELECT orgs.org_id FROM orgs WHERE orgs.org_id IS NOT NULL AND EXISTS (
          SELECT 1 FROM sync_jobs j WHERE j.org_id = orgs.org_id AND j.state IN ('due', 'running') AND j.due_at <= now()
            AND (j.state = 'due' OR j.lease_until < now())
        ) ORDER BY random() LIMIT most
        """,
    )
