"""Errands about dead letters: the broker's, and those that a person tries, replays and discards."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from uuid import uuid4

import httpx

from libs.client.client import ApiProblem, OutriderClient
from libs.ids import PLATFORM_ORG
from tests.crashes.scene import Check, Scene
from tests.faults.ground import VHOST


async def dead_on_the_broker(scene: Scene) -> Check:
    """Bytes that the broker gave up on, and that nobody can read."""
    body = f"no event {uuid4()}".encode()
    before = await _unreadable(scene)
    url = f"{scene.ground.rabbit.management_url}/api/exchanges/{VHOST}/amq.default/publish"
    message = {"properties": {"delivery_mode": 2}, "routing_key": "provider-sync.dead", "payload_encoding": "base64"}
    async with httpx.AsyncClient(trust_env=False, timeout=20) as http:
        answer = await http.post(url, json={**message, "payload": base64.b64encode(body).decode()})
        answer.raise_for_status()

    async def filed() -> bool:
        return await _unreadable(scene) > before

    await scene.until(filed, "the dead letter is filed")

    async def check() -> list[str]:
        found = await _unreadable(scene) - before
        return [] if found == 1 else [f"one letter of the broker's was filed {found} times"]

    return check


async def _unreadable(scene: Scene) -> int:
    return await scene.count(
        "SELECT count(*) FROM provider_sync.inbox WHERE org_id = $1 AND state = 'dead'", PLATFORM_ORG
    )


async def replay(scene: Scene) -> Check:
    """Dead letters are tried, made due again, die again (they are poison), and are discarded."""
    await scene.post(4, poison=2)
    client = scene.load.agencies[0].client

    async def dead() -> bool:
        letters = [one async for one in client.dead_letters(service="provider-sync")]
        return len([one for one in letters if one["state"] == "dead"]) >= 2

    await scene.until(dead, "poison is dead")
    again = await _planned(scene, client, action="replay", canary=1)
    await scene.sure(lambda: client.try_replay(again["id"]))

    async def tried() -> bool:
        return bool((await client.replay(again["id"]))["dry_run_state"] == "done")

    await scene.until(tried, "the replay was tried")
    await _applied(scene, client, again, ("stopped", "completed"))
    with suppress(ApiProblem):  # it may have been over
        await scene.sure(lambda: client.move_replay(again["id"], "abort"))
    ending = await _planned(scene, client, action="discard")
    await _applied(scene, client, ending, ("completed",))
    org = scene.load.orgs[scene.load.agencies[0].name]

    async def check() -> list[str]:
        found = await client.replay(ending["id"])
        wrong = []
        if found["done"] + found["skipped"] != found["total"] or found["failed"]:
            wrong.append(f"of {found['total']} letters {found['done']} were discarded, {found['skipped']} skipped")
        left = await scene.count(
            "SELECT count(*) FROM provider_sync.inbox WHERE org_id = $1 AND state IN ('dead', 'due')", org
        )
        return [*wrong, *([f"{left} letters are left"] if left else [])]

    return check


async def _planned(scene: Scene, client: OutriderClient, **more: Any) -> dict[str, Any]:
    return await scene.sure(lambda: client.plan_replay("provider-sync", everything=True, **more))


async def _applied(scene: Scene, client: OutriderClient, plan: Mapping[str, Any], ends: tuple[str, ...]) -> None:
    try:
        await scene.sure(lambda: client.apply_replay(plan["id"], plan_hash=plan["hash"], reason="crash grid"))
    except ApiProblem as problem:
        if problem.status != 409:  # applied, and its answer was lost
            raise

    async def over() -> bool:
        return bool((await client.replay(plan["id"]))["state"] in ends)

    await scene.until(over, f"the replay is {' or '.join(ends)}")
