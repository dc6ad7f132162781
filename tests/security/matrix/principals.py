"""Everybody who asks. A principal is what is sent; which tenant they mean is that of the relation's object.

To add one: a line in the group's list here, and its column in table.txt (`python -m tests.security.matrix --add`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from libs import clock
from libs.ids import new_id, public_id
from libs.tenancy.context import ALL_COMPANIES, TenantContext
from libs.tenancy.roles import COMPANY_ROLES, PERMISSIONS, Role
from libs.tenancy.signing import HEADER, ContextSigner, new_private_key
from services.gateway import keys
from tests.security.matrix.world import Tenant, World

Headers = dict[str, str]
PROCESSES = ("provider-sync", "analytics", "reconciliation", "webhook-ingest")


@dataclass(frozen=True)
class Principal:
    """`name` is the column. `headers` of a request about something of `tenant` to `process`, which wants `permission`.

    `home` is whose data is the principal's own: the tenant's, another's by name, or nobody's.
    """

    name: str
    meaning: str
    headers: Callable[[World, Tenant, str, str], Headers]
    home: str | None = ""

    def home_of(self, world: World, tenant: Tenant) -> Tenant | None:
        return tenant if self.home == "" else None if self.home is None else world.tenants[self.home]


def _bearer(name: str, org: str | None = None) -> Callable[[World, Tenant, str, str], Headers]:
    def headers(world: World, tenant: Tenant, process: str, permission: str) -> Headers:
        made = {"Authorization": f"Bearer {tenant.keys[name]}"}
        if org is not None:
            made["Outrider-Org"] = world.tenants[org].id
        return made

    return headers


def _made(make: Callable[[World, Tenant], str]) -> Callable[[World, Tenant, str, str], Headers]:
    return lambda world, tenant, process, permission: {"Authorization": f"Bearer {make(world, tenant)}"}


def _token(**changed: Any) -> Callable[[World, Tenant, str, str], Headers]:
    def make(world: World, tenant: Tenant) -> str:
        return world.provider.token(sub=f"idp|{tenant.canary}-admin-person", **changed)

    return _made(make)


def _platform(names: Callable[[World, Tenant], str | None]) -> Callable[[World, Tenant, str, str], Headers]:
    def headers(world: World, tenant: Tenant, process: str, permission: str) -> Headers:
        named = names(world, tenant)
        made = {"Authorization": f"Bearer {world.stack.platform_key}"}
        return made if named is None else made | {"Outrider-Org": named}

    return headers


def _staff(name: str, *, names: bool = True) -> Callable[[World, Tenant, str, str], Headers]:
    def headers(world: World, tenant: Tenant, process: str, permission: str) -> Headers:
        made = {"Authorization": f"Bearer {world.staff[name]}"}
        return made | {"Outrider-Org": tenant.id} if names else made

    return headers


def _stranger(names: bool) -> Callable[[World, Tenant, str, str], Headers]:
    def headers(world: World, tenant: Tenant, process: str, permission: str) -> Headers:
        made = {"Authorization": f"Bearer {world.tenants['C'].keys['admin']}"}
        return made | {"Outrider-Org": tenant.id} if names else made

    return headers


def _context_at_the_front(world: World, tenant: Tenant, process: str, permission: str) -> Headers:
    return {HEADER: _sign(world.stack.signer(), tenant, process or "provider-sync", "own", Role.ORG_ADMIN)}


# What nobody is let in with. `expt`, `audt`: of the admin whom `aper` lets in.
STRANGERS = (
    Principal("anon", "sends nothing", lambda *_: {}, None),
    Principal("junk", "what is no key", _made(lambda *_: "otr_live_nonsense"), None),
    Principal("unkn", "a well-formed key that was never issued", _made(lambda *_: keys.make(new_id())[0]), None),
    Principal("expk", "an org_admin's key that has expired", _bearer("expired"), None),
    Principal("revk", "an org_admin's key that was revoked", _bearer("revoked"), None),
    Principal("oldk", "the secret that a rotation has replaced", _bearer("replaced"), None),
    Principal("expt", "an expired sign-in", _token(exp=int((clock.now() - timedelta(hours=1)).timestamp())), None),
    Principal("audt", "a sign-in for another application", _token(aud="another"), None),
    Principal("ctx", "the gateway's own context, at the gateway", _context_at_the_front, None),
    Principal("hook", "a webhook endpoint's token", _made(lambda w, t: t.own.endpoint_url.rsplit("/", 1)[1]), None),
    Principal("susp", "a person who is suspended in the org", _bearer("suspended-person"), None),
    Principal("gone", "a person who was removed from the org", _bearer("removed-person"), None),
)  # fmt: skip

MEMBERS = (
    Principal("view", "company_viewer of the company", _bearer("viewer")),
    Principal("vper", "the same, signed in as a person", _bearer("viewing-person")),
    Principal("mgr", "company_manager of the company", _bearer("manager")),
    Principal("peer", "company_manager of the sibling company", _bearer("peer")),
    Principal("both", "company_manager of the company and of the archived one", _bearer("both")),
    Principal("left", "company_manager of the archived company alone", _bearer("left")),
    Principal("lper", "company_viewer of it alone, signed in as a person", _bearer("left-person")),
    Principal("adm", "org_admin", _bearer("admin")),
    Principal("aper", "org_admin, signed in as a person", _bearer("admin-person")),
    Principal("schd", "scheduler", _bearer("scheduler")),
    Principal("krd", "org_admin's key with all scopes that read", _bearer("reading")),
    Principal("kwr", "org_admin's key with all scopes that change something", _bearer("writing")),
    Principal("sup", "super_admin who names no org", _platform(lambda w, t: None), None),
    Principal("sin", "super_admin who names the org, without having assumed it", _platform(lambda w, t: t.id)),
    Principal("sas", "super_admin who has assumed the org", _staff("reader")),
    Principal("saw", "super_admin who has assumed the org to write", _staff("writer")),
    Principal("sop", "operator who names no org", _staff("operator", names=False), None),
    Principal("sopn", "operator who names the org", _staff("operator")),
    Principal("snon", "super_admin who names an org that is none", _platform(lambda w, t: public_id("org", new_id())), None),
    Principal("admn", "org_admin who names another org", _bearer("admin", "B")),
    Principal("ali", "another org's org_admin", _stranger(names=False), "C"),
    Principal("alin", "another org's org_admin who names this one", _stranger(names=True), "C"),
)  # fmt: skip


def _sign(signer: ContextSigner, tenant: Tenant, process: str, place: str, role: Role, without: str = "") -> str:
    scope = tenant.scope(place) if role in COMPANY_ROLES else ALL_COMPANIES
    permissions = PERMISSIONS[role] - {without}
    return signer.sign(TenantContext(f"key:{new_id()}", tenant.org_id, scope, frozenset(permissions)), process)


def _context(
    role: Role = Role.ORG_ADMIN, place: str = "own", *, of: str | None = None, lacks: bool = False, other: bool = False
) -> Callable[[World, Tenant, str, str], Headers]:
    """`of`: for this tenant instead; `lacks`: all permissions of the role but the one; `other`: for another service."""

    def headers(world: World, tenant: Tenant, process: str, permission: str) -> Headers:
        audience = next(one for one in PROCESSES if one != process) if other else process
        home = tenant if of is None else world.tenants[of]
        return {HEADER: _sign(world.stack.signer(), home, audience, place, role, permission if lacks else "")}

    return headers


def _forged(world: World, tenant: Tenant, process: str, permission: str) -> Headers:
    return {HEADER: _sign(ContextSigner(new_private_key()), tenant, process, "own", Role.ORG_ADMIN)}


def _changed(**claims: object) -> Callable[[World, Tenant, str, str], Headers]:
    """A context as the gateway signs it, but for these claims."""

    def headers(world: World, tenant: Tenant, process: str, permission: str) -> Headers:
        good = jwt.decode(_context()(world, tenant, process, permission)[HEADER], options={"verify_signature": False})
        key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(world.stack.private_key))
        return {HEADER: jwt.encode({**good, **claims}, key, algorithm="EdDSA")}

    return headers


def _widened(world: World, tenant: Tenant, process: str, permission: str) -> Headers:
    """A viewer's context whose scope was widened afterwards: the signature is of what it said before."""
    head, _, signature = _context(Role.COMPANY_VIEWER)(world, tenant, process, permission)[HEADER].split(".")
    wide = _context(Role.ORG_ADMIN)(world, tenant, process, permission)[HEADER].split(".")[1]
    return {HEADER: f"{head}.{wide}.{signature}"}


# At an owner's inner face.
CONTEXTS = (
    Principal("none", "sends nothing", lambda *_: {}, None),
    Principal("key", "an org_admin's API key, and no context", _bearer("admin"), None),
    Principal("junk", "what is no context", lambda *_: {HEADER: "a.b.c"}, None),
    Principal("forg", "a context that another key has signed", _forged, None),
    Principal("past", "a context that has expired", _changed(exp=1), None),
    Principal("wide", "a viewer's context, widened after it was signed", _widened, None),
    Principal("othr", "a context for another service", _context(other=True), None),
    Principal("lack", "a context with all permissions but the route's", _context(lacks=True)),
    Principal("view", "company_viewer of the company", _context(Role.COMPANY_VIEWER)),
    Principal("mgr", "company_manager of the company", _context(Role.COMPANY_MANAGER)),
    Principal("peer", "company_manager of the sibling company", _context(Role.COMPANY_MANAGER, "sibling")),
    Principal("left", "company_manager of the archived one, signed before", _context(Role.COMPANY_MANAGER, "archived")),
    Principal("adm", "org_admin", _context()),
    Principal("schd", "scheduler", _context(Role.SCHEDULER)),
    Principal("sop", "operator", _context(Role.OPERATOR)),
    Principal("ali", "another org's org_admin", _context(of="C"), "C"),
)  # fmt: skip

# At the door the token in the path decides; what else is sent means nothing.
AT_THE_DOOR = (
    Principal("anon", "sends nothing else", lambda *_: {}, None),
    Principal("adm", "sends an org_admin's key, too", _bearer("admin"), None),
    Principal("ctx", "sends a context of the gateway's, too", _context(), None),
)

# Who is asked for everything also in the quick part; of the others each asks every third operation once.
QUICK = frozenset({"anon", "susp", "view", "mgr", "peer", "left", "adm", "sop", "ali", "alin", "lack"})

GROUPS: dict[str, tuple[Principal, ...]] = {
    "gateway, strangers": STRANGERS,
    "gateway, members": MEMBERS,
    "owners": CONTEXTS,
    "door": AT_THE_DOOR,
    "health": AT_THE_DOOR,
}
