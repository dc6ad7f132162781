"""The harness of `make mutants`: a few of its mutants each time, and that it would report one that changes nothing."""

from __future__ import annotations

from pathlib import Path

import asyncpg
import pytest

from libs.ids import OrgId, new_id
from libs.tenancy import context
from libs.tenancy.context import ALL_COMPANIES
from tests.security import code_mutants
from tests.security.code_mutants import CodeMutant, StaleMutant, rewritten
from tests.security.grants import rolled_back
from tests.security.mutants import _keep, _kept, _shard, listed, neutralised
from tests.security.room import Room
from tests.security.sql_mutants import SqlMutant, named
from tests.security.trial import Trial, Verdict

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
    async with Trial(room, check=None) as trial:
        verdicts = [await trial.of(mutants[name]) for name in SAMPLE]

    assert {verdict.name: verdict for verdict in verdicts if not verdict.killed} == {}


async def test_one_that_is_stale_is_told_and_the_next_one_is_tried(room: Room) -> None:
    gone = (
        CodeMutant("check", "gone", "roles", "services.gateway.domain", "there is no such line", "pass"),
        SqlMutant("policy dropped", "gone", ("DROP POLICY org ON gateway.no_such_table",), ("gateway",)),
    )
    mutants = {mutant.name: mutant for mutant in await listed(room)}
    async with Trial(room, check=None) as trial:
        *stale, last = [await trial.of(mutant) for mutant in (*gone, mutants["company_viewer may keys:write, too"])]

    assert [(one.killed, one.survived) for one in stale] == [(False, False)] * 2
    assert "there is no such line" in stale[0].stale
    assert "no_such_table" in stale[1].stale
    assert last.killed


async def test_every_statement_of_a_mutant_is_one_that_the_database_takes(room: Room) -> None:
    stale: list[str] = []
    async with room.copy(rows=False) as copy:
        found = [mutant for mutant in await listed(room) if isinstance(mutant, SqlMutant)]
        database = await copy.admin.fetchval("SELECT current_database()")
        async with rolled_back(copy.admin):
            for mutant in found:
                names = {"template": room.template.template, "database": database}
                try:
                    async with rolled_back(copy.admin):
                        await copy.admin.execute(";".join(named(sql, **names) for sql in (*mutant.sql, *mutant.undo)))
                except asyncpg.PostgresError as error:
                    stale.append(f"{mutant.kind}: {mutant.name}: {error}")

    assert stale == []
    assert len(found) > 1000


def test_a_shard_is_a_part_and_what_was_killed_is_not_tried_again(tmp_path: Path) -> None:
    assert [_shard("1/2"), _shard("2/2")] == [(1, 2), (2, 2)]
    for wrong in ("0/2", "3/2", "x", "1"):
        with pytest.raises(ValueError):
            _shard(wrong)

    journal = tmp_path / "journal"
    assert _kept(journal) == []
    for verdict in (
        Verdict("role", "killed", "a test"), Verdict("role", "alive", missed="no test fails"),
        Verdict("role", "old", stale="gone"), Verdict("role", "killed", "another"),
    ):  # fmt: skip
        _keep(journal, verdict)
    assert [(one.name, one.killer) for one in _kept(journal)] == [("killed", "another")]


async def test_one_that_changes_nothing_is_reported(room: Room) -> None:
    mutants = {mutant.name: mutant for mutant in await listed(room)}
    names = ("gateway.api_keys.org: dropped", "gateway.companies: NO FORCE", "company_viewer may keys:write, too")
    async with Trial(room, check=None) as trial:
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
