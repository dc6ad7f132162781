"""Schedules: which account is compared how often, and what became of each slot of that grid."""

from libs.database.ddl import lookup_function_v1, run, tenant_table_v1

revision = "reconciliation_0004"
down_revision = "reconciliation_0003"


def upgrade() -> None:
    run(
        """
        -- Slots start at anchor + n * interval_seconds. All before next_slot are decided, or were never to be run.
        CREATE TABLE reconciliation_schedules (
          org_id uuid NOT NULL,
          schedule_id uuid NOT NULL,
          account_id uuid NOT NULL,
          company_id uuid,
          interval_seconds integer NOT NULL CHECK (interval_seconds > 0),
          anchor timestamptz NOT NULL,
          enabled boolean NOT NULL,
          revision bigint NOT NULL DEFAULT 1,
          next_slot timestamptz NOT NULL,
          last_slot timestamptz,
          created_by text NOT NULL,
          created_at timestamptz NOT NULL DEFAULT now(),
          changed_at timestamptz NOT NULL DEFAULT now(),
          PRIMARY KEY (org_id, schedule_id),
          UNIQUE (org_id, account_id),
          FOREIGN KEY (org_id, account_id) REFERENCES accounts (org_id, account_id)
        );
        CREATE INDEX schedules_due ON reconciliation_schedules (next_slot) WHERE enabled;

        -- The key is the last word on "once": whoever starts a slot inserts its row in the transaction of the run.
        CREATE TABLE schedule_slots (
          org_id uuid NOT NULL,
          schedule_id uuid NOT NULL,
          slot timestamptz NOT NULL,
          company_id uuid,
          state text NOT NULL CHECK (state IN ('started', 'skipped')),
          run_id uuid,
          started_by text,
          decided_at timestamptz NOT NULL DEFAULT now(),
          PRIMARY KEY (org_id, schedule_id, slot),
          FOREIGN KEY (org_id, schedule_id) REFERENCES reconciliation_schedules (org_id, schedule_id),
          FOREIGN KEY (org_id, run_id) REFERENCES runs (org_id, run_id)
        );
        """
    )
    tenant_table_v1("reconciliation_schedules", company=True)
    tenant_table_v1("schedule_slots", company=True)

    # As for runs: FORCE binds the owner too; where the administrator is no superuser, the function would find nothing.
    run("CREATE POLICY lookup ON reconciliation_schedules FOR SELECT TO CURRENT_USER USING (true);")
    lookup_function_v1(
        "due_schedules_v1(moment timestamp with time zone, past uuid, most integer)",
        "TABLE (org_id uuid, schedule_id uuid)",
        "SELECT s.org_id, s.schedule_id FROM reconciliation_schedules s WHERE s.enabled AND s.next_slot <= moment "
        "AND (past IS NULL OR s.schedule_id > past) ORDER BY s.schedule_id LIMIT most",
    )
