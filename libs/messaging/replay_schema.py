"""The tables of failure groups and replays, in every service's schema. What a shipped migration calls never changes."""

from __future__ import annotations

from libs.database.ddl import dispatch_table_v1, run


def replay_tables_v1() -> None:
    """What a dead letter is about (facets), what is known of a cause (group), and what is done again (plan, items)."""
    run(
        """
        ALTER TABLE inbox ADD COLUMN account_id uuid, ADD COLUMN provider text, ADD COLUMN campaign text,
          ADD COLUMN build text, ADD COLUMN replay_id uuid;
        COMMENT ON COLUMN inbox.build IS 'which code failed last; of what never failed null, as the facets before it';
        COMMENT ON COLUMN inbox.replay_id IS 'the replay that made it due last';
        CREATE INDEX inbox_groups ON inbox (org_id, fingerprint, event_id) WHERE state IN ('dead', 'parked');

        CREATE TABLE failure_groups (
          org_id uuid NOT NULL,
          id uuid NOT NULL,
          fingerprint text NOT NULL,
          consumer text NOT NULL,
          event_type text NOT NULL,
          error_class text NOT NULL,
          reason text NOT NULL,
          frames jsonb NOT NULL,
          provider text,
          status text NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'acknowledged', 'ignored', 'resolved')),
          revision bigint NOT NULL DEFAULT 1,
          notes jsonb NOT NULL DEFAULT '[]',
          failures bigint NOT NULL DEFAULT 0,
          first_seen timestamptz NOT NULL DEFAULT now(),
          last_seen timestamptz NOT NULL DEFAULT now(),
          reopened_at timestamptz,
          first_build text NOT NULL,
          last_build text NOT NULL,
          probed_build text,
          probe text CHECK (probe IN ('passes', 'fails')),
          PRIMARY KEY (org_id, id),
          UNIQUE (org_id, fingerprint)
        ) WITH (fillfactor = 50);
        CREATE INDEX failure_groups_last ON failure_groups (org_id, last_seen DESC, id DESC);

        CREATE TABLE replay_plans (
          org_id uuid NOT NULL,
          id uuid NOT NULL,
          state text NOT NULL CHECK (state IN
            ('planned', 'running', 'paused', 'stopped', 'completed', 'aborted', 'expired')),
          action text NOT NULL CHECK (action IN ('replay', 'discard')),
          filter jsonb NOT NULL,
          pace jsonb NOT NULL,
          items_hash text NOT NULL,
          hash text NOT NULL,
          total integer NOT NULL,
          dry_run_state text NOT NULL DEFAULT 'none' CHECK (dry_run_state IN ('none', 'asked', 'done', 'failed')),
          dry_run jsonb,
          released integer NOT NULL DEFAULT 0,
          done integer NOT NULL DEFAULT 0,
          failed integer NOT NULL DEFAULT 0,
          skipped integer NOT NULL DEFAULT 0,
          accounts jsonb NOT NULL,
          paced_since timestamptz,
          paced_released integer NOT NULL DEFAULT 0,
          failed_before integer NOT NULL DEFAULT 0,
          settled_before integer NOT NULL DEFAULT 0,
          stop_reason text,
          reason text,
          created_by text NOT NULL,
          applied_by text,
          revision bigint NOT NULL DEFAULT 1,
          created_at timestamptz NOT NULL DEFAULT now(),
          applied_at timestamptz,
          changed_at timestamptz NOT NULL DEFAULT now(),
          finished_at timestamptz,
          expires_at timestamptz NOT NULL,
          PRIMARY KEY (org_id, id)
        ) WITH (fillfactor = 50);
        COMMENT ON COLUMN replay_plans.accounts IS 'by account: how many, the last released, how many since paced_since';
        -- One at a time per org: two would share a rate that was promised to each.
        CREATE UNIQUE INDEX replay_plans_running ON replay_plans (org_id) WHERE state IN ('running', 'paused', 'stopped');
        CREATE INDEX replay_plans_busy ON replay_plans (id) WHERE state = 'running' OR dry_run_state = 'asked';

        CREATE TABLE replay_items (
          org_id uuid NOT NULL,
          plan_id uuid NOT NULL,
          account_id uuid NOT NULL,
          ord integer NOT NULL,
          consumer text NOT NULL,
          event_id uuid NOT NULL,
          state text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'released', 'done', 'failed', 'skipped')),
          PRIMARY KEY (org_id, plan_id, account_id, ord)
        );
        COMMENT ON COLUMN replay_items.account_id IS 'of what is about no account, all zeros';
        CREATE INDEX replay_items_released ON replay_items (org_id, plan_id) WHERE state = 'released';
        """
    )
    for table in ("failure_groups", "replay_plans", "replay_items"):
        dispatch_table_v1(table)


def replay_tables_v2() -> None:
    """A plan keeps its letters in blocks: a million rows with their keys took most of the time that it took to plan.

    `replay_items` then holds what is under way alone. And a group knows since when it was tried with which build.
    """
    run(
        """
        CREATE TABLE replay_blocks (
          org_id uuid NOT NULL,
          plan_id uuid NOT NULL,
          account_id uuid NOT NULL,
          block integer NOT NULL,
          ords integer[] NOT NULL,
          consumers text[] NOT NULL,
          event_ids uuid[] NOT NULL,
          PRIMARY KEY (org_id, plan_id, account_id, block)
        );
        COMMENT ON COLUMN replay_blocks.account_id IS 'of what is about no account, all zeros';
        COMMENT ON TABLE replay_blocks IS 'of so many letters in the order of the plan (a block) those of one account';
        ALTER TABLE replay_items SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
        ALTER TABLE failure_groups ADD COLUMN probed_at timestamptz;
        COMMENT ON COLUMN failure_groups.probed_at IS 'since when `probe` is what is known of `probed_build`';
        """
    )
    dispatch_table_v1("replay_blocks")


def replay_tables_v3() -> None:
    """A letter whose content was put right by hand keeps the bytes that came, and who changed what."""
    run(
        """
        ALTER TABLE inbox ADD COLUMN original bytea, ADD COLUMN edits jsonb NOT NULL DEFAULT '[]';
        COMMENT ON COLUMN inbox.original IS 'of a letter that was edited: the envelope as it came';
        """
    )
