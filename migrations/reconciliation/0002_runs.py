"""Runs: what was asked, what came back, where it differed."""

from libs.database.ddl import lookup_function_v1, run, tenant_table_v1

revision = "reconciliation_0002"
down_revision = "reconciliation_0001"


def upgrade() -> None:
    run(
        """
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

        CREATE TABLE runs (
          org_id uuid NOT NULL,
          run_id uuid NOT NULL,
          account_id uuid NOT NULL,
          company_id uuid,
          campaign_id uuid,
          requested_by text NOT NULL,
          dry_run boolean NOT NULL,
          state text NOT NULL CHECK (state IN ('requested', 'capturing', 'repairing', 'verifying', 'completed', 'failed')),
          pass_number integer NOT NULL DEFAULT 1,
          parts_expected integer,
          parts_captured integer NOT NULL DEFAULT 0,
          found integer NOT NULL DEFAULT 0,
          repaired integer NOT NULL DEFAULT 0,
          open integer NOT NULL DEFAULT 0,
          error text,
          requested_at timestamptz NOT NULL DEFAULT now(),
          changed_at timestamptz NOT NULL DEFAULT now(),
          completed_at timestamptz,
          PRIMARY KEY (org_id, run_id),
          FOREIGN KEY (org_id, account_id) REFERENCES accounts (org_id, account_id)
        );
        CREATE UNIQUE INDEX runs_active
          ON runs (org_id, account_id, coalesce(campaign_id, '00000000-0000-0000-0000-000000000000'))
          WHERE state NOT IN ('completed', 'failed');
        CREATE INDEX runs_unfinished ON runs (changed_at) WHERE state NOT IN ('completed', 'failed');

        -- A capture of one campaign. `differences` holds what differed: kind, day, missing and surplus keys.
        CREATE TABLE parts (
          org_id uuid NOT NULL,
          run_id uuid NOT NULL,
          pass_number integer NOT NULL,
          part integer NOT NULL,
          parts integer NOT NULL,
          campaign_id uuid,
          campaign_external_id text NOT NULL,
          company_id uuid,
          differences jsonb NOT NULL,
          error text,
          PRIMARY KEY (org_id, run_id, pass_number, part),
          FOREIGN KEY (org_id, run_id) REFERENCES runs (org_id, run_id)
        );

        -- A repair that ended.
        CREATE TABLE answers (
          org_id uuid NOT NULL,
          run_id uuid NOT NULL,
          sync_id uuid NOT NULL,
          pass_number integer NOT NULL,
          campaign_id uuid,
          outcome text NOT NULL,
          error text,
          PRIMARY KEY (org_id, run_id, sync_id),
          FOREIGN KEY (org_id, run_id) REFERENCES runs (org_id, run_id)
        );

        -- One day of one campaign that differed; the keys are those of the last pass in which it did.
        CREATE TABLE drifts (
          org_id uuid NOT NULL,
          drift_id uuid NOT NULL,
          run_id uuid NOT NULL,
          company_id uuid,
          campaign_id uuid NOT NULL,
          campaign_external_id text NOT NULL,
          kind text NOT NULL,
          day date NOT NULL,
          pass_number integer NOT NULL,
          missing jsonb NOT NULL,
          surplus jsonb NOT NULL,
          state text NOT NULL CHECK (state IN ('open', 'repaired', 'unrepaired')),
          PRIMARY KEY (org_id, drift_id),
          FOREIGN KEY (org_id, run_id) REFERENCES runs (org_id, run_id)
        );
        CREATE INDEX drifts_of_run ON drifts (org_id, run_id, drift_id);
        """
    )
    for table in ("accounts", "runs", "parts", "drifts"):
        tenant_table_v1(table, company=True)
    tenant_table_v1("answers", company=False)

    # FORCE binds the owner too; where the administrator is no superuser, the function below would find nothing.
    run("CREATE POLICY lookup ON runs FOR SELECT TO CURRENT_USER USING (true);")
    lookup_function_v1(
        "stuck_runs_v1(timeout_seconds double precision, most integer)",
        "TABLE (org_id uuid, run_id uuid)",
        "SELECT r.org_id, r.run_id FROM runs r WHERE r.state NOT IN ('completed', 'failed') "
        "AND r.changed_at < now() - timeout_seconds * interval '1 second' ORDER BY r.changed_at LIMIT most",
    )
