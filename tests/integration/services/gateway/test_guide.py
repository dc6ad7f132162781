"""docs/api.md is true: its examples are run, and its table of routes is the code's."""

from __future__ import annotations

import argparse
import json
import re
import shlex
from pathlib import Path
from typing import Any

import httpx

from services.gateway.forwarding import FORWARDS
from tests.integration.services.gateway.house import House

GUIDE = (Path(__file__).parents[4] / "docs" / "api.md").read_text()
# Told of a provider, and so run where one is: tests/flow/test_guide.py.
(TOLD_ELSEWHERE,) = re.findall(r"^## A campaign's life\n.*?(?=^## )", GUIDE, re.DOTALL | re.MULTILINE)
HERE = GUIDE.replace(TOLD_ELSEWHERE, "")
EXAMPLE = re.compile(r"```\n(curl .*?)\n```\n```\n(\d{3})\n(.*?)```", re.DOTALL)
EXAMPLES = EXAMPLE.findall(HERE)


async def run(house: House, command: str, spare: str) -> httpx.Response:
    values = {
        "URL": "http://gateway.example.com",
        "PLATFORM_KEY": house.platform_key,
        "ORG_ADMIN_KEY": house.first.admin,
        "VIEWER_KEY": house.first.viewer,
        "VIEWER_KEY_ID": "key_" + house.first.viewer.split("_")[2],
        "ORG": house.first.org,
        "COMPANY": house.first.company,
        "SPARE_ORG": spare,
    }
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
    async with httpx.AsyncClient(transport=httpx.ASGITransport(house.app)) as client:
        return await client.request(given.X, given.url, headers=headers, content=given.d)


def matches(shown: Any, found: Any) -> bool:
    """Whether `found` is what was shown; `…` stands for anything, in a text for any rest of it."""
    if shown == "…":
        return True
    if isinstance(shown, dict):
        return isinstance(found, dict) and all(name in found and matches(shown[name], found[name]) for name in shown)
    if isinstance(shown, list):
        return isinstance(found, list) and len(shown) == len(found) and all(map(matches, shown, found))
    if isinstance(shown, str) and re.fullmatch(r"\w+_…", shown):
        return isinstance(found, str) and found.startswith(shown[:-1])
    return bool(shown == found)


async def test_each_example_of_the_guide_is_true(house):
    assert len(EXAMPLES) == HERE.count("\ncurl ")
    made = await house.ask("POST", "/v1/organizations", house.platform_key, json={"name": "Spare Outreach"})
    for command, status, shown in EXAMPLES:
        response = await run(house, command, made.json()["id"])
        assert response.status_code == int(status), (command, response.text)
        if shown:
            found = response.json()
            assert matches(json.loads(shown), found), (command, found)
            if "problem" not in response.headers["content-type"]:
                assert set(json.loads(shown)) == set(found), command


def test_the_table_of_routes_is_complete():
    rows = dict(re.findall(r"^\| (`(?:GET|POST|PATCH|PUT).*?) \| (.*?) \|$", GUIDE, re.MULTILINE))
    written = set()
    for routes in rows:
        for part in routes.split(", "):
            *methods, last = part.replace("`", "").split(" ")
            written |= {f"{method} {last}" for method in methods}
    own = {
        "GET /v1/me", "POST /v1/organizations", "GET /v1/organizations", "POST /v1/companies", "GET /v1/companies",
        "GET /v1/organizations/{id}", "DELETE /v1/organizations/{id}", "GET /v1/organizations/{id}/erasure",
        "POST /v1/organizations/{id}/suspend", "POST /v1/organizations/{id}/resume", "POST /v1/companies/{id}/archive",
        "POST /v1/api-keys", "GET /v1/api-keys", "DELETE /v1/api-keys/{id}",
        "POST /v1/api-keys/{id}/rotations", "GET /v1/dead-letters", "GET /v1/audit-log", "GET /v1/operations",
        "POST /v1/assumptions", "GET /v1/assumptions", "DELETE /v1/assumptions/{id}",
        "POST /v1/users", "GET /v1/users", "GET /v1/users/{id}", "PATCH /v1/users/{id}", "DELETE /v1/users/{id}",
        "GET /v1/exports", "GET /v1/exports/gateway/{table}",
    }  # fmt: skip
    assert written == own | {f"{forward.method} {forward.path}" for forward in FORWARDS}
    for forward in FORWARDS:
        row = next(row for row in rows if f"{forward.path}`" in row)
        assert f"`{forward.permission}`" in rows[row]
