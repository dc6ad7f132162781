"""A new build tries a letter of each cause, keeps nothing of it, and says what it found."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from libs.messaging import probing
from libs.messaging.dry_run import DryRunBusy
from libs.messaging.groups import GroupQuery, Groups
from libs.messaging.probing import Probes
from libs.observability.build import build_id
from tests.integration.libs.messaging.bench import QUEUE, Bench


@pytest.fixture
async def bench(migrated: Any) -> AsyncIterator[Bench]:
    made = Bench(migrated)
    await made.open()
    yield made
    await made.database.close()


class Deployed:
    def __init__(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        self._bench, self._monkeypatch = bench, monkeypatch
        self.probes = Probes(bench.database, {QUEUE: bench.processor})

    async def tried(self, build: str) -> int:
        """This build runs now; answers how many groups it tried."""
        self._monkeypatch.setattr(probing, "build_id", lambda: build)
        tried = 0
        while await self.probes.run_due():
            tried += 1
        return tried

    async def fixed_by(self, org: Any) -> str | None:
        async with self._bench.database.tenant_transaction(org) as session:
            (group,) = await Groups(session).page(GroupQuery(), before=None, limit=10)
        assert (group["fixed_by_build"] is None) == (group["fixed_since"] is None)
        found: str | None = group["fixed_by_build"]
        return found


async def test_a_build_that_mends_a_cause_is_seen_and_nothing_is_replayed(bench, make_org, monkeypatch):
    org, deployed = make_org(), Deployed(bench, monkeypatch)
    await bench.bury(org, "a/1", "a/2", "a/3")

    assert await deployed.tried(build_id()) == 0  # it is this build that failed
    bench.broken = {"a"}
    assert await deployed.tried("second") == 1
    assert await deployed.fixed_by(org) is None
    bench.broken = set()
    assert await deployed.tried("second") == 0  # tried once, and that is known of it
    assert await deployed.tried("third") == 1

    assert await deployed.fixed_by(org) == "third"
    assert bench.runs == {"a/3": 2}
    assert await bench.states(org) == {"dead": 3}
    assert await bench.things(org) == {}


async def test_what_fails_again_is_not_mended_until_it_was_tried_again(bench, make_org, monkeypatch):
    org, deployed = make_org(), Deployed(bench, monkeypatch)
    await bench.bury(org, "a/1")
    await deployed.tried("second")
    assert await deployed.fixed_by(org) == "second"

    await bench.bury(org, "a/2")  # by a replica of the build before

    assert await deployed.fixed_by(org) is None
    assert await deployed.tried("second") == 0
    async with bench.database.tenant_transaction(org) as session:
        await session.execute(
            "UPDATE failure_groups SET probed_at = now() - interval '62 seconds', last_seen = now() - interval '61 seconds'"
        )
    assert await deployed.tried("second") == 1
    assert await deployed.fixed_by(org) == "second"


NOT_TRIED = (
    "UPDATE failure_groups SET status = 'ignored'",
    "UPDATE inbox SET state = 'discarded'",
    "UPDATE failure_groups SET error_class = 'crash'",
    "INSERT INTO org_states (org_id, state, revision) SELECT org_id, 'suspended', 1 FROM failure_groups",
)


async def test_what_is_not_to_be_tried_is_left_alone(bench, make_org, monkeypatch):
    orgs, deployed = [make_org() for _ in NOT_TRIED], Deployed(bench, monkeypatch)
    for org, sql in zip(orgs, NOT_TRIED, strict=True):
        await bench.bury(org, "a/1")
        async with bench.database.tenant_transaction(org) as session:
            await session.execute(sql)

    await deployed.tried("second")

    assert not bench.runs
    assert [await deployed.fixed_by(org) for org in orgs] == [None] * len(orgs)


async def test_a_group_that_was_claimed_and_left_is_tried_later(bench, make_org, monkeypatch):
    org, deployed = make_org(), Deployed(bench, monkeypatch)
    await bench.bury(org, "a/1")

    async def killed(*_: Any, **__: Any) -> Any:
        raise DryRunBusy("live work is in the way")

    with monkeypatch.context() as dying:
        dying.setattr(probing, "dry_run", killed)
        assert await deployed.tried("second") == 1
    assert await deployed.tried("second") == 0
    async with bench.database.tenant_transaction(org) as session:
        await session.execute("UPDATE failure_groups SET probed_at = now() - interval '61 seconds'")

    assert await deployed.tried("second") == 1
    assert await deployed.fixed_by(org) == "second"
