"""Replays: frozen when planned, tried without a trace, applied at a pace, once."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from libs import clock
from libs.errors import Conflict, NotFound
from libs.ids import new_id
from libs.messaging import replaying, replays, work
from libs.messaging.groups import group_id
from libs.messaging.ledger import Changes
from libs.messaging.pace import Pace
from libs.messaging.replays import LIVES, Letters
from tests.integration.libs.messaging.bench import AT_ONCE, NOON, QUEUE, Bench


@pytest.fixture
async def bench(migrated: Any) -> AsyncIterator[Bench]:
    made = Bench(migrated)
    await made.open()
    yield made
    await made.database.close()


async def test_a_plan_does_its_letters_and_no_others(bench, make_org):
    org, other = make_org(), make_org()
    await bench.bury(org, "a/1", "a/2", "b/1")
    await bench.bury(other, "a/7")

    plan = await bench.begun(org)
    await bench.bury(org, "late/1")
    ended = await bench.finished(org, plan)

    assert (ended["state"], ended["total"], ended["done"], ended["failed"]) == ("completed", 3, 3, 0)
    assert await bench.things(org) == {"a": [1, 2], "b": [1]}
    assert await bench.states(org) == {"done": 3, "dead": 1}
    assert (await bench.states(other), await bench.things(other)) == ({"dead": 1}, {})
    told = [one["state"] for one in await bench.told(org, "dead_letter.changed.v1")]
    assert told.count("done") == 3
    acts = [(one["action"], one["actor"]) for one in await bench.told(org, "action.performed.v1")]
    assert [one for one in acts if one[0].startswith("replay.")] == [
        ("replay.planned", "key:ada"), ("replay.dry_run", "key:ada"), ("replay.applied", "key:ada"),
        ("replay.completed", "service:analytics"),
    ]  # fmt: skip


async def test_it_is_applied_only_as_it_was_shown_and_once(bench, make_org):
    org, other = make_org(), make_org()
    await bench.bury(org, "a/1", "b/1")
    plan = await bench.plan(org)
    with pytest.raises(Conflict) as untried:
        await bench.apply(org, plan)
    assert untried.value.code == "dry_run_missing"
    await bench.tried(org, plan)
    with pytest.raises(Conflict) as another:
        await bench.apply(org, plan | {"hash": "0" * 64})
    assert another.value.code == "plan_changed"
    with pytest.raises(NotFound):
        await bench.apply(other, plan)
    with clock.frozen(plan["expires_at"]), pytest.raises(Conflict) as late:
        await bench.apply(org, plan)
    assert late.value.code == "plan_expired"

    second = await bench.plan(org)
    await bench.tried(org, second)
    await bench.apply(org, plan)
    with pytest.raises(Conflict) as twice:
        await bench.apply(org, plan)
    assert twice.value.code == "replay_state"
    with pytest.raises(Conflict) as busy:
        await bench.apply(org, second)
    assert busy.value.code == "replay_running"

    await bench.finished(org, plan)
    await bench.apply(org, second)
    ended = await bench.finished(org, second)
    assert (ended["state"], ended["done"], ended["skipped"]) == ("completed", 0, 2)
    assert bench.runs == {"a/1": 3, "b/1": 3}  # in two dry runs, and once for good


async def test_a_plan_whose_letters_were_tampered_with_is_refused(bench, make_org):
    org = make_org()
    await bench.bury(org, "a/1", "b/1")
    plan = await bench.plan(org)
    await bench.tried(org, plan)
    async with bench.database.tenant_transaction(org) as session:
        await session.execute("UPDATE replay_blocks SET event_ids[1] = $1", new_id())

    with pytest.raises(Conflict) as caught:
        await bench.apply(org, plan)

    assert caught.value.code == "plan_changed"


async def test_what_nobody_applies_expires(bench, make_org):
    org = make_org()
    await bench.bury(org, "a/1")
    plan = await bench.plan(org)

    with clock.frozen(plan["expires_at"] + LIVES):
        await bench.replays.run_due()

    assert (await bench.get(org, plan))["state"] == "expired"
    assert await bench.states(org) == {"dead": 1}


async def test_the_dry_run_tells_what_then_happens_and_leaves_no_trace(bench, make_org):
    org = make_org()
    dice = random.Random(7)
    names = [f"{dice.choice('abcdefgh')}{dice.randrange(20)}/{n}" for n in range(180)] + ["call/1", "call/2"]
    await bench.bury(org, *names)
    async with bench.database.tenant_transaction(org) as session:  # some of what is written is there before
        for name in ("a1", "b2", "c3", "call"):
            await session.execute("INSERT INTO things VALUES ($1, $2, '{999}')", org, name)
    bench.broken = {"d", *(f"d{n}" for n in range(20))}
    before = (await bench.things(org), await bench.states(org), len(await bench.told(org, "action.performed.v1")))
    plan = await bench.plan(org, pace=replace(AT_ONCE, stop_failures=1000, canary=1))

    found = (await bench.tried(org, plan))["dry_run"]

    after = (await bench.things(org), await bench.states(org), len(await bench.told(org, "action.performed.v1")))
    assert after == (before[0], before[1], before[2] + 2)  # planned and tried are audited, nothing else is there
    fails = sum(name[0] == "d" for name in names)
    assert (found["covered"], found["would_succeed"], found["would_fail"]) == (182, 182 - fails, fails)
    assert found["failures"][0]["letters"] == fails
    assert found["failures"][0]["reason"] == "… is broken"
    assert found["effects_suppressed"] == [{"table": "calls", "rows": 1}]

    await bench.apply(org, plan)
    told_before = len(await bench.told(org, "action.performed.v1"))
    ended = await bench.finished(org, plan)
    if ended["state"] == "stopped":  # its one canary was one of the broken ones
        await bench.move(org, plan, replays.resume)
        ended = await bench.finished(org, plan)

    assert (ended["done"], ended["failed"]) == (found["would_succeed"], found["would_fail"])
    things, calls = await bench.things(org), await bench.things(org, "calls")
    tables = {row["table"]: row for row in found["rows"]}
    assert tables["things"]["inserted"] == len(things.keys() - before[0].keys())
    assert tables["things"]["updated"] == sum(things[name] != numbers for name, numbers in before[0].items())
    assert tables["calls"]["inserted"] == len(calls)
    changed = {one["key"]["name"]: one["kind"] for one in found["changes"] if one["table"] == "things"}
    really = {
        name: "updated" if name in before[0] else "inserted" for name in things if things[name] != before[0].get(name)
    }
    assert changed == really
    acts = [
        one for one in (await bench.told(org, "action.performed.v1"))[told_before:] if one["action"] == "thing.told"
    ]
    (events,) = found["events"]
    assert (events["type"], events["count"]) == ("action.performed.v1", len(acts))


async def test_everything_done_again_changes_nothing(bench, make_org):
    org = make_org()
    letters = await bench.bury(org, "a/1", "a/2", "call/1")
    await bench.finished(org, await bench.begun(org))
    before = await bench.things(org), await bench.things(org, "calls")
    async with bench.database.transaction() as transaction:  # as if it had never been known that they were done
        await transaction.as_dispatch()
        for letter in letters:
            await transaction.driver.execute(
                "UPDATE analytics.inbox SET state = 'dead', envelope = $1 WHERE event_id = $2", letter.raw, letter.id
            )

    ended = await bench.finished(org, await bench.begun(org))

    assert ended["done"] == 3
    assert (await bench.things(org), await bench.things(org, "calls")) == before


async def test_poison_stops_within_the_canary_and_resumes_with_another(bench, make_org):
    org = make_org()
    await bench.bury(org, *(f"a/{n}" for n in range(40)))
    plan = await bench.begun(org, pace=replace(AT_ONCE, canary=3))
    bench.broken = {"a"}

    stopped = await bench.finished(org, plan)
    assert (stopped["state"], stopped["released"], stopped["failed"]) == ("stopped", 3, 3)
    assert stopped["stop_reason"] == "3 of the first 3 failed again"
    assert await bench.states(org) == {"dead": 40}

    bench.broken = set()
    await bench.move(org, plan, replays.resume)
    await bench.step(handle=False)
    assert (await bench.get(org, plan))["released"] == 6
    ended = await bench.finished(org, plan)
    assert (ended["state"], ended["done"], ended["failed"]) == ("completed", 37, 3)


async def test_too_many_failures_stop_it_later_too(bench, make_org):
    org = make_org()
    await bench.bury(org, *(f"a/{n}" for n in range(10)), *(f"b/{n}" for n in range(300)))
    plan = await bench.begun(org, pace=Pace(rate=20, account_rate=20, canary=2, ramp_seconds=0))
    bench.broken = {"b"}

    stopped = await bench.finished(org, plan)

    assert stopped["state"] == "stopped"
    assert 10 <= stopped["failed"] <= 30
    assert stopped["released"] < 60


async def test_paused_nothing_more_is_released_and_aborted_nothing_ever(bench, make_org):
    org = make_org()
    await bench.bury(org, *(f"a/{n}" for n in range(100)))
    plan = await bench.begun(org, pace=Pace(rate=10, account_rate=10, canary=1, ramp_seconds=0))
    for _ in range(4):
        await bench.step()
    paused = await bench.move(org, plan, replays.pause)
    for _ in range(5):
        await bench.step()

    assert 0 < (await bench.get(org, plan))["released"] == paused["released"] < 50
    aborted = await bench.move(org, plan, replays.abort)
    assert (await bench.move(org, plan, replays.abort))["state"] == aborted["state"] == "aborted"
    with pytest.raises(Conflict):
        await bench.move(org, plan, replays.resume)
    for _ in range(5):
        await bench.step()
    assert (await bench.states(org))["dead"] == 100 - paused["released"]


async def test_the_rate_is_kept_by_the_clock(bench, make_org):
    org = make_org()
    await bench.bury(org, *(f"a/{n}" for n in range(400)))
    pace = Pace(rate=20, account_rate=100, canary=4, ramp_seconds=10)
    plan = await bench.begun(org, pace=pace)

    await bench.step()  # the canary
    await bench.step()  # is over
    released = []
    for _ in range(15):
        await bench.step()
        released.append((await bench.get(org, plan))["released"] - 4)

    ramp = [int(20 * t * t / 20) for t in range(1, 11)]
    assert released == [*ramp, *(100 + 20 * n for n in range(1, 6))]
    await bench.step(seconds=60)  # nobody worked for a minute: no flood
    assert (await bench.get(org, plan))["released"] - 4 - released[-1] == 20


async def test_each_account_has_its_own_rate(bench, make_org):
    org, one, two = make_org(), new_id(), new_id()
    await bench.bury(org, *(f"a/{n}" for n in range(60)), accounts=(one, two, one))
    plan = await bench.begun(org, pace=Pace(rate=100, account_rate=3, canary=1, ramp_seconds=0))
    for _ in range(6):
        await bench.step()

    async with bench.database.tenant_transaction(org) as session:
        rows = await session.fetch(
            "SELECT account_id, count(*) AS done FROM inbox WHERE replay_id = $1 GROUP BY 1", plan["id"]
        )
    by_account = {row["account_id"]: row["done"] for row in rows}
    assert sorted(by_account.values()) == [12, 13]  # one of them had the canary
    assert by_account.keys() == {one, two}


async def test_a_step_that_dies_anywhere_is_as_if_it_had_not_begun(bench, make_org, monkeypatch):
    org = make_org()
    await bench.bury(org, *(f"a/{n}" for n in range(30)))
    plan = await bench.begun(org, pace=Pace(rate=7, account_rate=7, canary=2, ramp_seconds=0))
    dice, dies, armed = random.Random(3), 0, True
    for name, owner in (("write", Changes), ("keep", work)):
        whole = getattr(owner, name)

        async def dying(*arguments: Any, whole: Any = whole, **more: Any) -> Any:
            nonlocal dies
            if armed and dice.random() < 0.3:
                dies += 1
                raise RuntimeError("killed")
            return await whole(*arguments, **more)

        monkeypatch.setattr(owner, name, dying)

    for _ in range(30):
        armed = True
        await bench.step(handle=False)
        armed = False
        await bench.step(0)
    ended = await bench.get(org, plan)

    assert dies >= 3
    assert set(bench.runs.values()) == {2}  # once in the dry run, once for good
    assert (ended["state"], ended["done"] + ended["failed"], ended["released"]) == ("completed", 30, 30)


async def test_a_plan_of_many_blocks_does_each_letter_once_and_then_forgets_them(bench, make_org, monkeypatch):
    org = make_org()
    for module in (replays, replaying):
        monkeypatch.setattr(module, "BLOCK_LETTERS", 7)
    monkeypatch.setattr(replaying, "_BLOCKS_AT_ONCE", 2)
    await bench.bury(org, *(f"a/{n}" for n in range(90)), accounts=(new_id(), None, new_id()))
    plan = await bench.begun(org)
    assert (await bench.get(org, plan))["dry_run"]["covered"] == 90

    ended = await bench.finished(org, plan, steps=40)

    assert (ended["state"], ended["done"], ended["skipped"]) == ("completed", 90, 0)
    assert set(bench.runs.values()) == {2}  # once in the dry run, once for good
    async with bench.database.tenant_transaction(org) as session:
        for table in ("replay_blocks", "replay_items"):
            assert await session.fetchval(f"SELECT count(*) FROM {table}") == 0


async def test_letters_are_chosen_by_what_they_are_about(bench, make_org):
    org, account = make_org(), new_id()
    told = await bench.bury(org, "a/1", "b/1", "c/1", "d/1", accounts=(account, None))
    async with bench.database.tenant_transaction(org) as session:
        marks = {row["fingerprint"] for row in await session.fetch("SELECT fingerprint FROM inbox")}
        await session.execute("UPDATE inbox SET changed_at = $1 WHERE event_id = $2", NOON, told[3].id)
    (mark,) = marks

    async def count(**chosen: Any) -> int:
        try:
            return int((await bench.plan(org, Letters(**chosen)))["total"])
        except NotFound:
            return 0

    assert await count(groups=(group_id(org, mark),)) == 4
    assert await count(groups=(new_id(),)) == 0
    assert await count(letters=((QUEUE, told[0].id), (QUEUE, told[1].id), ("other.queue", told[2].id))) == 2
    assert await count(account_id=account) == 2
    assert await count(consumer=QUEUE, error_class="contract_violated", state="dead") == 4
    assert await count(state="parked") == 0
    assert await count(failed_until=NOON.replace(hour=13)) == 1
    with pytest.raises(Conflict) as many:
        await bench.plan(org, most=3)
    assert many.value.code == "too_many_letters"


async def test_what_is_discarded_is_never_handled(bench, make_org):
    org = make_org()
    await bench.bury(org, "a/1", "a/2")
    plan = await bench.begun(org, action="discard")

    ended = await bench.finished(org, plan)

    assert (ended["state"], ended["done"]) == ("completed", 2)
    assert await bench.states(org) == {"discarded": 2}
    assert not bench.runs
    assert [one["state"] for one in await bench.told(org, "dead_letter.changed.v1")][-2:] == ["discarded", "discarded"]
