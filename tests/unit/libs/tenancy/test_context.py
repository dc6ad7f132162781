from __future__ import annotations

from uuid import uuid4

from hypothesis import given
from hypothesis import strategies as st

from libs.ids import CompanyId
from libs.tenancy.context import ALL_COMPANIES, CompanyScope, parse_scope

scopes = st.one_of(st.just(ALL_COMPANIES), st.frozensets(st.uuids().map(CompanyId), max_size=4).map(CompanyScope))


@given(scopes)
def test_a_setting_reads_back_as_the_scope(scope: CompanyScope):
    assert parse_scope(scope.setting()) == scope


def test_no_company_is_not_all_companies():
    nobody = CompanyScope.of([])

    assert nobody.setting() == ""
    assert not nobody.is_all
    assert not nobody.covers(CompanyId(uuid4()))
    assert not nobody.covers(None)


def test_a_row_without_a_company_is_for_those_who_see_all():
    one = CompanyId(uuid4())

    assert ALL_COMPANIES.covers(None)
    assert not CompanyScope.of([one]).covers(None)
    assert CompanyScope.of([one]).covers(one)
