"""The messaging tables that every service has in its own schema. What a shipped migration calls never changes: add a v2."""

from __future__ import annotations

from functools import partial

from libs.database.ddl import dispatch_table_v1, org_states_v1, run, tenant_functions_v1
from libs.database.partitions import partition_functions_v1, partitioned_v1


def messaging_tables_v1() -> None:
    """outbox (what we must still tell), inbox (what we heard, and how far each is), ledger (changes of counts)."""
    tenant_functions_v1()
    run(
        """
        CREATE TABLE outbox (
          id uuid PRIMARY KEY,
          org_id uuid NOT NULL,
          type text NOT NULL,
          envelope bytea NOT NULL,
          created_at timestamptz NOT NULL DEFAULT now(),
          returned_at timestamptz,
          returns integer NOT NULL DEFAULT 0
        );
        ALTER TABLE outbox SET (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0);
        CREATE INDEX outbox_unsent ON outbox (org_id, id) WHERE returned_at IS NULL;
        CREATE INDEX outbox_returned ON outbox (returned_at) WHERE returned_at IS NOT NULL;

        CREATE TABLE inbox (
          consumer text NOT NULL,
          event_id uuid NOT NULL,
          org_id uuid NOT NULL,
          type text NOT NULL,
          subject text NOT NULL,
          state text NOT NULL CHECK (state IN ('done', 'due', 'parked', 'dead', 'discarded')),
          attempts integer NOT NULL DEFAULT 0,
          takes integer NOT NULL DEFAULT 0,
          due_at timestamptz,
          envelope bytea,
          error_class text,
          reason text,
          fingerprint text,
          history jsonb NOT NULL DEFAULT '[]',
          first_seen timestamptz NOT NULL DEFAULT now(),
          changed_at timestamptz NOT NULL DEFAULT now(),
          PRIMARY KEY (consumer, event_id)
        );
        ALTER TABLE inbox SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
        CREATE INDEX inbox_due ON inbox (consumer, org_id, due_at) WHERE state = 'due';
        CREATE INDEX inbox_failed ON inbox (org_id, changed_at DESC, event_id) WHERE state IN ('dead', 'parked');

        CREATE TABLE ledger (
          org_id uuid NOT NULL,
          hop text NOT NULL,
          event_type text NOT NULL,
          bucket timestamptz NOT NULL,
          state text NOT NULL,
          count integer NOT NULL,
          ids_xor bytea NOT NULL
        );
        ALTER TABLE ledger SET (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0);
        """
    )
    for table in ("outbox", "inbox", "ledger"):
        dispatch_table_v1(table)


def messaging_tables_v2() -> None:
    """How each org stands, and a way to what its suspension keeps waiting."""
    org_states_v1()
    run(
        """
        CREATE INDEX inbox_suspended ON inbox (consumer, org_id)
          WHERE state = 'parked' AND error_class = 'organization_suspended';
        """
    )


def messaging_tables_v3() -> None:
    """The inbox is cut into weeks: what is done is forgotten by the week, what is open is not."""
    partition_functions_v1()
    partitioned_v1(
        "inbox",
        "event_id",
        leading="consumer",
        is_open="state NOT IN ('done', 'discarded')",
        closed_since="changed_at",
        close=partial(dispatch_table_v1, "inbox"),
    )


def messaging_tables_v4() -> None:
    """Suspects are found without reading what else is due: a flood that is kept as due holds none."""
    run("CREATE INDEX inbox_suspects ON inbox (consumer, org_id, due_at) WHERE state = 'due' AND takes > 0;")
