"""What the catalogue must say, as rules: a new table that keeps them needs no line here, an exception needs one with its why."""

from __future__ import annotations

import re
from collections import Counter

import asyncpg

from libs.database.names import SERVICES, STANDALONE, dispatch_role, login_role
from tests.fixtures.database import MigratedDatabase
from tests.integration.libs.database import test_tenancy as tenancy
from tests.integration.libs.database.tables import tables
from tests.security.test_functions import DEFINERS

ROWS = {"SELECT", "INSERT", "UPDATE", "DELETE"}

# Where the service itself may do less: what is told there is never untold.
FEWER = {"gateway.audit_log": {"SELECT", "INSERT", "DELETE"}} | {
    # A tombstone outlives all else.
    f"{service}.org_states": {"SELECT", "INSERT", "UPDATE"}
    for service in SERVICES
}
# Append-only while its organization is not erased.
ERASABLE = ("gateway.audit_log", "gateway.audit_heads")

# A table without org_id is no tenant's. None is, but for alembic's.
OF_THE_HOUSE = {"alembic_version"}

# Policies beside `org`, `company` (where there is one) and, for messaging, `dispatch`.
OTHER_POLICIES = {
    # Staff list all organizations, within the platform's own org only.
    ("gateway.organizations", "platform"),
    # A lead has no company of its own: its conversations have.
    ("provider_sync.leads", "company"),
    *((table, "erasure") for table in ERASABLE),
} | {
    # FORCE binds the owner too, and a look-up function reads as its owner.
    (f"{function.split('.')[0]}.{table}", "lookup")
    for function, (read, _) in DEFINERS.items()
    for table in read
}
ORG = "(org_id = ( SELECT app_org_id() AS app_org_id))"
ALL_COMPANIES = "( SELECT app_all_companies() AS app_all_companies)"
COMPANY = f"({ALL_COMPANIES} OR (company_id = ANY (( SELECT app_company_ids() AS app_company_ids)::uuid[])))"
CONDITIONS = {
    "org": {ORG},
    "company": {COMPANY},
    "dispatch": {"true"},
    "lookup": {"true"},
    "erasure": {
        f"(EXISTS ( SELECT FROM org_states s WHERE ((s.org_id = {table}.org_id) AND (s.state = 'erased'::text))))"
        for table in ("audit_log", "audit_heads")
    },
    "platform": {"(( SELECT app_org_id() AS app_org_id) = '00000000-0000-0000-0000-000000000000'::uuid)"},
}
# Of leads: whoever may see a row that names the lead (its own policy decides that) may see the lead.
THROUGH_ROWS = re.compile(
    r"\(+"
    + re.escape(ALL_COMPANIES)
    + r"( OR \(EXISTS \( SELECT 1 FROM (conversations|engagements|enrolments|messages) (\w) "
    r"WHERE \(\(\3\.org_id = leads\.org_id\) AND \(\3\.lead_id = leads\.id\)\)\)\)\)?)+\)"
)


async def test_every_table_is_a_tenants(admin: asyncpg.Connection) -> None:
    rows = await admin.fetch(
        "SELECT c.oid::regclass::text AS name FROM pg_class c WHERE c.relkind IN ('r', 'p', 'f', 'm', 'v') "
        "AND c.relnamespace = ANY($1::text[]::regnamespace[]) AND NOT c.relname = ANY($2) AND NOT EXISTS "
        "(SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'org_id' AND a.attnotnull)",
        [*SERVICES, "public"],
        list(OF_THE_HOUSE),
    )

    assert [row["name"] for row in rows] == []


async def test_every_policy_is_one_of_ours_word_for_word(admin: asyncpg.Connection, full: MigratedDatabase) -> None:
    owner = await admin.fetchval("SELECT current_user::text")
    found = await tables(admin)
    expected: dict[tuple[str, str], tuple[str, str, list[str], bool]] = {}
    seen: dict[tuple[str, str], tuple[str, str, list[str], bool]] = {}
    for table in found:
        login, dispatch = login_role(full.template, table.schema), dispatch_role(full.template, table.schema)
        mine = {"org"} | {policy for name, policy in OTHER_POLICIES if name == str(table)}
        if table.has_company:
            mine |= {"company"}
        if table.name in tenancy.MESSAGING:
            mine |= {"dispatch"}
        forms = {
            "org": ("PERMISSIVE", "ALL", [login], True),
            "company": ("RESTRICTIVE", "ALL", [login] if table.has_company else ["public"], False),
            "dispatch": ("PERMISSIVE", "ALL", [dispatch], True),
            "lookup": ("PERMISSIVE", "SELECT", [owner], False),
            "platform": ("PERMISSIVE", "SELECT", ["public"], False),
            "erasure": ("RESTRICTIVE", "DELETE", [login], False),
        }
        expected |= {(str(table), name): forms[name] for name in mine}

    for service in SERVICES:
        await admin.execute(f"SET search_path = {service}")
        for row in await admin.fetch(
            "SELECT tablename, policyname, permissive, roles::text[], cmd, qual, with_check FROM pg_policies "
            "WHERE schemaname = $1",
            service,
        ):
            name, condition = row["policyname"], " ".join((row["qual"] or "").split())
            where = f"{service}.{row['tablename']}"
            seen[where, name] = (row["permissive"], row["cmd"], row["roles"], row["with_check"] is not None)
            through_rows = where == "provider_sync.leads" and THROUGH_ROWS.fullmatch(condition)
            assert condition in CONDITIONS[name] or (name == "company" and through_rows), (where, name, condition)
            assert row["with_check"] in (None, row["qual"]), (where, name)
    await admin.execute("RESET search_path")

    assert seen == expected


async def test_nobody_has_a_right_that_the_rules_do_not_give(admin: asyncpg.Connection, full: MigratedDatabase) -> None:
    """Of tables, columns, sequences and views: the service its rows, dispatch the messaging tables, nobody anything else."""
    expected: Counter[tuple[str, str, str]] = Counter()
    for table in await tables(admin):
        roles = [login_role(full.template, table.schema)]
        if table.name in tenancy.MESSAGING:
            roles.append(dispatch_role(full.template, table.schema))
        expected.update((str(table), role, right) for role in roles for right in FEWER.get(str(table), ROWS))
    for service in SERVICES:
        expected[f"{service}.alembic_version", login_role(full.template, service), "SELECT"] += 1
    rows = await admin.fetch(
        """
        WITH rights AS (
          SELECT c.oid, c.relnamespace, c.relowner, (aclexplode(c.relacl)).* FROM pg_class c
          UNION ALL
          SELECT c.oid, c.relnamespace, c.relowner, (aclexplode(t.attacl)).*
          FROM pg_attribute t JOIN pg_class c ON c.oid = t.attrelid
        )
        SELECT oid::regclass::text AS name, CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END AS grantee,
          privilege_type || CASE WHEN is_grantable THEN ' and may grant it' ELSE '' END AS right
        FROM rights WHERE grantee <> relowner AND relnamespace = ANY($1::text[]::regnamespace[])
        """,
        [*SERVICES, "public"],
    )

    assert Counter((row["name"], row["grantee"], row["right"]) for row in rows) == expected


async def test_a_schema_is_used_by_its_service_alone(admin: asyncpg.Connection, full: MigratedDatabase) -> None:
    rows = await admin.fetch(
        "SELECT n.nspname AS name, CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END AS grantee, "
        "a.privilege_type || CASE WHEN a.is_grantable THEN ' and may grant it' ELSE '' END AS right "
        "FROM pg_namespace n, aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) a "
        "WHERE a.grantee <> n.nspowner AND n.nspname !~ '^(pg_|information_schema$)'"
    )

    assert {(row["name"], row["grantee"], row["right"]) for row in rows} == {
        (service, role, "USAGE")
        for service in SERVICES
        for role in (login_role(full.template, service), dispatch_role(full.template, service))
    }
    defaults = "SELECT count(*) FROM pg_default_acl d, aclexplode(d.defaclacl) a WHERE a.grantee <> d.defaclrole"
    assert await admin.fetchval(defaults) == 0


async def test_only_logins_may_connect_and_they_may_do_nothing_else(
    admin: asyncpg.Connection, full: MigratedDatabase
) -> None:
    rows = await admin.fetch(
        "SELECT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END AS grantee, a.privilege_type AS right "
        "FROM pg_database d, aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a "
        "WHERE d.datname = current_database() AND a.grantee <> d.datdba"
    )

    logins = [login_role(full.template, service) for service in (*SERVICES, STANDALONE)]
    assert {(row["grantee"], row["right"]) for row in rows} == {(login, "CONNECT") for login in logins}


async def test_our_roles_have_no_powers_and_become_none_but_dispatch(
    admin: asyncpg.Connection, full: MigratedDatabase
) -> None:
    logins = {login_role(full.template, service) for service in (*SERVICES, STANDALONE)}
    dispatch = {dispatch_role(full.template, service) for service in SERVICES}
    rows = await admin.fetch("SELECT * FROM pg_roles WHERE rolname LIKE $1", full.template + r"\_%")

    assert {row["rolname"] for row in rows} == logins | dispatch
    for row in rows:
        powers = ("rolsuper", "rolbypassrls", "rolcreaterole", "rolcreatedb", "rolreplication", "rolinherit")
        assert [power for power in powers if row[power]] == [], row["rolname"]
        assert row["rolcanlogin"] == (row["rolname"] in logins), row["rolname"]
        assert row["rolconfig"] is None, row["rolname"]
    memberships = await admin.fetch(
        "SELECT roleid::regrole::text AS role, member::regrole::text AS member, admin_option FROM pg_auth_members "
        "WHERE roleid = ANY($1::text[]::regrole[]) OR member = ANY($1::text[]::regrole[])",
        sorted(logins | dispatch),
    )
    assert {(row["role"], row["member"], row["admin_option"]) for row in memberships} == {
        (dispatch_role(full.template, service), login_role(full.template, who), False)
        for service in SERVICES
        for who in (service, STANDALONE)
    }


async def test_references_stay_within_the_org_where_there_still_are_some(admin: asyncpg.Connection) -> None:
    """test_tenancy asks this of a database whose references were dropped to fill it; here they are as migrated."""
    count = "SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND connamespace = ANY($1::text[]::regnamespace[])"
    assert await admin.fetchval(count, list(SERVICES)) > 0

    await tenancy.test_every_reference_between_tenant_tables_stays_within_the_org(admin)
