"""The life of a campaign in docs/api.md is true: its commands are run in order, against the house and a provider."""

from __future__ import annotations

import argparse
import json
import shlex
from datetime import timedelta
from typing import Any

import httpx
import pytest

from tests.fixtures.database import MigratedDatabase
from tests.flow.lives import Life, Smartlead, a_life
from tests.integration.services.gateway.test_guide import EXAMPLE, TOLD_ELSEWHERE, matches
from tests.security.stack import GATEWAY_URL


async def test_the_commands_of_a_campaigns_life_do_what_they_say(
    migrated: MigratedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    examples = EXAMPLE.findall(TOLD_ELSEWHERE)
    assert len(examples) == TOLD_ELSEWHERE.count("\ncurl ") > 10
    played = Smartlead()
    async with a_life(played, migrated, None, monkeypatch) as life:
        values = {
            "URL": GATEWAY_URL,
            "ORG_ADMIN_KEY": life.key,
            "ACCOUNT": life.account_id,
            "MAILBOX": played.senders[0],
        }
        for command, status, shown in examples:
            if "/inbox/conversations?" in command:
                await _it_sends_and_ada_answers(life, values["CAMPAIGN"])
            if command.endswith("/messages") or "/messages " in command or "/analytics/" in command:
                await life.pass_time(minutes=2)
                await life.rests()
            response = await _run(life, command, values)
            assert response.status_code == int(status), (command, response.text)
            found = response.json()
            assert matches(json.loads(shown), found), (command, found)
            await _learn(life, found, values)


async def _learn(life: Life, found: Any, values: dict[str, str]) -> None:
    """What a reader would copy from an answer into the next command."""
    if str(found.get("id", "")).startswith("op_"):
        values["OPERATION"] = found["id"]
        result = await life.done(found)
        values["CAMPAIGN"] = result.get("campaign_id", values.get("CAMPAIGN", ""))
    for prefix, name in (("led_", "LEAD"), ("cnv_", "CONVERSATION")):
        rows = [row for row in found.get("data", ()) if str(row.get("id", "")).startswith(prefix)]
        if rows:
            values[name] = rows[0]["id"]


async def _it_sends_and_ada_answers(life: Life, campaign_id: str) -> None:
    real = life.played.campaign((await life.campaign(campaign_id))["external_id"])
    await life.pass_time(hours=1)
    ada = life.played.enrolment(real, "Ada")
    life.simulator.advance(timedelta(minutes=5))
    life.simulator.live.replies(real, ada, ada.sent[0], "Tell me more")
    await life.pass_time(minutes=1)
    await life.rests()


async def _run(life: Life, command: str, values: dict[str, str]) -> httpx.Response:
    for name in sorted(values, key=len, reverse=True):
        command = command.replace(f"${name}", values[name])
    assert "$" not in command
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("-X", default="GET")
    parser.add_argument("-H", action="append")
    parser.add_argument("-d")
    given = parser.parse_args(shlex.split(command)[1:])
    headers = dict(header.split(": ", 1) for header in given.H)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(life.stack.apps["gateway"])) as client:
        return await client.request(given.X, given.url, headers=headers, content=given.d)
