"""The harness of `make mutants`: a few of its mutants each time, and that it would report one that changes nothing."""

from __future__ import annotations

import pytest

from libs.ids import OrgId, new_id
from libs.tenancy import context
from libs.tenancy.context import ALL_COMPANIES
from tests.security import code_mutants
from tests.security.code_mutants import CodeMutant, StaleMutant, rewritten
from tests.security.mutants import listed, neutralised
from tests.security.room import Room
from tests.security.trial import Trial

# One of each kind but roles, which belong to the whole server, and those that need a gateway's house.
SAMPLE = (
    "gateway.api_keys.org: dropped",
    "analytics.facts.company: dropped",
    "reconciliation.inbox.dispatch: dropped",
    "webhook_ingest.deliveries.org: USING(true)",
    "provider_sync.messages.company: WITH CHECK(true)",
    "provider_sync.leads.company: no longer restrictive",
    "gateway.companies: NO FORCE",
    "analytics.messages: DISABLE",
    "provider_sync.accounts: readable to dispatch",
    "reconciliation.runs: TRUNCATE to its login",
    "gateway.api_key_v3(uuid): temporary tables first",
    "webhook_ingest: a materialized view",
    "reconciliation.parts: a second policy for inserts",
    "provider-sync POST /provider-accounts: no permission asked",
    "company_viewer may keys:write, too",
    "a context for any audience",
)


async def test_a_few_mutants_are_killed(room: Room) -> None:
    mutants = {mutant.name: mutant for mutant in await listed(room)}
    async with Trial(room, check=False) as trial:
        verdicts = [await trial.of(mutants[name]) for name in SAMPLE]

    assert {verdict.name: verdict.missed for verdict in verdicts if verdict.survived} == {}


async def test_one_that_changes_nothing_is_reported(room: Room) -> None:
    mutants = {mutant.name: mutant for mutant in await listed(room)}
    names = ("gateway.api_keys.org: dropped", "gateway.companies: NO FORCE", "company_viewer may keys:write, too")
    async with Trial(room, check=False) as trial:
        verdicts = [await trial.of(neutralised(mutants[name])) for name in names]

    assert [verdict.killer for verdict in verdicts] == ["", "", ""]
    assert all(verdict.survived for verdict in verdicts)


async def test_every_line_that_a_mutant_replaces_is_still_there() -> None:
    found = await code_mutants.code_mutants()

    assert len(found) > 100
    for mutant in found:
        with mutant.applied():
            pass


def test_a_line_that_is_gone_is_no_mutant() -> None:
    gone = CodeMutant("check", "gone", "routes", "services.gateway.domain", "there is no such line", "pass")

    with pytest.raises(StaleMutant), gone.applied():
        pass


def test_a_function_is_as_before_once_its_mutant_is_over() -> None:
    nobody = context.TenantContext("key:1", OrgId(new_id()), ALL_COMPANIES, frozenset())
    with rewritten(context, "return permission in self.permissions", "return True"):
        assert nobody.may("keys:write")
    assert not nobody.may("keys:write")
