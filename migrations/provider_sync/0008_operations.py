"""Changes that people asked for at providers, and the ledger of the calls that make them."""

from libs.database.ddl import lookup_function_v1, run, tenant_table_v1

revision = "provider_sync_0008"
down_revision = "provider_sync_0007"


def upgrade() -> None:
    run(
        """
        CREATE TABLE operations (
          org_id uuid NOT NULL,
          id uuid NOT NULL,
          account_id uuid NOT NULL,
          company_id uuid NOT NULL,
          kind text NOT NULL,
          target text NOT NULL,
          arguments jsonb NOT NULL,
          state text NOT NULL DEFAULT 'pending'
            CHECK (state IN ('pending', 'running', 'succeeded', 'failed', 'unknown', 'cancelled')),
          needs_decision boolean NOT NULL DEFAULT false,
          result jsonb NOT NULL DEFAULT '{}',
          error_code text,
          error text,
          note text,
          actor text NOT NULL,
          idempotency_key text,
          fingerprint bytea NOT NULL,
          done integer NOT NULL DEFAULT 0,
          total integer NOT NULL,
          revision integer NOT NULL DEFAULT 1,
          created_at timestamptz NOT NULL DEFAULT now(),
          changed_at timestamptz NOT NULL DEFAULT now(),
          completed_at timestamptz,
          PRIMARY KEY (org_id, id),
          UNIQUE (org_id, actor, idempotency_key),
          FOREIGN KEY (org_id, account_id) REFERENCES accounts
        );
        COMMENT ON COLUMN operations.kind IS 'the name of the write, as capabilities name it';
        COMMENT ON COLUMN operations.target IS 'the public id of what is changed; of what is to be made, of its account';
        COMMENT ON COLUMN operations.arguments IS 'as they were asked for, in provider-neutral words; parts are in effects';
        COMMENT ON COLUMN operations.fingerprint IS 'SHA-256 of what was asked for: the same key asks for the same';
        COMMENT ON COLUMN operations.note IS 'what the person wrote who decided';

        CREATE TABLE effects (
          org_id uuid NOT NULL,
          id uuid NOT NULL,
          operation_id uuid NOT NULL,
          part integer NOT NULL,
          account_id uuid NOT NULL,
          company_id uuid NOT NULL,
          kind text NOT NULL,
          target text NOT NULL,
          arguments jsonb NOT NULL,
          state text NOT NULL DEFAULT 'intent'
            CHECK (state IN ('intent', 'sent', 'unknown', 'done', 'refused', 'cancelled')),
          holder text,
          takes integer NOT NULL DEFAULT 0,
          sends integer NOT NULL DEFAULT 0,
          attempts integer NOT NULL DEFAULT 0,
          due_at timestamptz DEFAULT now(),
          lease_until timestamptz,
          sent_at timestamptz,
          deadline timestamptz,
          result jsonb,
          evidence text,
          error_code text,
          error text,
          created_at timestamptz NOT NULL DEFAULT now(),
          changed_at timestamptz NOT NULL DEFAULT now(),
          PRIMARY KEY (org_id, id),
          UNIQUE (org_id, operation_id, part),
          FOREIGN KEY (org_id, operation_id) REFERENCES operations
        );
        COMMENT ON COLUMN effects.takes IS 'the fence: who took it as the n-th may change it only while this is n';
        COMMENT ON COLUMN effects.attempts IS 'tries, or looks, since it came into its state';
        COMMENT ON COLUMN effects.due_at IS 'NULL: nothing is to be done about it; of an unknown one: a person decides';
        COMMENT ON COLUMN effects.deadline IS 'until when its holder may write to the provider';
        COMMENT ON COLUMN effects.evidence IS 'what the last look showed';
        CREATE INDEX effects_open ON effects (org_id, due_at) WHERE due_at IS NOT NULL;
        CREATE INDEX effects_open_of_target ON effects (org_id, target, operation_id) WHERE due_at IS NOT NULL;
        """
    )
    for table in ("operations", "effects"):
        tenant_table_v1(table, company=True)
    # FORCE binds the owner too; where the administrator is no superuser, the function below would find nothing.
    run("CREATE POLICY lookup ON effects FOR SELECT TO CURRENT_USER USING (true);")
    lookup_function_v1(
        "orgs_with_due_effects_v1(most integer)",
        "SETOF uuid",
        """
        WITH RECURSIVE orgs AS (
          (SELECT e.org_id FROM effects e WHERE e.due_at IS NOT NULL ORDER BY e.org_id LIMIT 1)
          UNION ALL
          SELECT (SELECT e.org_id FROM effects e WHERE e.due_at IS NOT NULL AND e.org_id > orgs.org_id
                  ORDER BY e.org_id LIMIT 1)
          FROM orgs WHERE orgs.org_id IS NOT NULL
        )
        SELECT orgs.org_id FROM orgs WHERE orgs.org_id IS NOT NULL
          AND NOT EXISTS (SELECT 1 FROM org_states s WHERE s.org_id = orgs.org_id AND s.state <> 'active')
          AND EXISTS (
            SELECT 1 FROM effects e WHERE e.org_id = orgs.org_id AND e.due_at <= now()
              AND (e.lease_until IS NULL OR e.lease_until < now())
              AND NOT EXISTS (SELECT 1 FROM accounts a WHERE a.org_id = e.org_id AND a.id = e.account_id
                              AND a.status <> 'active')
              AND NOT EXISTS (SELECT 1 FROM account_budgets b WHERE b.org_id = e.org_id AND b.account_id = e.account_id
                              AND b.paused_until > now())
          ) ORDER BY random() LIMIT most
        """,
    )
