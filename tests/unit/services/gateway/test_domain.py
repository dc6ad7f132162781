from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.errors import Invalid
from libs.ids import PLATFORM_ORG, CompanyId, OrgId, public_id
from libs.tenancy.context import ALL_COMPANIES, CompanyScope
from libs.tenancy.roles import COMPANY_ROLES, MACHINE_ROLES, PLATFORM_ROLES, Role
from services.gateway.domain import AskedScope, Caller, Principal, check_grant, decide_scope, split_scope

MINE, OTHER = CompanyId(uuid4()), CompanyId(uuid4())


def principal(role: Role) -> Principal:
    companies = frozenset({MINE}) if role in COMPANY_ROLES else frozenset()
    return Principal(uuid4(), role, PLATFORM_ORG if role in PLATFORM_ROLES else OrgId(uuid4()), companies)


@pytest.mark.parametrize(
    ("query", "asked", "rest"),
    [
        (b"", AskedScope(), b""),
        (b"a=1&b=%20&c", AskedScope(), b"a=1&b=%20&c"),
        (b"company_id=x", AskedScope("x"), b""),
        (b"a=1&company_id=x&b=2", AskedScope("x"), b"a=1&b=2"),
        (b"company%5Fid=x", AskedScope("x"), b""),
        (b"c%6fmpany_id=%78&all_companies=true", AskedScope("x", True), b""),
        (b"all_companies=false&&x", AskedScope(), b"&x"),
        (b"company_id", AskedScope(""), b""),
        (b"company_ids=x&Company_id=y", AskedScope(), b"company_ids=x&Company_id=y"),
    ],
)
def test_the_scope_is_cut_out_of_a_query_and_the_rest_is_left_alone(query, asked, rest):
    assert split_scope(query) == (asked, rest)


@pytest.mark.parametrize(
    "query",
    [b"company_id=a&company_id=b", b"all_companies=true&all_companies=true", b"all_companies=True", b"all_companies"],
)
def test_what_is_doubtful_is_refused(query):
    with pytest.raises(Invalid):
        split_scope(query)


@given(st.binary(max_size=60))
def test_any_bytes_are_split_or_refused_and_nothing_of_ours_is_left_over(query: bytes):
    try:
        asked, rest = split_scope(query)
    except Invalid:
        return
    assert split_scope(rest)[0] == AskedScope()
    if asked == AskedScope():
        assert rest == query or b"all_companies" in query or b"%" in query


@given(
    st.sampled_from(Role),
    st.booleans(),
    st.sampled_from([None, MINE, OTHER]),
    st.booleans(),
)
def test_nobody_gets_more_than_they_have(role: Role, everything: bool, company: CompanyId | None, filtered: bool):
    who = principal(role)
    asked = AskedScope(None if company is None else public_id("cmp", company), everything)
    try:
        scope = decide_scope(who, asked, company_filter=filtered)
    except Exception:  # noqa: BLE001 - which refusal is the matrix's question
        return
    if role in COMPANY_ROLES:
        assert scope == CompanyScope.of([MINE])
    elif role in MACHINE_ROLES:
        assert (asked, scope) == (AskedScope(), ALL_COMPANIES)
    elif company is not None:
        assert scope == CompanyScope.of([company])
    else:
        assert scope == ALL_COMPANIES
        assert everything or not filtered


def test_a_company_role_without_companies_sees_nothing():
    nobody = Principal(uuid4(), Role.COMPANY_VIEWER, OrgId(uuid4()))

    assert decide_scope(nobody, AskedScope(), company_filter=True) == CompanyScope.of([])


@given(st.sampled_from(Role), st.sampled_from(Role), st.booleans(), st.sampled_from([(), (MINE,), (OTHER,)]))
def test_no_key_can_make_a_mightier_one(
    giver: Role, given_role: Role, names_org: bool, companies: tuple[CompanyId, ...]
):
    who = principal(giver)
    org = OrgId(uuid4()) if names_org or giver not in PLATFORM_ROLES else None
    try:
        check_grant(Caller(who, org), given_role, companies, None, datetime(2026, 7, 1, tzinfo=UTC))
    except Exception:  # noqa: BLE001 - any refusal will do
        return
    made = Principal(uuid4(), given_role, OrgId(uuid4()), frozenset(companies))
    assert made.permissions <= who.permissions
    assert who.scope.is_all or (made.scope.companies or frozenset()) <= (who.scope.companies or frozenset())
    assert (given_role in PLATFORM_ROLES) == (org is None)
