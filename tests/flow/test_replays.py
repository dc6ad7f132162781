"""From a dead letter to a replay, over the API and on the command line, through all services as they are built."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import typer.testing

from libs.client.client import OutriderClient
from libs.clock import now
from libs.contracts.event import seal
from libs.contracts.events import OperationChangedV1, OrganizationCreatedV1, WebhookReceivedV1
from libs.ids import OrgId, new_id, parse_public_id
from libs.messaging.replaying import Replays
from services.cli import asking, replay
from services.cli.main import app
from tests.security.stack import GATEWAY_URL, Stack, opened


@dataclass
class Scene:
    stack: Stack
    org: OrgId
    org_name: str
    key: str
    other_key: str

    async def ask(self, method: str, path: str, body: Any = None, *, key: str = "") -> httpx.Response:
        return await self.stack.ask(method, path, key or self.key, json=body)

    async def bury(self, queue: str, event: Any) -> None:
        processor = next(one for one in self.stack.processors if one.queue == queue)
        await processor.deliver([seal(event, source=event.publisher, org_id=self.org)])

    async def work(self) -> None:
        """The replays of all services make a step, and everything comes to rest."""
        for name, database in self.stack.databases.items():
            process = name.replace("_", "-")
            mine = {one.queue: one for one in self.stack.processors if one.source == process}
            await Replays(database, process, mine, effect_tables=self.stack.services[name].effect_tables).run_due()
        await self.stack.settle()


def webhook() -> WebhookReceivedV1:
    """Of an account that nobody has."""
    return WebhookReceivedV1(
        delivery_id=new_id(),
        provider="smartlead",
        account_id=new_id(),
        endpoint_id=new_id(),
        received_at=now(),
        body=b"{}",
    )


@pytest.fixture
async def scene(migrated: Any) -> AsyncIterator[Scene]:
    async with opened(migrated) as stack:
        made = []
        for name in ("Northwind", "Other"):
            response = await stack.ask("POST", "/v1/organizations", stack.platform_key, json={"name": name})
            org = response.json()["id"]
            body = {"name": "admin", "role": "org_admin"}
            key = (await stack.ask("POST", "/v1/api-keys", stack.platform_key, org=org, json=body)).json()["key"]
            made.append((org, key))
        await stack.settle()
        (org, key), (_, other) = made
        yield Scene(stack, OrgId(parse_public_id("org", org)), org, key, other)


async def test_from_a_letter_to_its_group_to_a_replay(scene):
    for _ in range(3):
        await scene.bury("provider-sync.webhooks", webhook())
    await scene.stack.settle()

    (first, *_) = (await scene.ask("GET", "/v1/dead-letters?service=provider-sync")).json()["data"]
    letter = (await scene.ask("GET", f"/v1/dead-letters/{first['id']}")).json()
    assert json.loads(base64.b64decode(letter["envelope_base64"]))["id"] == letter["event_id"] == first["event_id"]
    assert (letter["provider"], letter["state"], len(letter["history"])) == ("smartlead", "dead", 1)
    assert letter["history"][0]["build"] == letter["build"]
    (group,) = (await scene.ask("GET", "/v1/dead-letter-groups?service=provider-sync&with_letters=true")).json()["data"]
    assert (group["id"], group["letters"], group["accounts"]) == (letter["group_id"], 3, 3)
    assert (group["id"], group["advice"]["action"]) == (first["group_id"], "investigate")
    assert (await scene.ask("GET", f"/v1/dead-letters/{first['id']}", key=scene.other_key)).status_code == 404

    body = {"service": "provider-sync", "group_ids": [group["id"]], "canary": 2}
    planned = await scene.ask("POST", "/v1/replays", body)
    assert planned.status_code == 201
    plan = planned.json()
    assert planned.headers["location"] == f"/v1/replays/{plan['id']}"
    await scene.bury("provider-sync.webhooks", webhook())  # too late to be in the plan
    assert (await scene.ask("POST", f"/v1/replays/{plan['id']}/dry-run")).status_code == 202
    await scene.work()
    tried = (await scene.ask("GET", f"/v1/replays/{plan['id']}")).json()
    assert (tried["dry_run"]["covered"], tried["dry_run"]["would_fail"]) == (3, 3)
    assert tried["dry_run"]["failures"][0]["error_class"] == "tenant_mismatch"

    apply = {"hash": plan["hash"], "reason": "to see it stop"}
    assert (await scene.ask("POST", f"/v1/replays/{plan['id']}/apply", apply, key=scene.other_key)).status_code == 404
    assert (await scene.ask("POST", f"/v1/replays/{plan['id']}/apply", apply)).status_code == 202
    await scene.work()
    await scene.work()
    stopped = (await scene.ask("GET", f"/v1/replays/{plan['id']}")).json()
    assert (stopped["state"], stopped["failed"], stopped["released"]) == ("stopped", 2, 2)
    assert (await scene.ask("POST", f"/v1/replays/{plan['id']}/abort")).json()["state"] == "aborted"
    await scene.stack.settle()
    acts = [one["action"] for one in (await scene.ask("GET", "/v1/audit-log")).json()["data"]]
    assert [one for one in reversed(acts) if one.startswith("replay.")] == [
        "replay.planned", "replay.dry_run", "replay.applied", "replay.stopped", "replay.aborted"
    ]  # fmt: skip


async def test_the_gateway_answers_for_its_own_letters_as_the_others_do(scene):
    for body, status in REFUSED:
        assert (await scene.ask("POST", "/v1/replays", body)).status_code == status, body
    changed = OperationChangedV1.model_validate(
        {
            "operation_id": new_id(), "account_id": new_id(), "kind": "campaign.pause", "target": "cam_1", "state": "pending",
            "revision": 1, "needs_decision": False,
            "done": 0, "total": 1, "requested_by": "key:ada", "created_at": now(), "changed_at": now(),
        }
    )  # fmt: skip
    await scene.bury("gateway.operations", changed)

    (group,) = (await scene.ask("GET", "/v1/dead-letter-groups?service=gateway")).json()["data"]
    change = {"revision": group["revision"], "status": "acknowledged", "note": "an operation of nobody"}
    kept = (await scene.ask("PATCH", f"/v1/dead-letter-groups/{group['id']}", change)).json()
    assert (kept["status"], kept["notes"][0]["text"]) == ("acknowledged", "an operation of nobody")
    discarding = {"service": "gateway", "everything": True, "action": "discard"}
    plan = (await scene.ask("POST", "/v1/replays", discarding)).json()
    await scene.ask("POST", f"/v1/replays/{plan['id']}/apply", {"hash": plan["hash"], "reason": "nobody's"})
    await scene.work()
    await scene.work()
    assert (await scene.ask("GET", f"/v1/replays/{plan['id']}")).json()["done"] == 1
    assert (await scene.ask("GET", "/v1/dead-letter-groups?service=gateway&with_letters=true")).json()["data"] == []


async def test_a_letter_whose_content_is_put_right_is_done_by_a_replay_and_keeps_what_it_was(scene):
    lost = OrganizationCreatedV1(organization_id=scene.org, name="Northwind", time_zone="Nowhere/Lost")
    await scene.bury("analytics.tenants", lost)
    await scene.bury("provider-sync.webhooks", webhook())
    await scene.stack.settle()
    letters = {one["service"]: one["id"] for one in (await scene.ask("GET", "/v1/dead-letters")).json()["data"]}
    path = f"/v1/dead-letters/{letters['analytics']}"
    came = (await scene.ask("GET", path)).json()
    good = {"organization_id": str(scene.org), "name": "Northwind", "time_zone": "Europe/Berlin"}
    body = {"sha256": came["sha256"], "data": good, "reason": "the zone was lost: ticket 4711"}

    async def refused(path: str, key: str = "", **changes: Any) -> tuple[int, str]:
        answer = await scene.ask("POST", f"{path}/edits", body | changes, key=key)
        return answer.status_code, answer.json()["code"]

    assert await refused(path, scene.other_key) == (404, "not_found")
    assert await refused(path, sha256="0" * 64) == (409, "letter_changed")
    assert await refused(path, data=good | {"name": 7}) == (422, "contract_violated")
    assert await refused(path, data=good | {"organization_id": str(new_id())}) == (422, "other_subject")
    assert await refused(path, data=None, data_base64="e30=") == (422, "invalid_request")
    assert await refused(path, data_base64="e30=") == (422, "invalid_request")
    assert (await scene.ask("GET", path)).json() == came

    edited = await scene.ask("POST", f"{path}/edits", body)

    assert edited.status_code == 200
    kept = edited.json()
    assert (kept["original_base64"], kept["edits"][0]["sha256_before"]) == (came["envelope_base64"], came["sha256"])
    assert (kept["edits"][0]["sha256_after"], kept["edits"][0]["reason"]) == (kept["sha256"], body["reason"])
    before, after = (json.loads(base64.b64decode(one["envelope_base64"])) for one in (came, kept))
    assert after == before | {"data": good}
    plan = (await scene.ask("POST", "/v1/replays", {"service": "analytics", "everything": True})).json()
    await scene.ask("POST", f"/v1/replays/{plan['id']}/dry-run")
    await scene.work()
    await scene.ask("POST", f"/v1/replays/{plan['id']}/apply", {"hash": plan["hash"], "reason": "put right"})
    for _ in range(3):
        await scene.work()
    assert (await scene.ask("GET", f"/v1/replays/{plan['id']}")).json()["done"] == 1
    done = (await scene.ask("GET", path)).json()
    assert (done["state"], done["original_base64"]) == ("done", came["envelope_base64"])
    assert await refused(path) == (409, "letter_state")
    acts = [
        one for one in (await scene.ask("GET", "/v1/audit-log")).json()["data"] if one["action"] == "dead_letter.edited"
    ]
    assert [one["details"]["sha256_after"] for one in acts] == [kept["sha256"]]

    # Of bytes that a provider posted, the bytes.
    path = f"/v1/dead-letters/{letters['provider-sync']}"
    sha256 = (await scene.ask("GET", path)).json()["sha256"]
    assert await refused(path, sha256=sha256) == (422, "invalid_request")
    answer = await scene.ask("POST", f"{path}/edits", {"sha256": sha256, "data_base64": "e30=", "reason": "x"})
    assert json.loads(base64.b64decode(answer.json()["envelope_base64"]))["data_base64"] == "e30="


# What names no letters, or not as it should.
REFUSED: tuple[tuple[dict[str, Any], int], ...] = (
    ({"service": "provider-sync"}, 422),
    ({"service": "provider-sync", "everything": True, "consumer": "provider-sync.webhooks"}, 422),
    ({"service": "nobody", "everything": True}, 422),
    ({"everything": True}, 422),
    ({"service": "analytics", "everything": True}, 404),
    ({"service": "analytics", "group_ids": ["fgr_provider-sync_" + "0" * 32]}, 404),
    ({"service": "analytics", "everything": True, "rate": 0}, 422),
)


async def test_the_command_line_says_the_same_and_ends_with_its_codes(scene, monkeypatch, tmp_path):
    await scene.bury("provider-sync.webhooks", webhook())
    await scene.stack.settle()
    runner, loop = typer.testing.CliRunner(), asyncio.get_running_loop()
    inner = httpx.ASGITransport(scene.stack.apps["gateway"])

    class Bridge(httpx.AsyncBaseTransport):
        """From the command's own loop to that of the services, which work between two questions."""

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            async def answer() -> httpx.Response:
                if request.method == "GET" and "/replays/" in request.url.path:
                    await scene.work()
                told = await inner.handle_async_request(request)
                await told.aread()
                return httpx.Response(told.status_code, headers=told.headers, content=told.content)

            return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(answer(), loop))

    def connect(url: str, key: str, org: str | None) -> OutriderClient:
        return OutriderClient(url, key, org, http=httpx.AsyncClient(transport=Bridge()))

    monkeypatch.setattr(asking, "connect", connect)
    monkeypatch.setattr(replay, "POLL_SECONDS", 0)

    async def run(*words: str, key: str = scene.key) -> tuple[int, Any]:
        environment = {"OUTRIDER_KEY": key, "OUTRIDER_URL": GATEWAY_URL}
        ended = await asyncio.to_thread(runner.invoke, app, [*words, "--json"], env=environment)
        found = re.search(r"^\{$.*?^\}$", ended.stdout, re.DOTALL | re.MULTILINE)  # the services' log goes there too
        return ended.exit_code, json.loads(found[0]) if found else None

    code, found = await run("dead-letters", "list")
    assert (code, len(found["data"])) == (0, 1)
    code, letter = await run("dead-letters", "show", found["data"][0]["id"])
    assert (code, letter["state"]) == (0, "dead")
    content = tmp_path / "content"
    edit = ("dead-letters", "edit", letter["id"], "--content", str(content), "--reason", "x")
    assert (await run(*edit, "--yes"))[0] == 2  # there is no such file
    content.write_bytes(b"{ }")
    code, shown = await run(*edit, "--dry-run")
    assert (code, shown["before"], shown["after"]) == (0, {"data_base64": "e30="}, {"data_base64": "eyB9"})
    assert (await run(*edit))[0] == 2  # nobody can be asked
    code, edited = await run(*edit, "--yes")
    assert (code, len(edited["edits"]), edited["state"]) == (0, 1, "dead")
    code, groups = await run("dead-letters", "groups")
    assert (code, [one["letters"] for one in groups["data"]]) == (0, [1])
    group = groups["data"][0]["id"]
    assert (await run("dead-letters", "group", group, "--status", "ignored"))[0] == 2  # nobody can be asked
    code, changed = await run("dead-letters", "group", group, "--status", "ignored", "--yes")
    assert (code, changed["status"]) == (0, "ignored")
    code, plan = await run("replay", "plan", "--service", "provider-sync", "--group", group)
    assert (code, plan["total"]) == (0, 1)
    assert (await run("replay", "apply", plan["id"], "--reason", "x", "--yes"))[0] == 5  # never tried
    code, tried = await run("replay", "dry-run", plan["id"])
    assert (code, tried["dry_run"]["would_fail"]) == (6, 1)
    assert (await run("replay", "apply", plan["id"], "--reason", "x", "--dry-run"))[0] == 0
    code, stopped = await run("replay", "apply", plan["id"], "--reason", "x", "--yes")
    assert (code, stopped["state"]) == (5, "stopped")
    assert (await run("replay", "abort", plan["id"], "--yes"))[1]["state"] == "aborted"
    assert (await run("replay", "resume", plan["id"]))[0] == 5
    assert (await run("replay", "watch", "rpl_provider-sync_" + "0" * 32))[0] == 3
    assert (await run("replay", "list", "--service", "provider-sync", key="wrong"))[0] == 4
    assert (await run("replay", "plan", "--service", "provider-sync"))[0] == 2
    async with scene.stack.databases["provider_sync"].tenant_transaction(scene.org) as session:
        await session.execute("UPDATE inbox SET state = 'done', envelope = NULL")
    assert (await run(*edit, "--yes"))[0] == 5  # its content is kept no longer
