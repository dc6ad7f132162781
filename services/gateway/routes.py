"""The gateway's own routes; no rule lives here. What it forwards stands in forwarding.py."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from libs.ids import PLATFORM_ORG, OrgId, new_id, parse_public_id, public_id
from libs.messaging.work import UnitOfWork, Units
from libs.web.cursors import MAX_LIMIT, Cursors
from libs.web.texts import VISIBLE
from services.gateway import guard
from services.gateway.domain import Caller
from services.gateway.gate import Gate
from services.gateway.handlers import assumptions, audit_log, dead_letters, operations, tenants, users
from services.gateway.handlers import keys as api_keys
from services.gateway.keys import Peppers
from services.gateway.schemas import (
    ApiKeyIn,
    ApiKeyOut,
    AssumptionIn,
    AssumptionOut,
    AuditEntryOut,
    CompanyIn,
    CompanyOut,
    DeadLetterOut,
    DeadLetterState,
    IssuedKeyOut,
    MeOut,
    OperationListedOut,
    OperationState,
    OrganizationIn,
    OrganizationOut,
    Page,
    RotationIn,
    UserChangeIn,
    UserIn,
    UserOut,
)

Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT)]
After = Annotated[str | None, Query(max_length=500)]
Word = Annotated[str | None, Query(max_length=100, pattern=VISIBLE)]  # PostgreSQL takes no NUL


def own_routes(gate: Gate, units: Units, peppers: Peppers, cursors: Cursors) -> APIRouter:
    router = APIRouter(prefix="/v1", route_class=guard.guarded_route(gate))

    @router.get("/me")
    async def me(caller: Caller = guard.caller("me:read")) -> MeOut:
        principal = caller.principal
        companies = principal.scope.companies
        return MeOut(
            key_id=public_id("key", principal.id) if principal.kind == "key" else None,
            user_id=public_id("usr", principal.id) if principal.kind == "user" else None,
            role=principal.role,
            organization_id=None if caller.org_id is None else public_id("org", caller.org_id),
            company_ids=None if companies is None else sorted(public_id("cmp", company) for company in companies),
            scopes=None if principal.scopes is None else sorted(principal.scopes),
            permissions=sorted(caller.permissions),
            assumed_until=None if caller.assumption is None else caller.assumption.ends_at,
        )

    @router.post("/organizations", status_code=201)
    async def create_organization(
        body: OrganizationIn, caller: Caller = guard.caller("organizations:write")
    ) -> OrganizationOut:
        async with units.begin(OrgId(new_id())) as work:
            return await tenants.create_organization(work, caller, body.name, body.time_zone)

    @router.get("/organizations")
    async def list_organizations(
        after: After = None,
        limit: Limit = 50,
        work: UnitOfWork = guard.work(units, "organizations:read", platform=True),
    ) -> Page[OrganizationOut]:
        return await tenants.list_organizations(work, cursors, after=after, limit=limit)

    @router.post("/companies", status_code=201)
    async def create_company(
        body: CompanyIn,
        caller: Caller = guard.caller("companies:write"),
        work: UnitOfWork = guard.work(units, "companies:write"),
    ) -> CompanyOut:
        return await tenants.create_company(work, caller, body.name)

    @router.get("/companies")
    async def list_companies(
        after: After = None, limit: Limit = 50, work: UnitOfWork = guard.work(units, "companies:read")
    ) -> Page[CompanyOut]:
        return await tenants.list_companies(work, cursors, after=after, limit=limit)

    @router.post("/api-keys", status_code=201)
    async def issue_key(
        body: ApiKeyIn, response: Response, caller: Caller = guard.caller("keys:write", outside=True)
    ) -> IssuedKeyOut:
        response.headers["Cache-Control"] = "no-store"
        async with units.begin(caller.org(platform=True)) as work:
            return await api_keys.issue_key(work, caller, peppers, body)

    @router.get("/api-keys")
    async def list_keys(
        after: After = None,
        limit: Limit = 50,
        work: UnitOfWork = guard.work(units, "keys:read", platform=True),
    ) -> Page[ApiKeyOut]:
        return await api_keys.list_keys(work, cursors, after=after, limit=limit)

    @router.post("/api-keys/{key}/rotations", status_code=201)
    async def rotate_key(
        key: str, body: RotationIn, response: Response, caller: Caller = guard.caller("keys:write")
    ) -> IssuedKeyOut:
        key_id = parse_public_id("key", key)
        async with units.begin(caller.org(platform=True)) as work:
            issued = await api_keys.rotate_key(work, caller, peppers, key_id, body.overlap_seconds)
        gate.keys.drop(key_id)
        response.headers["Cache-Control"] = "no-store"
        return issued

    @router.delete("/api-keys/{key}", status_code=204)
    async def revoke_key(key: str, caller: Caller = guard.caller("keys:write")) -> None:
        key_id = parse_public_id("key", key)
        async with units.begin(caller.org(platform=True)) as work:
            await api_keys.revoke_key(work, caller, key_id)
        gate.keys.drop(key_id)  # after the commit, or a look-up in between would bring it back

    @router.post("/users", status_code=201)
    async def add_user(body: UserIn, caller: Caller = guard.caller("users:write")) -> UserOut:
        async with units.begin(caller.org(platform=True)) as work:
            added = await users.add_user(work, caller, body)
        gate.members.drop(body.subject)
        return added

    @router.get("/users")
    async def list_users(
        after: After = None,
        limit: Limit = 50,
        work: UnitOfWork = guard.work(units, "users:read", platform=True),
    ) -> Page[UserOut]:
        return await users.list_users(work, cursors, after=after, limit=limit)

    @router.get("/users/{user}")
    async def get_user(user: str, work: UnitOfWork = guard.work(units, "users:read", platform=True)) -> UserOut:
        return await users.get_user(work, parse_public_id("usr", user))

    @router.patch("/users/{user}")
    async def change_user(user: str, body: UserChangeIn, caller: Caller = guard.caller("users:write")) -> UserOut:
        async with units.begin(caller.org(platform=True)) as work:
            changed, subject = await users.change_user(work, caller, parse_public_id("usr", user), body)
        gate.members.drop(subject)
        return changed

    @router.delete("/users/{user}", status_code=204)
    async def remove_user(user: str, caller: Caller = guard.caller("users:write")) -> None:
        async with units.begin(caller.org(platform=True)) as work:
            subject = await users.remove_user(work, caller, parse_public_id("usr", user))
        gate.members.drop(subject)

    @router.post("/assumptions", status_code=201)
    async def begin_assumption(body: AssumptionIn, caller: Caller = guard.caller("assumptions:write")) -> AssumptionOut:
        begun = await assumptions.begin(units, caller, body)
        gate.assumptions.drop((caller.principal.id, OrgId(parse_public_id("org", begun.organization_id))))
        return begun

    @router.get("/assumptions")
    async def list_assumptions(
        after: After = None, limit: Limit = 50, caller: Caller = guard.caller("assumptions:read")
    ) -> Page[AssumptionOut]:
        async with units.begin(PLATFORM_ORG) as work:
            return await assumptions.list_assumptions(work, caller, cursors, after=after, limit=limit)

    @router.delete("/assumptions/{assumption}", status_code=204)
    async def end_assumption(assumption: str, caller: Caller = guard.caller("assumptions:write")) -> None:
        await assumptions.end(units, caller, parse_public_id("asm", assumption))
        gate.assumptions.clear()

    @router.get("/audit-log")
    async def list_audit_log(
        after: After = None,
        limit: Limit = 50,
        work: UnitOfWork = guard.work(units, "audit:read", platform=True),
    ) -> Page[AuditEntryOut]:
        return await audit_log.list_audit_log(work, cursors, after=after, limit=limit)

    @router.get("/dead-letters")
    async def list_dead_letters(
        after: After = None,
        limit: Limit = 50,
        state: DeadLetterState | None = None,
        service: Word = None,
        consumer: Word = None,
        error_class: Word = None,
        fingerprint: Word = None,
        work: UnitOfWork = guard.work(units, "dead_letters:read", platform=True),
    ) -> Page[DeadLetterOut]:
        chosen = dead_letters.Chosen(state, service, consumer, error_class, fingerprint)
        return await dead_letters.list_dead_letters(work, cursors, chosen=chosen, after=after, limit=limit)

    @router.get("/operations")
    async def list_operations(
        after: After = None,
        limit: Limit = 50,
        state: OperationState | None = None,
        account_id: After = None,
        work: UnitOfWork = guard.work(units, "operations:read"),
    ) -> Page[OperationListedOut]:
        return await operations.list_operations(
            work, cursors, state=state, account_id=account_id, after=after, limit=limit
        )

    return router
