"""`outrider export` on a house in which two agencies, alike but for their names, live: one copies what it has."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import orjson
import pytest
from typer.testing import CliRunner, Result

from libs.database.names import process_name
from libs.ids import parse_public_id
from services.cli.main import app
from tests.fixtures.database import MigratedDatabase
from tests.integration.services.gateway.house import served
from tests.security.matrix.seeding import Providers, play
from tests.security.room import connected, renamed
from tests.security.stack import Stack, opened, settle_ahead
from tests.security.test_exports import EXPORTS, read_json, told

MINE, TWIN = "kanariemine", "kanarietwin"
BY_PROCESS = {exports.owner: exports for exports in EXPORTS.values()}
# What is done to copy changes these: who asked when, and what was told of it.
MOVING = {("api_keys", "last_used_at")}


@dataclass
class Tenant:
    canary: str
    id: str = ""
    key: str = ""
    company: str = ""
    account: str = ""
    simulator: Any = None
    secrets: set[str] = field(default_factory=set)
    bodies: list[bytes] = field(default_factory=list)


@dataclass
class Run:
    """What the house looked like, and what came out of it."""

    tenant: Tenant
    twin: Tenant
    folder: Path
    result: Result
    tables: dict[str, list[dict[str, Any]]]  # of the copied organization, as it was before
    log: list[dict[str, Any]]
    again: Result
    by_staff: Result
    staff_folder: Path
    outside: Result
    after_erasure: httpx.Response
    foreign_cursor: httpx.Response
    other_table: httpx.Response

    @property
    def manifest(self) -> Any:
        return json.loads(self.result.stdout)

    def lines(self, owner: str, table: str) -> list[Any]:
        text = (self.folder / f"{owner}.{table}.ndjson").read_text()
        assert text == "" or text.endswith("\n")
        return [orjson.loads(line) for line in text.split("\n")[:-1]]


class House:
    def __init__(self, stack: Stack, admin: asyncpg.Connection) -> None:
        self.stack = stack
        self.admin = admin
        self.providers = Providers(stack.network)

    async def asked(self, method: str, path: str, key: str, body: Any = None, **more: Any) -> Any:
        answer = await self.stack.ask(method, path, key, json=body, **more)
        assert answer.status_code < 300, (path, answer.text)
        return answer.json()

    async def play(self, *tenants: Tenant) -> None:
        """The same happens to all of them; settling takes its time, so it is done for all at once."""
        for chapter in (self.found, self.open_account, self.post, self.act):
            for tenant in tenants:
                await chapter(tenant)
            await settle_ahead(self.stack, self.admin)

    async def found(self, tenant: Tenant) -> None:
        platform, canary = self.stack.platform_key, tenant.canary
        tenant.id = (await self.asked("POST", "/v1/organizations", platform, {"name": f"{canary} agency"}))["id"]
        wanted = {"name": "first", "role": "org_admin"}
        tenant.key = (await self.asked("POST", "/v1/api-keys", platform, wanted, org=tenant.id))["key"]
        tenant.company = (await self.asked("POST", "/v1/companies", tenant.key, {"name": f"{canary} bakery"}))["id"]
        await self.asked("POST", "/v1/companies", tenant.key, {"name": f"{canary} harbour"})
        person = {"subject": f"idp|{canary}", "email": f"a@{canary}.example.com", "name": "Ada", "role": "org_admin"}
        await self.asked("POST", "/v1/users", tenant.key, person)

    async def open_account(self, tenant: Tenant) -> None:
        tenant.simulator = self.providers.open("smartlead", tenant.canary)
        opens = self.providers.account("smartlead", tenant.canary, tenant.company)
        tenant.account = (await self.asked("POST", "/v1/provider-accounts", tenant.key, opens))["id"]
        tenant.secrets = {opens["credentials"]["api_key"], tenant.key.rpartition("_")[2]}

    async def post(self, tenant: Tenant) -> None:
        post = self.stack.post

        async def noted(url: str, body: bytes) -> httpx.Response:
            tenant.bodies.append(body)
            return await post(url, body)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Stack, "post", lambda _, url, body: noted(url, body))
            await play(self.stack, tenant.simulator, tenant.canary)
        url = tenant.simulator.account.registrations[0].url
        tenant.secrets.add(url.rpartition("_")[2])
        tenant.bodies.append(b"\x00\xff no payload \r\n" + bytes(range(256)))
        assert (await post(url, tenant.bodies[-1])).status_code == 200

    async def act(self, tenant: Tenant) -> None:
        await self.asked("POST", "/v1/reconciliations", tenant.key, {"account_id": tenant.account})
        daily: dict[str, Any] = {"account_id": tenant.account, "interval_seconds": 86_400}
        await self.asked("POST", "/v1/reconciliation-schedules", tenant.key, daily)
        listed = await self.asked("GET", "/v1/email/campaigns?all_companies=true", tenant.key)
        await self.asked("POST", f"/v1/email/campaigns/{listed['data'][0]['id']}/pause", tenant.key)


async def rows(admin: asyncpg.Connection, tenant: Tenant) -> dict[str, list[dict[str, Any]]]:
    org_id = parse_public_id("org", tenant.id)
    return {
        f"{process_name(service)}/{name}": [
            {column: told(row[column], as_hex=column in table.as_hex) for column in table.columns}
            for row in await admin.fetch(f"SELECT * FROM {service}.{name} WHERE org_id = $1", org_id)
        ]
        for service, exports in EXPORTS.items()
        for name, table in exports.tables.items()
    }


async def command(url: str, key: str, folder: Path, *words: str) -> Result:
    def run() -> Result:
        given = ["export", "--out", str(folder), "--url", url, "--json", *words]
        return CliRunner().invoke(app, given, env={"OUTRIDER_API_KEY": key})

    return await asyncio.to_thread(run)


async def make(migrated: MigratedDatabase, folder: Path) -> Run:
    admin = await asyncpg.connect(migrated.admin_url)
    await read_json(admin)
    try:
        async with opened(migrated) as stack:
            house = House(stack, admin)
            tenant, twin = Tenant(MINE), Tenant(TWIN)
            await house.play(tenant, twin)
            tables = await rows(admin, tenant)
            staff, ask = stack.platform_key, stack.ask
            async with served(stack.apps["gateway"]) as url:
                result = await command(url, tenant.key, folder / "copy", "--page-rows", "3")
                again = await command(url, tenant.key, folder / "copy")
                page = (await ask("GET", "/v1/exports/provider-sync/messages?limit=1", twin.key)).json()
                after = f"limit=1&after={page['next_cursor']}"
                foreign = await ask("GET", f"/v1/exports/provider-sync/messages?{after}", tenant.key)
                other = await ask("GET", f"/v1/exports/provider-sync/leads?{after}", twin.key)
                await stack.settle()
                log = (await ask("GET", "/v1/audit-log?limit=100", tenant.key)).json()["data"]
                path = f"/v1/organizations/{tenant.id}"
                await house.asked("POST", f"{path}/suspend", staff, {"reason": "the end"})
                outside = await command(url, staff, folder / "outside", "--org", tenant.id)
                assumed = {"organization_id": tenant.id, "reason": "to hand it over", "minutes": 5}
                await house.asked("POST", "/v1/assumptions", staff, assumed)
                by_staff = await command(url, staff, folder / "by-staff", "--org", tenant.id)
                await house.asked("DELETE", path, staff, {"confirm": tenant.id, "reason": "the end"})
                gone = await ask("GET", "/v1/exports/provider-sync/leads", staff, org=tenant.id)
    finally:
        await admin.close()
    return Run(
        tenant, twin, folder / "copy", result, tables, log, again, by_staff, folder / "by-staff", outside, gone, foreign, other
    )  # fmt: skip


@pytest.fixture(scope="module")
def run(migrated_template: MigratedDatabase, postgres_server: str, tmp_path_factory: pytest.TempPathFactory) -> Run:
    async def played() -> Run:
        name = "copied_house"
        async with connected(postgres_server) as server:
            await server.execute(f"CREATE DATABASE {name} TEMPLATE {migrated_template.template}")
        url = renamed(postgres_server, name)
        house = MigratedDatabase(url, migrated_template.template, migrated_template.passwords)
        try:
            return await make(house, tmp_path_factory.mktemp("export"))
        finally:
            async with connected(postgres_server) as server:
                await server.execute(f"DROP DATABASE {name} WITH (FORCE)")

    return asyncio.run(played())


def test_a_copy_holds_all_rows_of_the_organization(run: Run) -> None:
    assert run.result.exit_code == 0, run.result.output
    assert run.manifest == json.loads((run.folder / "manifest.json").read_text())
    assert run.manifest["organization_id"] == run.tenant.id
    named = [f"{one['owner']}/{one['table']}" for one in run.manifest["tables"]]
    assert sorted(named) == sorted(run.tables)

    more_than_a_page = 0
    for one in run.manifest["tables"]:
        lines = run.lines(one["owner"], one["table"])
        wanted = run.tables[f"{one['owner']}/{one['table']}"]
        if one["table"] == "audit_log":  # it goes on: that the copy was begun
            lines = lines[: len(wanted)]
        for row in (*lines, *wanted):
            for table, column in MOVING:
                if table == one["table"]:
                    del row[column]
        assert sorted(map(orjson.dumps, lines)) == sorted(map(orjson.dumps, wanted)), one
        assert all(
            list(row) == [name for name in one["columns"] if (one["table"], name) not in MOVING] for row in lines
        )
        more_than_a_page += len(lines) > 3
    assert more_than_a_page >= 6
    empty = {name for name, found in run.tables.items() if not found}
    assert len(run.tables) - len(empty) >= 18, empty


def test_what_was_posted_comes_out_byte_for_byte(run: Run) -> None:
    copied = [base64.b64decode(row["body"], validate=True) for row in run.lines("webhook-ingest", "deliveries")]
    assert sorted(copied) == sorted(run.tenant.bodies)


def test_the_manifest_tells_of_each_file(run: Run) -> None:
    names = {path.name for path in run.folder.iterdir()}
    assert names == {"manifest.json", *(one["file"] for one in run.manifest["tables"])}
    for one in run.manifest["tables"]:
        raw = (run.folder / one["file"]).read_bytes()
        assert (one["bytes"], one["rows"]) == (len(raw), raw.count(b"\n"))
        assert one["sha256"] == hashlib.sha256(raw).hexdigest()
        assert run.manifest["begun_at"] <= one["first_as_of"] <= one["last_as_of"] <= run.manifest["completed_at"]
        assert {why["column"] for why in one["left_out"]} == set(BY_PROCESS[one["owner"]].tables[one["table"]].left_out)
        assert all(why["why"] for why in one["left_out"])
    left_out = {(one["owner"], one["table"]) for one in run.manifest["left_out"]}
    assert left_out == {(exports.owner, table) for exports in EXPORTS.values() for table in exports.left_out}
    assert {path.stat().st_mode & 0o077 for path in (run.folder, *run.folder.iterdir())} == {0}, "others may read it"


def readable(folder: Path) -> str:
    """All that stands in the files, and what is Base64 in it."""
    text = "\n".join(path.read_text() for path in folder.iterdir())
    packed = re.findall(r'"([A-Za-z0-9+/]{16,}={0,2})"', text)
    return "\n".join([text, *(base64.b64decode(one + "=" * (-len(one) % 4)).decode("latin-1") for one in packed)])


def test_nothing_of_the_twin_and_no_secret_is_in_it(run: Run) -> None:
    text = readable(run.folder)
    assert MINE in text
    assert TWIN not in text
    assert str(parse_public_id("org", run.twin.id)) not in text
    assert len(run.tenant.secrets) == 3
    for secret in run.tenant.secrets:
        digest = hashlib.sha256(secret.encode())
        for spelling in (secret, secret.encode().hex(), digest.hexdigest(), base64.b64encode(digest.digest()).decode()):
            assert spelling not in text


def test_the_audit_log_tells_once_of_each_table(run: Run) -> None:
    begun = [entry["object"] for entry in run.log if entry["action"] == "export.begun"]
    assert sorted(begun) == sorted(f"exports/{name}" for name in run.tables)
    assert {entry["actor"].partition(":")[0] for entry in run.log if entry["action"] == "export.begun"} == {"key"}


def test_a_cursor_is_good_for_its_table_and_organization_only(run: Run) -> None:
    for answer in (run.foreign_cursor, run.other_table):
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_cursor")


def test_a_whole_copy_is_not_written_again(run: Run) -> None:
    assert run.again.exit_code == 2
    assert "holds a copy that is whole" in run.again.stderr


def test_of_a_suspended_organization_staff_copy_it_who_have_assumed_it(run: Run) -> None:
    assert run.outside.exit_code == 1
    assert "assumption_required" in run.outside.stderr
    assert run.by_staff.exit_code == 0, run.by_staff.output
    before, after = run.manifest, json.loads(run.by_staff.stdout)
    hashes = [{one["file"]: one["sha256"] for one in each["tables"]} for each in (before, after)]
    for file in ("webhook-ingest.deliveries", "provider-sync.messages", "provider-sync.leads", "gateway.companies"):
        assert hashes[0][f"{file}.ndjson"] == hashes[1][f"{file}.ndjson"], file


def test_an_erased_organization_is_as_one_that_never_was(run: Run) -> None:
    assert (run.after_erasure.status_code, run.after_erasure.json()["code"]) == (404, "not_found")
