"""What makes the house pass a place. Each goes on through the crash as its client or provider would, until its own work is
done, and answers how to see that this was done once."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Any
from uuid import uuid4

from libs.client.client import OutriderClient
from libs.clock import now
from libs.ids import parse_public_id
from tests.crashes.letters import dead_on_the_broker, replay
from tests.crashes.scene import Check, Errand, Scene, simulator


async def webhooks(scene: Scene) -> Check:
    await scene.post(10)
    return _nothing_more


async def poison(scene: Scene) -> Check:
    """Together with good ones, so that a batch is halved."""
    await scene.post(12, poison=4)
    return _nothing_more


async def restart(scene: Scene) -> Check:
    """What is done by the clock is done first when a process starts."""
    name = "standalone" if scene.ground.transport == "embedded" else "provider_sync"
    await asyncio.to_thread(scene.ground.house.stop, name)
    await scene.ground.all_ready()
    await scene.post(4)
    return _nothing_more


async def operation(scene: Scene) -> Check:
    """A campaign is made at the provider: not at all, or once."""
    name = f"Cell {uuid4()}"
    asked = await scene.sure(
        lambda: scene.workshop.create_campaign(
            "email", scene.tool_account, name, idempotency_key=name.replace(" ", "-")
        )
    )
    await _succeeded(scene, asked)
    org = scene.workshop_org

    async def check() -> list[str]:
        made = sum(one.name == name for one in scene.tool.account.campaigns)
        kept = await scene.count(
            "SELECT count(*) FROM provider_sync.operations WHERE org_id = $1 AND arguments->>'name' = $2", org, name
        )
        told = await _audited(scene, asked["id"])
        counts = {"at the provider": made, "operations": kept, "audit rows": told}
        return [f"{where}: {number}, not 1" for where, number in counts.items() if number != 1]

    return check


async def _succeeded(scene: Scene, asked: Mapping[str, Any]) -> None:
    state = ""

    async def over() -> bool:
        nonlocal state
        found = await scene.workshop.operation(asked["id"])
        state = "needs a decision" if found["needs_decision"] else found["state"]
        return state in ("succeeded", "failed", "cancelled", "needs a decision")

    await scene.until(over, f"the operation {asked['kind']} is over")
    if state != "succeeded":
        raise AssertionError(f"the operation {asked['kind']} {state}")


async def account_test(scene: Scene) -> Check:
    asked = await scene.sure(lambda: scene.workshop._post(f"/provider-accounts/{scene.tool_account}/test", {}))
    await _succeeded(scene, asked)
    return _nothing_more


async def sync(scene: Scene) -> Check:
    """An account is read while its webhooks come in: both tell the same."""
    await scene.post(4)
    agency = scene.load.agencies[0]
    account = agency.accounts[0].id
    asked = await scene.sure(lambda: agency.client._post(f"/provider-accounts/{account}/syncs", {"full": True}))

    async def over() -> bool:
        found = await agency.client.operation(asked["id"])
        if found["state"] in ("failed", "cancelled"):
            raise AssertionError(f"the reading {found['state']}: {found['error']}")
        return bool(found["state"] == "succeeded")

    await scene.until(over, "the account was read")
    return _nothing_more


async def registration(scene: Scene) -> Check:
    """A new account's webhook: registered once, or a person is asked; never twice."""
    simulated = simulator()
    scene.api.add(simulated)
    account = await scene.open_account(simulated)
    status = ""

    async def over() -> bool:
        nonlocal status
        status = (await scene.workshop.provider_account(account["id"]))["webhook_endpoint"]["status"]
        return status in ("registered", "unknown", "failed")

    await scene.until(over, "the webhook is registered, or somebody is asked")

    async def check() -> list[str]:
        made = len(simulated.account.registrations)
        if made > 1 or (status == "registered" and not made) or status == "failed":
            return [f"the endpoint is {status}, and registered {made} times"]
        return []

    return check


async def slot(scene: Scene) -> Check:
    """A schedule's slot is due at once: it starts one run."""
    agency = scene.load.agencies[1]
    account = agency.accounts[0].id
    org = scene.load.orgs[agency.name]
    all_runs = "SELECT count(*) FROM reconciliation.runs WHERE org_id = $1"
    before = await scene.count(all_runs, org)
    anchor = (now() - timedelta(seconds=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    made = await scene.sure(lambda: agency.client.create_schedule(account, interval_seconds=300, anchor=anchor))
    identifier = parse_public_id("sch", made["id"])
    runs = "SELECT count(*) FROM reconciliation.schedule_slots WHERE schedule_id = $1 AND run_id IS NOT NULL"
    await scene.database.execute(
        "UPDATE reconciliation.reconciliation_schedules SET next_slot = anchor WHERE schedule_id = $1", identifier
    )

    async def ended() -> bool:
        started = [one async for one in agency.client.slots(made["id"])]
        if not started or started[0]["run_id"] is None:
            return False
        run = await agency.client.reconciliation(started[0]["run_id"])
        return bool(run["state"] in ("completed", "failed"))

    await scene.until(ended, "the slot's run has ended")
    count = await scene.count(runs, identifier)
    new = await scene.count(all_runs, org) - before
    await scene.sure(lambda: agency.client.delete_schedule(made["id"]))

    async def check() -> list[str]:
        return [] if count == new == 1 else [f"the slot started {count} runs; {new} runs are new"]

    return check


async def erasure(scene: Scene) -> Check:
    name = f"Leaving {uuid4()}"
    org = await scene.sure(lambda: scene.platform.create_organization(name, time_zone="UTC"))
    house = scene.ground.house
    async with OutriderClient(house.gateway_url, house.platform_key, org=org["id"]) as staff:
        key = await scene.sure(lambda: staff.create_api_key("leaving", role="org_admin"))
    async with OutriderClient(house.gateway_url, key["key"]) as client:
        await scene.sure(lambda: client.create_company("Leaving"))
    org_id = parse_public_id("org", org["id"])

    async def known() -> bool:
        return await scene.count("SELECT count(*) FROM provider_sync.companies WHERE org_id = $1", org_id) == 1

    await scene.until(known, "provider_sync knows the company")
    await scene.sure(lambda: scene.platform.suspend_organization(org["id"], reason="crash grid"))
    await scene.sure(lambda: scene.platform.erase_organization(org["id"], confirm=name, reason="crash grid"))

    async def erased() -> bool:
        return bool((await scene.platform.erasure(org["id"]))["state"] == "completed")

    await scene.until(erased, "the organization is erased")

    async def check() -> list[str]:
        wrong = []
        for table in ("companies", "inbox", "outbox"):
            left = await scene.count(f"SELECT count(*) FROM provider_sync.{table} WHERE org_id = $1", org_id)
            wrong += [f"{left} rows of {table} are left"] if left else []
        return wrong

    return check


async def company(scene: Scene) -> Check:
    """The answer is lost: the client looks, and asks again only if it finds nothing."""
    name = f"Company {uuid4()}"

    async def named() -> list[Any]:
        return [one async for one in scene.workshop.companies() if one["name"] == name]

    async def once() -> None:
        if not await named():
            await scene.workshop.create_company(name)

    await scene.sure(once)

    async def check() -> list[str]:
        found = await named()
        told = await _audited(scene, found[0]["id"]) if found else 0
        counts = {"companies": len(found), "audit rows": told}
        return [f"{what}: {number}, not 1" for what, number in counts.items() if number != 1]

    return check


async def _audited(scene: Scene, identifier: str) -> int:
    return len([one async for one in scene.workshop.audit_log() if one["object"] == identifier])


async def _nothing_more() -> list[str]:
    return []


ERRANDS: Mapping[str, Errand] = MappingProxyType(
    {
        one.__name__: one
        for one in (
            webhooks, poison, restart, dead_on_the_broker, replay, operation, account_test, sync, registration, slot,
            erasure, company,
        )
    }
)  # fmt: skip
