"""Whose facts they are (tenants, accounts), how complete (drift, syncs), and the counts of every hop."""

from libs.database.ddl import run, tenant_table_v1

revision = "analytics_0003"
down_revision = "analytics_0002"


def upgrade() -> None:
    run(
        """
        CREATE TABLE organizations (
          org_id uuid PRIMARY KEY,
          name text NOT NULL,
          time_zone text NOT NULL
        );

        CREATE TABLE companies (
          org_id uuid NOT NULL,
          company_id uuid NOT NULL,
          name text NOT NULL,
          PRIMARY KEY (org_id, company_id)
        );

        CREATE TABLE accounts (
          org_id uuid NOT NULL,
          account_id uuid NOT NULL,
          revision bigint NOT NULL,
          company_id uuid,
          provider text NOT NULL,
          channel text NOT NULL,
          name text NOT NULL,
          status text NOT NULL,
          PRIMARY KEY (org_id, account_id)
        );

        -- Open while it is newer than the campaign's row in `reconciled`.
        CREATE TABLE drifts (
          org_id uuid NOT NULL,
          campaign_id uuid NOT NULL,
          kind text NOT NULL,
          account_id uuid NOT NULL,
          run_id uuid NOT NULL,
          missing integer NOT NULL,
          surplus integer NOT NULL,
          told_at timestamptz NOT NULL,
          event_id uuid NOT NULL,
          PRIMARY KEY (org_id, campaign_id, kind)
        );

        CREATE TABLE reconciled (
          org_id uuid NOT NULL,
          campaign_id uuid NOT NULL,
          account_id uuid NOT NULL,
          run_id uuid NOT NULL,
          told_at timestamptz NOT NULL,
          event_id uuid NOT NULL,
          PRIMARY KEY (org_id, campaign_id)
        );

        CREATE TABLE syncs (
          org_id uuid NOT NULL,
          account_id uuid NOT NULL,
          kind text NOT NULL,
          outcome text NOT NULL,
          count bigint NOT NULL,
          objects bigint NOT NULL,
          last_at timestamptz NOT NULL,
          PRIMARY KEY (org_id, account_id, kind, outcome)
        );

        CREATE TABLE ledger_counts (
          org_id uuid NOT NULL,
          event_type text NOT NULL,
          hop text NOT NULL,
          bucket timestamptz NOT NULL,
          state text NOT NULL,
          service text NOT NULL,
          count bigint NOT NULL,
          ids_xor bit(128) NOT NULL,
          PRIMARY KEY (org_id, event_type, hop, bucket, state, service)
        );
        """
    )
    tenant_table_v1("companies", company=True)
    tenant_table_v1("accounts", company=True)
    for table in ("organizations", "drifts", "reconciled", "syncs", "ledger_counts"):
        tenant_table_v1(table, company=False)
