"""Who and what the matrix is about: four organizations with real objects, and something of each in every name and text.

`A` is where principals act. `B` is the victim, whom nobody ever may touch. `C` is where strangers are at home. `S` is suspended.
A company of A's is archived, after all that the others do was done for it, too.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import asyncpg
from starlette.types import ASGIApp

from libs.database.names import SERVICES
from libs.ids import OrgId, parse_public_id, public_id
from libs.tenancy.context import CompanyScope
from libs.tenancy.roles import PERMISSIONS, Role
from tests.fixtures.database import MigratedDatabase
from tests.integration.services.gateway.house import served
from tests.security.matrix.failing import failed
from tests.security.matrix.seeding import Providers, play
from tests.security.stack import Stack, ask, opened, settle_ahead
from tests.unit.services.gateway.provider import AUDIENCE, ISSUER, Provider

FAILS = ("provider-sync", "analytics", "reconciliation", "webhook-ingest")
RELATIONS = ("own", "sibling", "archived", "other", "nobody", "suspended")
PREFIXES = {
    "account": "acc", "campaign": "cam", "linkedin_campaign": "cam", "lead": "led", "conversation": "cnv", "run": "rec",
    "endpoint": "whe", "registered_endpoint": "whe", "delivery": "dlv", "key": "key", "user": "usr", "spare": "acc",
    "schedule": "sch",
    "company": "cmp", "organization": "org", "assumption": "asm", "linkedin_account": "acc", "linkedin_lead": "led",
    "sync_run": "syn", "operation": "op_sync", "pending": "op_sync", "mail_conversation": "cnv", "new_company": "cmp",
    **{f"group@{one}": f"fgr_{one}" for one in FAILS}, **{f"replay@{one}": f"rpl_{one}" for one in FAILS},
    **{f"letter@{one}": f"dlt_{one}_tenants" for one in FAILS},
}  # fmt: skip
_CANARY = "kanarie"
# A canary, or an id as we show it or as UUIDs are written.
_MARK = re.compile(_CANARY + "[a-z]+|[0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# What a request may use up, so that the next one needs another: made anew after each success.
_MADE_BY_REQUEST = ("key", "user", "spare", "schedule", "new_company")
INTERVAL_SECONDS = 86_400


@dataclass
class Place:
    """A company. `ids` has one public id of each kind; `markers` (its canary, bare ids) tell its data from others'."""

    name: str
    canary: str
    company: str = ""
    ids: dict[str, str] = field(default_factory=dict)
    endpoint_url: str = ""
    slot: str = "2026-07-11T12:00:00Z"  # of its schedule
    markers: set[str] = field(default_factory=set)


@dataclass
class Tenant:
    name: str
    canary: str
    id: str = ""
    places: dict[str, Place] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)  # what is sent as `Authorization: Bearer …`
    markers: set[str] = field(default_factory=set)

    def marked(self) -> dict[str, set[str]]:
        """Letter of an outcome -> what tells that data."""
        return {"w": self.markers, **{name[0]: place.markers for name, place in self.places.items()}}

    @property
    def own(self) -> Place:
        return self.places["own"]

    @property
    def org_id(self) -> OrgId:
        return OrgId(parse_public_id("org", self.id))

    def scope(self, place: str) -> CompanyScope:
        return CompanyScope.of([parse_public_id("cmp", self.places[place].company)])  # type: ignore[list-item]


@dataclass
class World:
    stack: Stack
    admin: asyncpg.Connection
    provider: Provider
    providers: Providers
    maker: ASGIApp  # a replica of the gateway's that is never asked for a cell, so it remembers nothing of theirs
    staff: dict[str, str] = field(default_factory=dict)  # keys of the platform's: who is in every org, and who in none
    tenants: dict[str, Tenant] = field(default_factory=dict)
    is_archived: bool = False  # A's company of that name; what hangs on it was made before
    touched: bool = True  # something was made meanwhile, beside what is asked
    standing: list[UUID] = field(default_factory=list)  # assumptions
    _fresh: dict[tuple[str, str], str] = field(default_factory=dict)
    _made: int = 0

    @property
    def a(self) -> Tenant:
        return self.tenants["A"]

    def tenant_of(self, relation: str) -> Tenant:
        return self.tenants[{"other": "B", "suspended": "S"}.get(relation, "A")]

    def place_of(self, relation: str) -> Place:
        return self.tenant_of(relation).places[relation if relation in ("sibling", "archived") else "own"]

    async def object(self, kind: str, relation: str) -> str:
        """The public id of an object of this kind; of a kind that requests use up, one that is unused."""
        if relation == "nobody":
            return public_id(PREFIXES[kind], UUID(int=0x77))
        if kind == "organization":
            return self.tenant_of(relation).id
        if kind == "company" or (kind, relation) == ("new_company", "archived"):
            return self.place_of(relation).company
        if kind == "assumption":
            return await self.assume("passer-by", self.tenant_of(relation))
        if kind == "pending":
            return await self._make_pending(relation)
        if kind == "registered_endpoint":
            return await self._make_registered(relation)
        if kind not in _MADE_BY_REQUEST:
            return self.place_of(relation).ids[kind]
        if (kind, relation) not in self._fresh:
            async with self._as_before_archiving(relation):
                self._fresh[kind, relation] = await self._make(kind, relation)
        return self._fresh[kind, relation]

    def use_up(self, relation: str) -> None:
        """The victim's are never used up: who could would be a problem, and is told as one."""
        for kind in _MADE_BY_REQUEST if relation != "other" else ():
            self._fresh.pop((kind, relation), None)

    def unique(self) -> int:
        self._made += 1
        return self._made

    async def _make_pending(self, relation: str) -> str:
        """An operation of which nothing is sent yet. Where nobody can ask for one any more, the one it was made with."""
        tenant, place = self.tenant_of(relation), self.place_of(relation)
        if relation in ("other", "suspended", "archived"):
            return place.ids["operation"]
        made = await self.made("POST", f"/v1/email/campaigns/{place.ids['campaign']}/pause", tenant, {})
        place.markers.add(bare(made["id"]))
        return str(made["id"])

    async def _make_registered(self, relation: str) -> str:
        """The endpoint as the provider knows it; requests that give it another address come in between."""
        endpoint = self.place_of(relation).ids["endpoint"]
        identifier = parse_public_id("whe", endpoint)
        await self.admin.execute("UPDATE provider_sync.endpoints SET status = 'registered' WHERE id = $1", identifier)
        self.touched = True
        return endpoint

    async def withdraw(self) -> None:
        """Of what was asked for at providers nothing is sent."""
        self.touched = True
        await self.admin.execute("UPDATE provider_sync.effects SET due_at = NULL WHERE due_at IS NOT NULL")
        await self.end_readings()

    async def end_readings(self) -> None:
        """Another of the same account may be asked for."""
        await self.admin.execute(
            "UPDATE provider_sync.sync_runs SET state = 'failed', lease_until = NULL WHERE state IN ('pending', 'running')"
        )

    async def _make(self, kind: str, relation: str) -> str:
        tenant, place = self.tenant_of(relation), self.place_of(relation)
        if kind in ("spare", "schedule"):
            return await self._make_room(kind, tenant, place)
        if kind == "new_company":
            return str((await self.made("POST", "/v1/companies", tenant, {"name": "made"}))["id"])
        wanted = {"name": f"{tenant.canary} {kind}", "role": "company_viewer", "company_ids": [place.company]}
        if kind == "user":
            wanted |= {"subject": f"idp|{tenant.canary}-{self.unique()}", "email": f"{tenant.canary}@example.com"}
        path = "/v1/api-keys" if kind == "key" else "/v1/users"
        made = await self.made("POST", path, tenant, wanted)
        tenant.markers.add(bare(made["id"]))
        return str(made["id"])

    async def _make_room(self, kind: str, tenant: Tenant, place: Place) -> str:
        """`spare`: an account that is in no schedule. `schedule`: one of the account, whose first slot is due."""
        self.touched = True
        account = place.ids["spare" if kind == "spare" else "account"]
        path = "/v1/reconciliation-schedules"
        for one in (await self.made("GET", path, tenant))["data"]:
            if one["account_id"] == account:
                await self.made("DELETE", f"{path}/{one['id']}", tenant)
        if kind == "spare":
            return account
        wanted = {"account_id": account, "interval_seconds": INTERVAL_SECONDS}
        made = await self.made("POST", path, tenant, wanted)
        schedule_id = parse_public_id("sch", made["id"])
        await self.admin.execute(
            "UPDATE reconciliation.reconciliation_schedules SET next_slot = anchor WHERE schedule_id = $1", schedule_id
        )
        if self.is_archived and place.name == "archived":
            await self.admin.execute(
                "UPDATE reconciliation.reconciliation_schedules SET enabled = false WHERE schedule_id = $1", schedule_id
            )
        place.slot = made["anchor"]
        place.markers.add(bare(made["id"]))
        return str(made["id"])

    async def made(self, method: str, path: str, tenant: Tenant, body: dict[str, Any] | None = None) -> Any:
        """What an administrator makes in the tenant's org; where that is suspended, as if it were not for this moment."""
        self.touched = True
        was_suspended = await self._stand(tenant, "suspended", "active")
        headers = {"Authorization": f"Bearer {tenant.keys['founder']}"}
        response = await ask(self.maker, method, path, headers=headers, json=body)
        if was_suspended:
            await self._stand(tenant, "active", "suspended")
        assert response.status_code < 300, (path, response.text)
        return response.json() if response.content else None

    async def _stand(self, tenant: Tenant, before: str, after: str) -> bool:
        """Whether it was as said before, in whichever service."""
        change = "UPDATE {}.org_states SET state = $2 WHERE org_id = $1 AND state = $3"
        told = [await self.admin.execute(change.format(one), tenant.org_id, after, before) for one in SERVICES]
        return "UPDATE 1" in told

    async def archive(self) -> None:
        """As an administrator does it."""
        place = self.a.places["archived"]
        await self.made("POST", f"/v1/companies/{place.company}/archive", self.a, {})
        await self.stack.settle()
        self.is_archived = True
        self._fresh.pop(("schedule", "archived"))  # it was switched off, and so is at another revision than all others

    @asynccontextmanager
    async def _as_before_archiving(self, relation: str) -> AsyncIterator[None]:
        """For this moment the company is as if it were not archived."""
        if relation != "archived" or not self.is_archived:
            yield
            return
        await self._set_archived(False)
        yield
        await self._set_archived(True)

    async def _set_archived(self, archived: bool) -> None:
        """In the three services that keep it."""
        key = (self.a.org_id, parse_public_id("cmp", self.a.places["archived"].company))
        of_it = "org_id = $1 AND company_id = $2"
        status = "archived" if archived else "active"
        await self.admin.execute(f"UPDATE gateway.companies SET status = $3 WHERE {of_it}", *key, status)
        await self.admin.execute(f"UPDATE provider_sync.companies SET archived = $3 WHERE {of_it}", *key, archived)
        table = "reconciliation.archived_companies"
        await self.admin.execute(
            f"INSERT INTO {table} (org_id, company_id) VALUES ($1, $2)"
            if archived
            else f"DELETE FROM {table} WHERE {of_it}",
            *key,
        )

    async def assume(self, who: str, tenant: Tenant, *, write: bool = False) -> str:
        self.touched = True
        body = {"organization_id": tenant.id, "reason": "the matrix", "minutes": 60, "write": write}
        response = await self.stack.ask("POST", "/v1/assumptions", self.staff[who], json=body)
        assert response.status_code == 201, response.text
        return str(response.json()["id"])

    async def as_assumed_before(self) -> None:
        """Who is in which org is again as it was when everything was made."""
        self.touched = True
        await self.admin.execute(
            "UPDATE gateway.assumptions SET ended_at = CASE WHEN id = ANY($1) THEN NULL ELSE ends_at END", self.standing
        )
        self.stack.services["gateway"].app._gate.assumptions.clear()  # type: ignore[attr-defined]

    def seen_by(self, tenant: Tenant | None, content: str, *, echoed: str, ids: bool = True) -> str:
        """Whose data an answer holds, as letters: own company, sibling's, archived one's, of the whole org, and of others (`t`).

        What the request said itself (`echoed`) is no disclosure. Without `ids`, other tenants' ids are not looked for.
        """
        found = {mark.replace("-", "") for mark in _MARK.findall(_readable(content))}
        found -= {mark.replace("-", "") for mark in _MARK.findall(echoed.lower())}
        letters = set()
        for other in self.tenants.values():
            for letter, markers in other.marked().items():
                seen = found & markers
                if seen and (other is tenant or ids or any(mark.startswith(_CANARY) for mark in seen)):
                    letters.add(letter if other is tenant else "t")
        return "".join(letter for letter in "osawt" if letter in letters)


def bare(identifier: str) -> str:
    """A public id without its prefix."""
    return identifier.rpartition("_")[2]


def _readable(content: str) -> str:
    """In lower case, and with what is Base64 in it decoded."""
    parts = [content]
    for packed in re.findall(r"[A-Za-z0-9+/_-]{24,}={0,2}", content):
        try:
            parts.append(base64.b64decode(packed + "=" * (-len(packed) % 4), altchars=b"-_").decode("utf-8", "replace"))
        except (binascii.Error, ValueError):
            continue
    return "\n".join(parts).lower()


@asynccontextmanager
async def made_world(
    migrated: MigratedDatabase, say: Callable[[str], None] = lambda _: None, *, small: bool = False
) -> AsyncIterator[World]:
    """`small`: for who asks as A's admin only; without S and C, and without the archived company."""
    async with AsyncExitStack() as stack:
        provider = Provider()
        url = await stack.enter_async_context(served(provider))
        oidc = {"oidc_issuer": ISSUER, "oidc_audiences": AUDIENCE, "oidc_jwks_url": f"{url}/jwks"}
        house = await stack.enter_async_context(opened(migrated, oidc))
        admin = await asyncpg.connect(migrated.admin_url)
        stack.push_async_callback(admin.close)
        maker = house.new_gateway()
        assert maker.closing is not None
        stack.push_async_callback(maker.closing)
        world = World(house, admin, provider, Providers(house.network), maker.app)
        of_a = ("own", "sibling") if small else ("archived", "own", "sibling")
        for name in "AB" if small else "SABC":
            await _found(world, name, of_a if name == "A" else ("own",))
        say("the organizations")
        await _do_business(world, say)
        for tenant in world.tenants.values():
            await _people(world, tenant)
        for kind in _MADE_BY_REQUEST:
            for relation in ("own", "other") if small else RELATIONS:
                await world.object(kind, relation)  # now: later the victim's rows are watched
        await settle_ahead(house, world.admin)
        say("keys and people")
        await _staff(world)
        if small:
            yield world
            return
        response = await house.ask(
            "POST",
            f"/v1/organizations/{world.tenants['S'].id}/suspend",
            house.platform_key,
            json={"reason": "the matrix"},
        )
        assert response.status_code == 200, response.text
        await house.settle()
        await world.archive()
        # Another replica, that has not remembered S as it was.
        house.services["gateway"] = house.new_gateway()
        closing = house.services["gateway"].closing
        assert closing is not None
        stack.push_async_callback(closing)
        yield world


async def _found(world: World, name: str, places: tuple[str, ...]) -> None:
    """An organization with companies of which nothing is known yet."""
    canary = _CANARY + name.lower()
    tenant = world.tenants[name] = Tenant(name, f"{canary}org")
    body = {"name": f"{tenant.canary} organization"}
    response = await world.stack.ask("POST", "/v1/organizations", world.stack.platform_key, json=body)
    tenant.id = response.json()["id"]
    tenant.markers |= {tenant.canary, bare(tenant.id)}
    first = {"name": f"{tenant.canary} founder", "role": "org_admin"}
    response = await world.stack.ask("POST", "/v1/api-keys", world.stack.platform_key, org=tenant.id, json=first)
    tenant.keys["founder"] = response.json()["key"]
    for place_name in places:
        place = tenant.places[place_name] = Place(place_name, f"{canary}{place_name}")
        place.company = (await world.made("POST", "/v1/companies", tenant, {"name": f"{place.canary} Ltd"}))["id"]


async def _do_business(world: World, say: Callable[[str], None]) -> None:
    """Accounts, what happens at them, and a run that compares them; the same step everywhere, as settling takes its time."""
    stack = world.stack
    everywhere = [(tenant, place) for tenant in world.tenants.values() for place in tenant.places.values()]
    await stack.settle()
    simulators = []
    for tenant, place in everywhere:
        for provider, kind in (("smartlead", "account"), ("heyreach", "linkedin_account")):
            simulators.append((place, world.providers.open(provider, place.canary)))
            body = world.providers.account(provider, place.canary, place.company)
            place.ids[kind] = (await world.made("POST", "/v1/provider-accounts", tenant, body))["id"]
        body = world.providers.account("smartlead", place.canary, place.company) | {"name": f"{place.canary} spare"}
        place.ids["spare"] = (await world.made("POST", "/v1/provider-accounts", tenant, body))["id"]
    await stack.settle()
    say("accounts and their endpoints")
    for place, simulator in simulators:
        await play(stack, simulator, place.canary)
        place.endpoint_url = place.endpoint_url or simulator.account.registrations[0].url
    await stack.settle()
    say("webhooks and what follows from them")
    for tenant, place in everywhere:
        run = await world.made("POST", "/v1/reconciliations", tenant, {"account_id": place.ids["account"]})
        place.ids["run"] = run["id"]
    await stack.settle()
    say("reconciliations")
    for tenant, place in everywhere:
        await _note_ids(world, tenant, place)
        path = f"/v1/email/campaigns/{place.ids['campaign']}/pause"
        place.ids["operation"] = (await world.made("POST", path, tenant, {}))["id"]
        place.markers.add(bare(place.ids["operation"]))
        asked = await world.made("POST", f"/v1/provider-accounts/{place.ids['account']}/syncs", tenant, {})
        place.ids["sync_run"] = asked["result"]["sync_run_id"]
        place.markers |= {bare(asked["id"]), bare(place.ids["sync_run"])}
    await world.end_readings()


async def _note_ids(world: World, tenant: Tenant, place: Place) -> None:
    """One object of each kind, and all of them as markers."""
    place.markers |= {place.canary, *map(bare, (place.company, *place.ids.values()))}

    async def listed(kind: str, path: str, fits: Callable[[Any], bool] = lambda _: True) -> list[Any]:
        response = await world.stack.ask("GET", f"{path}limit=100", tenant.keys["founder"])
        assert response.status_code == 200, response.text
        rows = [row for row in response.json()["data"] if fits(row)]
        assert rows, f"{tenant.name}.{place.name} has no {kind}: {response.text}"
        place.ids[kind] = rows[0]["id"]
        place.markers |= {bare(row["id"]) for row in rows}
        return rows

    scope = f"?company_id={place.company}&"
    account = place.ids["account"]
    await listed("endpoint", "/v1/webhook-endpoints?", lambda row: row["account_id"] == account)
    await listed("campaign", f"/v1/email/campaigns{scope}")
    await listed("linkedin_campaign", f"/v1/linkedin/campaigns{scope}")
    await listed("lead", f"/v1/leads{scope}", lambda row: place.canary in str(row["email"]))
    await listed("linkedin_lead", f"/v1/leads{scope}", lambda row: place.canary in str(row["profile_url"]))
    rows = await listed("conversation", f"/v1/inbox/conversations{scope}")
    assert len({row["channel"] for row in rows}) == 2
    place.ids["mail_conversation"] = next(row["id"] for row in rows if row["channel"] == "email")
    accounts = {place.ids["account"], place.ids["linkedin_account"]}
    await listed("delivery", "/v1/deliveries?", lambda row: row["account_id"] in accounts)
    for process in FAILS:
        place.ids |= await failed(world.admin, process, tenant.org_id, place.canary)
        place.markers |= {bare(place.ids[f"{kind}@{process}"]) for kind in ("group", "letter", "replay")}
    drifts = await world.stack.ask("GET", f"/v1/reconciliations/{place.ids['run']}/drifts", tenant.keys["founder"])
    assert drifts.json()["data"], f"{tenant.name}.{place.name} has no drifts: {drifts.text}"


async def _people(world: World, tenant: Tenant) -> None:
    """Keys and persons of every role; `keys` has what each of them sends."""

    async def key(name: str, role: str, places: tuple[str, ...] = (), scopes: list[str] | None = None) -> Any:
        companies = [tenant.places[place].company for place in places]
        wanted = {"name": f"{tenant.canary} {name}", "role": role, "company_ids": companies, "scopes": scopes}
        made = await world.made("POST", "/v1/api-keys", tenant, wanted)
        tenant.keys[name] = made["key"]
        tenant.markers.add(bare(made["id"]))
        return made

    async def person(name: str, role: str, places: tuple[str, ...] = ()) -> str:
        subject = f"idp|{tenant.canary}-{name}"
        companies = [tenant.places[place].company for place in places]
        wanted = {
            "subject": subject, "email": f"{name}@{tenant.canary}.example.com", "name": f"{tenant.canary} {name}",
            "role": role, "company_ids": companies,
        }  # fmt: skip
        made = await world.made("POST", "/v1/users", tenant, wanted)
        tenant.keys[name] = world.provider.token(sub=subject, exp=2_000_000_000)
        tenant.markers.add(bare(made["id"]))
        return str(made["id"])

    await key("admin", "org_admin")
    await key("manager", "company_manager", ("own",))
    await key("viewer", "company_viewer", ("own",))
    await key("peer", "company_manager", ("sibling" if "sibling" in tenant.places else "own",))
    gone = "archived" if "archived" in tenant.places else "own"
    await key("left", "company_manager", (gone,))
    await key("both", "company_manager", ("own", *({gone} - {"own"})))
    await key("scheduler", "scheduler")
    of_admins = PERMISSIONS[Role.ORG_ADMIN]
    await key("reading", "org_admin", scopes=sorted(one for one in of_admins if one.endswith(":read")))
    await key("writing", "org_admin", scopes=sorted(one for one in of_admins if not one.endswith(":read")))
    revoked = await key("revoked", "org_admin")
    await world.made("DELETE", f"/v1/api-keys/{revoked['id']}", tenant)
    replaced = await key("replaced", "org_admin")
    await world.made("POST", f"/v1/api-keys/{replaced['id']}/rotations", tenant, {"overlap_seconds": 0})
    expired = await key("expired", "org_admin")
    await world.admin.execute(
        "UPDATE gateway.api_keys SET expires_at = now() - interval '1 minute' WHERE id = $1",
        parse_public_id("key", expired["id"]),
    )
    await person("viewing-person", "company_viewer", ("own",))
    await person("left-person", "company_viewer", (gone,))
    await person("admin-person", "org_admin")
    suspended = await person("suspended-person", "org_admin")
    await world.made("PATCH", f"/v1/users/{suspended}", tenant, {"status": "suspended"})
    removed = await person("removed-person", "org_admin")
    await world.made("DELETE", f"/v1/users/{removed}", tenant)


async def _staff(world: World) -> None:
    """More keys of the platform's; two of them are in every organization."""
    for name, role in (
        ("operator", "operator"), ("reader", "super_admin"), ("writer", "super_admin"), ("passer-by", "super_admin"),
    ):  # fmt: skip
        body = {"name": name, "role": role}
        response = await world.stack.ask("POST", "/v1/api-keys", world.stack.platform_key, json=body)
        world.staff[name] = response.json()["key"]
    for tenant in world.tenants.values():
        for name in ("reader", "writer"):
            world.standing.append(parse_public_id("asm", await world.assume(name, tenant, write=name == "writer")))
