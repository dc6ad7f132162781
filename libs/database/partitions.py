"""What migrations say about tables that are kept for a while: cut into weeks by their key, a UUIDv7, and dropped by the week.

Every id has one place, for good: the week in which it was minted. So a key that is unique in its partition is unique in all,
and a claim by `ON CONFLICT` stays exact. Beside the weeks there are always two partitions, never a DEFAULT one:

- `<table>_old`: ids from before the oldest week. What is still open when its week is dropped is moved here. Whatever else
  arrives here comes after the week was forgotten: nobody can tell any more whether it came before.
- `<table>_later`: ids from after the newest week, and such that tell no time. Making a week takes its rows from here.

Partitions are reached through their table, where the policies are: nobody but the owner has a right on one of them.
What a shipped migration calls never changes: add a v2.
"""

from __future__ import annotations

from collections.abc import Callable

from alembic import op

from libs.database.ddl import login_of_service, run, schema_of_service

# Below it nothing was ever minted: until a week is dropped, `_old` is empty.
_LOWEST = "00000000-0000-0001-0000-000000000000"


def partition_functions_v1() -> None:
    """What moves the borders, and what tells where they are; called by the functions that `partitioned_v1` makes."""
    run(
        """
        CREATE FUNCTION partitions_of_v1(parent text)
          RETURNS TABLE (name text, begins uuid, ends uuid) LANGUAGE sql STABLE AS $$
          SELECT c.relname::text,
            substring(pg_get_expr(c.relpartbound, c.oid) FROM 'FROM \\(''([0-9a-f-]{36})')::uuid,
            substring(pg_get_expr(c.relpartbound, c.oid) FROM 'TO \\(''([0-9a-f-]{36})')::uuid
          FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = parent::regclass ORDER BY 2 NULLS FIRST
        $$;
        CREATE FUNCTION minted_ms_v1(id uuid) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
          SELECT ('x' || left(replace(id::text, '-', ''), 12))::bit(48)::bigint
        $$;
        CREATE FUNCTION id_at_v1(ms bigint) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
          SELECT (lpad(to_hex(ms), 12, '0') || repeat('0', 20))::uuid
        $$;

        CREATE FUNCTION move_partitions_v1(parent text, key text, is_open text, moment timestamptz, keep_days integer,
          OUT made integer, OUT dropped integer, OUT waiting bigint) LANGUAGE plpgsql AS $$
        DECLARE
          day constant bigint := 86400000;
          week constant bigint := 7 * day;
          most_moved constant integer := 5000;  -- so many rows are moved in well below a second
          present bigint := floor(extract(epoch FROM moment) * 1000);
          edge bigint;
          part record;
        BEGIN
          made := 0; dropped := 0; waiting := 0;
          IF keep_days < 14 THEN
            RAISE EXCEPTION 'rows are kept for 14 days at least';
          END IF;
          IF NOT pg_try_advisory_xact_lock(hashtextextended(current_schema || '.' || parent || ' partitions', 0)) THEN
            RETURN;  -- a replica is at it
          END IF;
          -- Whoever comes now waits behind us, and we wait for who is there: not for long, it is tried again.
          PERFORM set_config('lock_timeout', '500ms', true);

          SELECT minted_ms_v1(begins) INTO STRICT edge FROM partitions_of_v1(parent) WHERE name = parent || '_later';
          IF edge < present + 3 * week THEN
            EXECUTE format('LOCK TABLE ONLY %I IN ACCESS EXCLUSIVE MODE', parent);
            EXECUTE format('ALTER TABLE %I DETACH PARTITION %I', parent, parent || '_later');
            WHILE edge < present + 4 * week LOOP
              part := (parent || '_until_' || to_char(to_timestamp((edge + week) / 1000) AT TIME ZONE 'UTC', 'YYYYMMDD'),
                id_at_v1(edge), id_at_v1(edge + week));
              EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES FROM (%L) TO (%L) '
                'WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0)',
                part.f1, parent, part.f2, part.f3);
              EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', part.f1);
              EXECUTE format('WITH gone AS (DELETE FROM %I WHERE %I >= %L AND %I < %L RETURNING *) '
                'INSERT INTO %I SELECT * FROM gone', parent || '_later', key, part.f2, key, part.f3, part.f1);
              edge := edge + week;
              made := made + 1;
            END LOOP;
            EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (MAXVALUE)',
              parent, parent || '_later', id_at_v1(edge));
          END IF;

          SELECT name, ends INTO part FROM partitions_of_v1(parent)
          WHERE begins IS NOT NULL AND ends IS NOT NULL ORDER BY ends LIMIT 1;
          IF minted_ms_v1(part.ends) <= present - keep_days * day THEN
            EXECUTE format('SELECT count(*) FROM (SELECT FROM %I WHERE %s LIMIT %s) AS o', part.name, is_open, most_moved + 1)
              INTO waiting;
            IF waiting <= most_moved THEN
              EXECUTE format('LOCK TABLE ONLY %I IN ACCESS EXCLUSIVE MODE', parent);
              EXECUTE format('ALTER TABLE %I DETACH PARTITION %I', parent, part.name);
              EXECUTE format('ALTER TABLE %I DETACH PARTITION %I', parent, parent || '_old');
              EXECUTE format('INSERT INTO %I SELECT * FROM %I WHERE %s', parent || '_old', part.name, is_open);
              EXECUTE format('DROP TABLE %I', part.name);
              EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (MINVALUE) TO (%L)',
                parent, parent || '_old', part.ends);
              dropped := 1;
              waiting := 0;
            END IF;
          END IF;
        END
        $$;

        CREATE FUNCTION oldest_kept_v1(parent text, key text, first_column text) RETURNS timestamptz LANGUAGE plpgsql STABLE AS $$
        DECLARE
          part record;
          found uuid;
        BEGIN
          -- By the key's first column from value to value: no partition is read whole.
          FOR part IN SELECT name FROM partitions_of_v1(parent) WHERE begins IS NOT NULL AND ends IS NOT NULL LOOP
            EXECUTE format(
              'WITH RECURSIVE l AS ((SELECT %2$I AS it FROM %1$I ORDER BY 1 LIMIT 1) UNION ALL '
              'SELECT (SELECT %2$I FROM %1$I WHERE %2$I > l.it ORDER BY 1 LIMIT 1) FROM l WHERE l.it IS NOT NULL) '
              'SELECT (SELECT %3$I FROM %1$I WHERE %2$I = l.it ORDER BY %3$I LIMIT 1) AS id FROM l WHERE l.it IS NOT NULL '
              'ORDER BY 1 LIMIT 1', part.name, first_column, key) INTO found;
            EXIT WHEN found IS NOT NULL;
          END LOOP;
          RETURN to_timestamp(minted_ms_v1(found) / 1000.0);
        END
        $$;
        REVOKE ALL ON FUNCTION partitions_of_v1(text) FROM PUBLIC;
        REVOKE ALL ON FUNCTION minted_ms_v1(uuid) FROM PUBLIC;
        REVOKE ALL ON FUNCTION id_at_v1(bigint) FROM PUBLIC;
        REVOKE ALL ON FUNCTION move_partitions_v1(text, text, text, timestamptz, integer) FROM PUBLIC;
        REVOKE ALL ON FUNCTION oldest_kept_v1(text, text, text) FROM PUBLIC;
        """
    )


def partitioned_v1(
    table: str, key: str, *, leading: str, is_open: str, closed_since: str, close: Callable[[], None]
) -> None:
    """Cut `table` into weeks by `key`, the last column of its primary key; its rows stay where they are, as the first part.

    `leading` is the primary key's first column; `is_open` says which rows outlive their week; `closed_since` (a timestamptz)
    since when one is not; `close` makes policies and rights anew. Makes `<table>_partitions_v1(keep_days)`, which the service
    calls to make weeks ahead and to drop old ones, and `<table>_kept_v1()`, which tells how far that is.
    """
    schema = schema_of_service()
    bind = op.get_bind()
    week = 7 * 86_400
    until, name = bind.exec_driver_sql(
        f"SELECT id_at_v1(at * 1000), to_char(to_timestamp(at) AT TIME ZONE 'UTC', 'YYYYMMDD') FROM (SELECT "
        f"(floor(extract(epoch FROM now()) / {week})::bigint + 1) * {week} AS at) AS border"
    ).one()
    first = f"{table}_until_{name}"
    indexes = bind.exec_driver_sql(
        "SELECT i.indexrelid::regclass::text, c.relname, pg_get_indexdef(i.indexrelid), k.conname, pg_get_constraintdef(k.oid) "
        "FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid LEFT JOIN pg_constraint k ON k.conindid = i.indexrelid "
        f"AND k.conrelid = i.indrelid WHERE i.indrelid = '{table}'::regclass ORDER BY i.indisprimary DESC, c.relname"
    ).all()
    policies = bind.exec_driver_sql(f"SELECT polname FROM pg_policy WHERE polrelid = '{table}'::regclass").all()
    grantees = bind.exec_driver_sql(
        "SELECT DISTINCT a.grantee::regrole::text FROM pg_class c, aclexplode(c.relacl) a "
        f"WHERE c.oid = '{table}'::regclass AND a.grantee <> c.relowner"
    ).all()
    statements = [
        f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE",
        f"ALTER TABLE {table} RENAME TO {first}",
        f"ALTER TABLE {first} NO FORCE ROW LEVEL SECURITY",
        *(f"DROP POLICY {policy} ON {first}" for (policy,) in policies),
        *(f"REVOKE ALL ON {first} FROM {grantee}" for (grantee,) in grantees),
        *(f'ALTER INDEX {index} RENAME TO "{(first + "_" + plain)[:63]}"' for index, plain, *_ in indexes),
        f"CREATE TABLE {table} (LIKE {first} INCLUDING ALL EXCLUDING INDEXES) PARTITION BY RANGE ({key})",
        *(
            f"ALTER TABLE {table} ADD CONSTRAINT {constraint} {defined}" if constraint else made
            for _, _, made, constraint, defined in indexes
        ),
        *(
            f"CREATE TABLE {table}_{name} PARTITION OF {table} FOR VALUES FROM ({begins}) TO ({ends}) "
            "WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0)"
            for name, begins, ends in (("old", "MINVALUE", f"'{_LOWEST}'"), ("later", f"'{until}'", "MAXVALUE"))
        ),
        *(f"ALTER TABLE {table}_{name} ENABLE ROW LEVEL SECURITY" for name in ("old", "later")),
        *(
            f"WITH gone AS (DELETE FROM {first} WHERE {key} {side} RETURNING *) INSERT INTO {table}_{name} SELECT * FROM gone"
            for name, side in (("old", f"< '{_LOWEST}'"), ("later", f">= '{until}'"))
        ),
        f"ALTER TABLE {table} ATTACH PARTITION {first} FOR VALUES FROM ('{_LOWEST}') TO ('{until}')",
    ]
    for statement in statements:
        bind.exec_driver_sql(statement)
    close()
    login = login_of_service()
    quoted = is_open.replace("'", "''")
    closed = f"NOT ({is_open}) AND {closed_since} < now() - keep_days * interval '1 day'"
    run(
        f"""
        CREATE FUNCTION {table}_partitions_v1(keep_days integer, OUT made integer, OUT dropped integer, OUT waiting bigint)
          LANGUAGE plpgsql SECURITY DEFINER SET search_path = {schema}, pg_temp AS $$
        BEGIN
          SELECT m.made, m.dropped, m.waiting INTO made, dropped, waiting
          FROM move_partitions_v1('{table}', '{key}', '{quoted}', clock_timestamp(), keep_days) AS m;
          -- No week's drop takes these along: what was open then, and ids that tell no time.
          DELETE FROM {table}_old WHERE ctid = ANY (ARRAY(SELECT ctid FROM {table}_old WHERE {closed} LIMIT 5000));
          DELETE FROM {table}_later WHERE ctid = ANY (ARRAY(SELECT ctid FROM {table}_later WHERE {closed} LIMIT 5000));
        END
        $$;
        CREATE FUNCTION {table}_kept_v1(OUT oldest timestamptz, OUT forgotten_before timestamptz, OUT made_until timestamptz,
          OUT still_open bigint) LANGUAGE sql STABLE SECURITY DEFINER SET search_path = {schema}, pg_temp AS $$
          SELECT oldest_kept_v1('{table}', '{key}', '{leading}'),
            (SELECT to_timestamp(minted_ms_v1(ends) / 1000.0) FROM partitions_of_v1('{table}') WHERE name = '{table}_old'),
            (SELECT to_timestamp(minted_ms_v1(begins) / 1000.0) FROM partitions_of_v1('{table}') WHERE name = '{table}_later'),
            (SELECT count(*) FROM {table}_old WHERE {is_open})
        $$;
        REVOKE ALL ON FUNCTION {table}_partitions_v1(integer) FROM PUBLIC;
        REVOKE ALL ON FUNCTION {table}_kept_v1() FROM PUBLIC;
        GRANT EXECUTE ON FUNCTION {table}_partitions_v1(integer) TO "{login}";
        GRANT EXECUTE ON FUNCTION {table}_kept_v1() TO "{login}";
        """
    )
    run(f"SELECT {table}_partitions_v1(36500);")  # the weeks ahead
