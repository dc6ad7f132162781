"""What analytics hears: facts, the present state folded from them, and what is known about their completeness.

No foreign keys between projections: a child may be heard before its parent, and both are rebuilt from `facts` alone.
"""

from libs.database.ddl import run, tenant_table_v1

revision = "analytics_0002"
down_revision = "analytics_0001"


def upgrade() -> None:
    run(
        """
        CREATE TABLE facts (
          org_id uuid NOT NULL,
          subject text NOT NULL,
          version bigint NOT NULL,
          type text NOT NULL,
          event_id uuid NOT NULL,
          company_id uuid,
          recorded_at timestamptz NOT NULL,
          data jsonb NOT NULL,
          PRIMARY KEY (org_id, subject, version)
        );

        -- revision 0: heard of through its children only.
        CREATE TABLE campaigns (
          org_id uuid NOT NULL,
          campaign_id uuid NOT NULL,
          revision bigint NOT NULL,
          account_id uuid NOT NULL,
          company_id uuid,
          provider text,
          channel text,
          external_id text,
          name text,
          status text,
          source text,
          PRIMARY KEY (org_id, campaign_id)
        );

        CREATE TABLE steps (
          org_id uuid NOT NULL,
          step_id uuid NOT NULL,
          revision bigint NOT NULL,
          account_id uuid NOT NULL,
          company_id uuid,
          campaign_id uuid NOT NULL,
          number integer NOT NULL,
          name text,
          delay_days integer,
          source text NOT NULL,
          PRIMARY KEY (org_id, step_id)
        );
        CREATE INDEX steps_of_campaign ON steps (org_id, campaign_id, number);

        CREATE TABLE messages (
          org_id uuid NOT NULL,
          message_id uuid NOT NULL,
          revision bigint NOT NULL,
          account_id uuid NOT NULL,
          company_id uuid,
          campaign_id uuid,
          lead_id uuid NOT NULL,
          direction text NOT NULL,
          step_number integer,
          occurred_at timestamptz,
          source text NOT NULL,
          PRIMARY KEY (org_id, message_id)
        );
        CREATE INDEX messages_of_campaign ON messages (org_id, campaign_id, step_number);

        CREATE TABLE engagements (
          org_id uuid NOT NULL,
          engagement_id uuid NOT NULL,
          revision bigint NOT NULL,
          account_id uuid NOT NULL,
          company_id uuid,
          campaign_id uuid,
          lead_id uuid NOT NULL,
          message_id uuid,
          kind text NOT NULL,
          step_number integer,
          occurred_at timestamptz NOT NULL,
          source text NOT NULL,
          PRIMARY KEY (org_id, engagement_id)
        );
        CREATE INDEX engagements_of_campaign ON engagements (org_id, campaign_id, step_number);

        -- When the newest of each kind was told. Several slots, so that batches of one org do not queue for one row.
        CREATE TABLE freshness (
          org_id uuid NOT NULL,
          kind text NOT NULL CHECK (kind IN ('facts', 'ledger')),
          slot integer NOT NULL,
          told_at timestamptz NOT NULL,
          PRIMARY KEY (org_id, kind, slot)
        );
        """
    )
    for table in ("facts", "campaigns", "steps", "messages", "engagements"):
        tenant_table_v1(table, company=True)
    tenant_table_v1("freshness", company=False)
