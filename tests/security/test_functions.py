"""Functions that see more than their caller: all of them are listed here, with what they let out and why."""

from __future__ import annotations

import asyncpg
import pytest

from libs.database.names import SERVICES, login_role
from tests.fixtures.database import MigratedDatabase
from tests.security.grants import rolled_back

# What a look-up may let out: ids, hashes, and what is needed to judge these. Never a name, an address, a text of a tenant's.
IDS = {"org_id", "run_id", "schedule_id", "endpoint_id", "account_id", "company_ids", "user_id", "token_id"}
HASHES = {
    "secret_hmac", "pepper_version", "previous_hmac", "previous_pepper_version", "token_sha256", "earlier_tokens",
}  # fmt: skip
# role, scopes, provider, status and source_mode are words of ours, from lists of ours.
JUDGED_BY = {
    "role", "scopes", "provider", "status", "revision", "expires_at", "previous_ends_at", "revoked", "active", "suspended",
    "allowed_sources", "source_mode",
}  # fmt: skip

# Function -> the tables it reads across orgs, and why that must come before a tenant is known.
DEFINERS = {
    "analytics.orgs_with_counts_v1(uuid,integer)": ({"ledger_counts"}, "the auditor goes from org to org"),
    "gateway.api_key_v2(uuid)": ({"api_keys", "organizations"}, "a key says whose it is"),
    "gateway.api_key_v3(uuid)": ({"api_keys", "organizations"}, "a key says whose it is"),
    "gateway.api_key_v4(uuid)": ({"api_keys", "companies", "org_states"}, "a key says whose it is"),
    "gateway.memberships_v1(text)": ({"users", "memberships", "organizations"}, "a person says where they belong"),
    "gateway.memberships_v2(text)": (
        {"users", "memberships", "companies", "org_states"},
        "a person says where they belong",
    ),
    "provider_sync.orgs_with_due_jobs(integer)": ({"sync_jobs"}, "workers go from org to org"),
    "provider_sync.orgs_with_secrets(uuid,integer)": (
        {"accounts", "org_keys"},
        "a rotation of keys goes from org to org",
    ),
    "reconciliation.due_schedules_v1(timestamp with time zone,uuid,integer)": (
        {"reconciliation_schedules"},
        "one leader starts what is due in all orgs",
    ),
    "provider_sync.orgs_with_due_jobs_v4(integer)": (
        {"sync_jobs", "org_states", "accounts", "account_budgets"},
        "workers go from org to org",
    ),
    "provider_sync.orgs_with_due_effects_v1(integer)": (
        {"effects", "org_states", "accounts", "account_budgets"},
        "workers go from org to org",
    ),
    "provider_sync.orgs_with_due_syncs_v1(integer)": (
        {"sync_runs", "org_states", "accounts", "account_budgets"},
        "workers go from org to org",
    ),
    "provider_sync.orgs_to_sync_v1(double precision,text[],text[],integer)": (
        {"sync_runs", "org_states", "accounts"},
        "accounts are read by themselves, in all orgs",
    ),
    "reconciliation.stuck_runs_v1(double precision,integer)": ({"runs"}, "the watch goes over all orgs"),
    "webhook_ingest.door_endpoints(timestamp with time zone)": ({"endpoints"}, "a token says whose it is"),
    "webhook_ingest.door_endpoints_v2(timestamp with time zone)": ({"endpoints"}, "a token says whose it is"),
}

# Tables that are cut into weeks. Their keeper makes weeks ahead and drops old ones; beside it stands what tells how far that is.
# They read no column but the key, and let out moments and counts of all orgs together.
CUT = [*(f"{service}.inbox" for service in SERVICES), "webhook_ingest.deliveries"]
KEEPERS = {
    **{f"{table}_partitions_v1(integer)": ("plpgsql", "v", ["made", "dropped", "waiting"]) for table in CUT},
    **{f"{table}_kept_v1()": ("sql", "s", ["oldest", "forgotten_before", "made_until", "still_open"]) for table in CUT},
}
# What these call, as the owner; nobody else may.
OF_KEEPERS = (
    "id_at_v1(bigint)", "minted_ms_v1(uuid)", "move_partitions_v1(text,text,text,timestamp with time zone,integer)",
    "oldest_kept_v1(text,text,text)", "partitions_of_v1(text)",
)  # fmt: skip

# What policies call. They run as the caller and read settings only.
OF_POLICIES = ("app_all_companies()", "app_company_ids()", "app_org_id()")


async def test_all_functions_are_known(admin: asyncpg.Connection) -> None:
    rows = await admin.fetch(
        "SELECT p.oid::regprocedure::text AS name, p.prosecdef AS definer FROM pg_proc p "
        "WHERE p.pronamespace = ANY($1::text[]::regnamespace[])",
        [*SERVICES, "public"],
    )

    assert {row["name"] for row in rows if row["definer"]} == {*DEFINERS, *KEEPERS}
    assert {row["name"] for row in rows if not row["definer"]} == {
        f"{service}.{name}" for service in SERVICES for name in (*OF_POLICIES, *OF_KEEPERS)
    }


@pytest.mark.parametrize("name", KEEPERS)
async def test_a_keeper_is_the_owners_and_told_nothing_but_how_long(
    admin: asyncpg.Connection, full: MigratedDatabase, name: str
) -> None:
    row = await _function(admin, name)
    schema = name.split(".")[0]

    assert (row["language"], row["provolatile"], row["columns"]) == KEEPERS[name]
    assert row["is_owners"]
    assert row["proconfig"] == [f"search_path={schema}, pg_temp"]
    assert row["callers"] == [login_role(full.template, schema)]


@pytest.mark.parametrize("service", SERVICES)
async def test_what_keepers_call_is_called_by_nobody_else(admin: asyncpg.Connection, service: str) -> None:
    for name in OF_KEEPERS:
        row = await _function(admin, f"{service}.{name}")
        assert (row["is_owners"], row["callers"]) == (True, []), name


@pytest.mark.parametrize("name", DEFINERS)
async def test_a_function_that_sees_more_only_reads_and_lets_out_ids_and_hashes(
    admin: asyncpg.Connection, full: MigratedDatabase, name: str
) -> None:
    row = await _function(admin, name)
    schema = name.split(".")[0]

    assert (row["prokind"], row["language"], row["provolatile"]) == ("f", "sql", "s"), "a look-up changes nothing"
    assert row["is_owners"]
    assert row["proconfig"] == [f"search_path={schema}, pg_temp"]
    assert row["callers"] == [login_role(full.template, schema)]
    assert set(row["columns"]) <= IDS | HASHES | JUDGED_BY
    assert row["columns"] or row["type"] == "uuid"


async def _function(admin: asyncpg.Connection, name: str) -> asyncpg.Record:
    row = await admin.fetchrow(
        """
        SELECT p.prokind::text, l.lanname::text AS language, p.provolatile::text, p.proconfig,
          p.prorettype::regtype::text AS type, p.proowner = d.datdba AS is_owners,
          array(SELECT arg FROM unnest(p.proargnames, p.proargmodes) AS a(arg, mode) WHERE mode IN ('t', 'o', 'b')) AS columns,
          array(SELECT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END
              || CASE WHEN a.is_grantable THEN ' (may grant)' ELSE '' END
            FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a WHERE a.grantee <> p.proowner) AS callers
        FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang JOIN pg_database d ON d.datname = current_database()
        WHERE p.oid = $1::text::regprocedure
        """,
        name,
    )
    assert row is not None
    return row


async def test_the_owner_may_read_what_its_functions_read(admin: asyncpg.Connection) -> None:
    rows = await admin.fetch(
        "SELECT schemaname || '.' || tablename AS name FROM pg_policies WHERE permissive = 'PERMISSIVE' AND qual = 'true' "
        "AND cmd = 'SELECT' AND roles = ARRAY[current_user::name]"
    )
    read = {f"{name.split('.')[0]}.{table}" for name, (tables, _) in DEFINERS.items() for table in tables}

    assert {row["name"] for row in rows} == read


@pytest.mark.parametrize("service", SERVICES)
async def test_what_policies_ask_is_answered_by_the_settings_alone(admin: asyncpg.Connection, service: str) -> None:
    """Also where no table has companies yet. "" is what a setting of an ended transaction reads as."""
    one, other = "00000000-0000-7000-8000-000000000001", "00000000-0000-7000-8000-000000000002"
    tell = "SELECT set_config('app.org_id', $1, true), set_config('app.company_ids', $2, true)"
    ask = f"SELECT {service}.app_org_id()::text, {service}.app_all_companies(), {service}.app_company_ids()::text[]"
    for org, companies, expected in (
        ("", "", (None, False, [])),
        (one, "", (one, False, [])),
        (one, "*", (one, True, [])),
        (other, f"{one},{other}", (other, False, [one, other])),
    ):
        async with rolled_back(admin):
            await admin.execute(tell, org, companies)
            answer = await admin.fetchrow(ask)
            assert answer is not None
            assert tuple(answer) == expected, (org, companies)
